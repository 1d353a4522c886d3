"""Boxes `(x1, y1, x2, y2)` in pixels: area, overlap, and refinement relative to anchors.

Results are float64 if an argument is float64, else float32.
"""

import math
from typing import Any

from keras import ops

from keras_segattn.ops.dtypes import at_least_float32, coordinates

# The largest log-scale refinement: a region of 16 pixels grows to 1000 at most (Detectron).
MAX_LOG_SCALE = math.log(1000 / 16)


def box_area(boxes: Any) -> Any:
    """Compute the area `(…,)` of boxes `(…, 4)`; it is negative where either x2 < x1 or y2 < y1."""
    boxes = at_least_float32(boxes)
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def box_iou(boxes: Any, others: Any, offset: float = 0.0) -> Any:
    """Compute the intersection over union of every box with every other.

    Args:
        boxes: `(…, N, 4)`.
        others: `(…, M, 4)`.
        offset: 1.0 for the convention in which a box of one pixel has x2 = x1.

    Returns:
        `(…, N, M)` in 0..1; 0 where the union is not positive.

    Example:
        >>> box_iou(keras.ops.array([[0.0, 0, 2, 2]]), keras.ops.array([[1.0, 0, 3, 2]]))
        [[0.33333334]]
    """
    boxes, others = coordinates(boxes, others)
    a, b = boxes[..., :, None, :], others[..., None, :, :]
    width = ops.minimum(a[..., 2], b[..., 2]) - ops.maximum(a[..., 0], b[..., 0]) + offset
    height = ops.minimum(a[..., 3], b[..., 3]) - ops.maximum(a[..., 1], b[..., 1]) + offset
    intersection = ops.maximum(width, 0.0) * ops.maximum(height, 0.0)
    union = _area(a, offset) + _area(b, offset) - intersection
    positive = union > 0
    return ops.where(positive, intersection / ops.where(positive, union, 1.0), 0.0)


def encode_boxes(
    boxes: Any, anchors: Any, weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0), offset: float = 0.0
) -> Any:
    """Compute the refinements that turn anchors into boxes (Girshick et al. 2014, equations 6 to 9).

    Args:
        boxes: `(…, 4)` of positive extent.
        anchors: `(…, 4)` of positive extent.
        weights: factors of (x, y, width, height).
        offset: convention of a box's size, see `box_iou`.

    Returns:
        `(…, 4)`: shift of the centre in anchor sizes, and log of the scale, times the weights.
    """
    boxes, anchors = coordinates(boxes, anchors)
    width, height, x, y = _centred(boxes, offset)
    anchor_width, anchor_height, anchor_x, anchor_y = _centred(anchors, offset)
    deltas = (
        (x - anchor_x) / anchor_width,
        (y - anchor_y) / anchor_height,
        ops.log(width / anchor_width),
        ops.log(height / anchor_height),
    )
    return ops.stack([delta * weight for delta, weight in zip(deltas, weights, strict=True)], axis=-1)


def decode_boxes(
    deltas: Any,
    anchors: Any,
    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0),
    clip: float = MAX_LOG_SCALE,
    offset: float = 0.0,
) -> Any:
    """Compute boxes from anchors and refinements, the inverse of `encode_boxes` if the offset is 0.

    Args:
        deltas: `(…, 4)`.
        anchors: `(…, 4)`, broadcast against the deltas.
        weights: factors of (x, y, width, height) that the deltas contain.
        clip: upper limit of the log-scales.
        offset: convention of a box's size, see `box_iou`. As in py-faster-rcnn the offset is not subtracted again: with
            zero refinements a box grows by it.

    Returns:
        `(…, 4)`.
    """
    deltas, anchors = coordinates(deltas, anchors)
    width, height, x, y = _centred(anchors, offset)
    dx, dy, dw, dh = (deltas[..., i] / weight for i, weight in enumerate(weights))
    x, y = dx * width + x, dy * height + y
    half_width = 0.5 * ops.exp(ops.minimum(dw, clip)) * width
    half_height = 0.5 * ops.exp(ops.minimum(dh, clip)) * height
    return ops.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=-1)


def clip_boxes(boxes: Any, sizes: Any, offset: float = 0.0) -> Any:
    """Clip boxes `(batch, N, 4)` to images of sizes `(batch, 2)`, (height, width): to 0 … size − offset."""
    boxes, sizes = coordinates(boxes, sizes)
    height, width = sizes[:, 0, None] - offset, sizes[:, 1, None] - offset
    limits = (width, height, width, height)
    return ops.stack([ops.clip(boxes[..., i], 0.0, limit) for i, limit in enumerate(limits)], axis=-1)


def _area(boxes: Any, offset: float) -> Any:
    return (boxes[..., 2] - boxes[..., 0] + offset) * (boxes[..., 3] - boxes[..., 1] + offset)


def _centred(boxes: Any, offset: float) -> tuple[Any, Any, Any, Any]:
    """Return width, height, and x and y of the centre."""
    width = boxes[..., 2] - boxes[..., 0] + offset
    height = boxes[..., 3] - boxes[..., 1] + offset
    return width, height, boxes[..., 0] + 0.5 * width, boxes[..., 1] + 0.5 * height
