"""Ridge regression of boxes on the features of regions (Girshick et al. 2014, appendix C)."""

import numpy as np
from keras import ops

from keras_segattn.ops.boxes import encode_boxes

STRENGTH = 1000.0
# Added to the variances of targets, which are divided by their roots (the authors' `rcnn_train_bbox_regressor.m`).
LEAST_VARIANCE = 1e-3


def train_box_regression(
    features: np.ndarray, boxes: np.ndarray, objects: np.ndarray, *, strength: float = STRENGTH
) -> tuple[np.ndarray, np.ndarray]:
    """Learn to refine boxes from features, by ridge regression of whitened targets.

    Targets are equations 6 to 9 of the paper, see `ops.boxes.encode_boxes`. They are centred and multiplied by the
    inverse square root of their covariance; the inverse of this map is part of the result. The bias is regularised like
    all other weights.

    Args:
        features: `(n, F)`, of norm about 20.
        boxes: `(n, 4)`, from which features were computed.
        objects: `(n, 4)`, true boxes.
        strength: factor λ of the squared weights.

    Returns:
        Kernel `(F, 4)` and bias `(4,)`, float32: refinements, for `ops.boxes.decode_boxes`, are
        `features @ kernel + bias`.

    Raises:
        ValueError: if there is no pair of boxes.

    Example:
        >>> kernel, bias = train_box_regression(features, boxes, objects)
        >>> refined = decode_boxes(features @ kernel + bias, boxes)
    """
    if not len(boxes):
        raise ValueError("expected boxes with their true boxes, received none")
    pairs = (np.asarray(objects, "float64"), np.asarray(boxes, "float64"))
    targets = ops.convert_to_numpy(encode_boxes(*pairs)).astype("float64")
    mean = targets.mean(axis=0)
    centred = targets - mean
    variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    deviations = np.sqrt(variances.clip(0) + LEAST_VARIANCE)
    whitened = centred @ (directions / deviations) @ directions.T
    restore = (directions * deviations) @ directions.T
    inputs = np.concatenate([features, np.ones((len(features), 1))], axis=1, dtype="float64")
    weights = ridge(inputs, whitened, strength) @ restore
    return weights[:-1].astype("float32"), (weights[-1] + mean).astype("float32")


def ridge(inputs: np.ndarray, targets: np.ndarray, strength: float) -> np.ndarray:
    """Minimise `|inputs @ w - targets|² + strength · |w|²`, by the smaller of two equivalent systems of equations."""
    count, width = inputs.shape
    if count < width:
        return np.asarray(inputs.T @ np.linalg.solve(inputs @ inputs.T + strength * np.eye(count), targets))
    return np.asarray(np.linalg.solve(inputs.T @ inputs + strength * np.eye(width), inputs.T @ targets))
