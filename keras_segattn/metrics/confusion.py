"""The confusion matrix of label maps and the scores of Long et al. 2015, section 5, in NumPy."""

from typing import Any

import numpy as np

from keras_segattn.arguments import check_positive_integer


def confusion_matrix(
    truth: np.ndarray, prediction: np.ndarray, classes: int, ignore_label: int | None = 255
) -> np.ndarray:
    """Count the pixels of each true class that were predicted as each class.

    Args:
        truth: integer labels 0..classes-1 or `ignore_label`, any shape.
        prediction: integer labels 0..classes-1, the same shape.
        classes: number of classes.
        ignore_label: true label of pixels that do not count; `None` if there is none.

    Returns:
        int64 `(classes, classes)`; rows are true classes, columns predicted ones.

    Raises:
        ValueError: if shapes differ, a map holds no integers, or a label that counts is out of range.

    Example:
        >>> confusion_matrix(np.array([0, 1, 1, 255]), np.array([0, 1, 0, 0]), classes=2)
        array([[1, 0],
               [1, 1]])
    """
    check_positive_integer("classes", classes)
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
        raise ValueError(f"truth {truth.shape} and prediction {prediction.shape} differ in shape")
    for name, labels in (("truth", truth), ("prediction", prediction)):
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"{name} must hold integers, received {labels.dtype}; give the argmax of scores")
    counted = np.ones(truth.shape, bool) if ignore_label is None else truth != ignore_label
    truth, prediction = truth[counted].astype(np.int64), prediction[counted].astype(np.int64)
    for name, labels in (("truth", truth), ("prediction", prediction)):
        wrong = labels[(labels < 0) | (labels >= classes)]
        if wrong.size:
            raise ValueError(f"{name} holds label {wrong[0]}, expected 0..{classes - 1}")
    return np.bincount(classes * truth + prediction, minlength=classes**2).reshape(classes, classes)


def segmentation_scores(confusion: np.ndarray) -> dict[str, Any]:
    """Compute pixel accuracy, mean accuracy, mean IoU, frequency-weighted IoU and the IoU of every class.

    Args:
        confusion: non-negative counts `(classes, classes)`; rows are true classes.

    Returns:
        `pixel_accuracy`, `mean_accuracy`, `mean_iou`, `frequency_weighted_iou`: floats 0..1, NaN if nothing was
        counted. `iou`: float64 `(classes,)`, NaN for a class that neither occurs nor is predicted; means leave
        such classes out, as the released `score.py` does.

    Raises:
        ValueError: if the matrix is not square or holds a negative or infinite count.

    Example:
        >>> segmentation_scores(np.array([[1, 0], [1, 1]]))["mean_iou"]
        0.5
    """
    confusion = np.asarray(confusion, dtype=np.float64)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(f"expected a square confusion matrix, received shape {confusion.shape}")
    if not (np.isfinite(confusion).all() and (confusion >= 0).all()):
        raise ValueError("expected non-negative counts, received a negative or infinite one")
    hits, rows, columns = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    total = confusion.sum()
    accuracy = _ratio(hits, rows)
    iou = _ratio(hits, rows + columns - hits)
    return {
        "pixel_accuracy": float(_ratio(hits.sum(), total)),
        "mean_accuracy": _mean(accuracy),
        "mean_iou": _mean(iou),
        "frequency_weighted_iou": float(_ratio((rows[rows > 0] * iou[rows > 0]).sum(), total)),
        "iou": iou,
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Compute `part / whole`, NaN where both are zero."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)


def _mean(values: np.ndarray) -> float:
    """Average the values that are not NaN; NaN if there are none."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")
