"""Choice of the anchors and regions that a detector is trained on, and of their objects, with static shapes.

To keep shapes static, every image has the same number of slots for objects; slots without an object have class 0.
"""

from typing import Any, NamedTuple

from keras import ops

from keras_segattn.ops.boxes import box_iou


class Matches(NamedTuple):
    """Assignment of objects to N boxes of each image.

    Attributes:
        positive: bool `(batch, N)`: whether an object is assigned to the box.
        negative: bool `(batch, N)`: whether the box is background.
        objects: int32 `(batch, N)`: slot of the object that overlaps the box most.
    """

    positive: Any
    negative: Any
    objects: Any


def match(
    boxes: Any,
    objects: Any,
    classes: Any,
    foreground: float,
    background: float,
    *,
    best_for_each_object: bool = False,
) -> Matches:
    """Assign objects to boxes by overlap (Ren et al. 2015, section 3.1.2; Girshick 2015, section 2.3).

    A box of which at least half lies in a crowd is neither positive nor negative, unless an object makes it positive.

    Args:
        boxes: `(N, 4)` or `(batch, N, 4)`.
        objects: `(batch, G, 4)`.
        classes: int `(batch, G)`: 0 in empty slots, negative for crowds.
        foreground: overlap from which a box is positive.
        background: overlap below which a box is negative.
        best_for_each_object: whether the boxes that overlap an object most are positive at any overlap above 0.
    """
    overlap = box_iou(objects, boxes)
    real = (classes > 0)[:, :, None]
    crowd = ops.max(ops.where((classes < 0)[:, :, None], _share_inside(boxes, objects), 0.0), axis=1)
    overlap = ops.where(real, overlap, 0.0)
    best = ops.max(overlap, axis=1)
    positive = best >= foreground
    if best_for_each_object:
        highest = ops.max(overlap, axis=2, keepdims=True)
        is_highest = ops.logical_and(overlap == highest, ops.logical_and(real, highest > 0))
        positive = ops.logical_or(positive, ops.any(is_highest, axis=1))
    negative = ops.logical_and(best < background, ops.logical_and(crowd < 0.5, ops.logical_not(positive)))
    return Matches(positive, negative, ops.cast(ops.argmax(overlap, axis=1), "int32"))


def _share_inside(boxes: Any, crowds: Any) -> Any:
    """Compute the share of each box that lies within each crowd, `(batch, G, N)`."""
    a, b = crowds[..., :, None, :], boxes[..., None, :, :]
    width = ops.minimum(a[..., 2], b[..., 2]) - ops.maximum(a[..., 0], b[..., 0])
    height = ops.minimum(a[..., 3], b[..., 3]) - ops.maximum(a[..., 1], b[..., 1])
    area = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    return ops.maximum(width, 0.0) * ops.maximum(height, 0.0) / ops.maximum(area, 1e-6)


def choose_regions(matches: Matches, count: int, positives: int, noise: Any) -> tuple[Any, Any, Any]:
    """Choose `count` boxes per image at random: at most `positives` positive ones, the rest negative.

    Args:
        matches: assignment of objects to N boxes.
        count: number of boxes per image.
        positives: largest number of positive boxes among them.
        noise: uniform random numbers `(batch, N)` in 0..1.

    Returns:
        Indices int32 `(batch, count)`, positive boxes first; bool `(batch, count)`, true for positive boxes; and bool
        `(batch, count)`, false for boxes that only fill the shape.
    """
    total = matches.positive.shape[1]
    keys = ops.where(matches.positive, noise + 1.0, 0.0)
    lowest = ops.top_k(keys, min(positives, total))[0][:, -1:]
    positive = ops.logical_and(matches.positive, keys >= lowest)
    keys = ops.where(positive, noise + 2.0, ops.where(matches.negative, noise + 1.0, 0.0))
    values, indices = ops.top_k(keys, min(count, total))
    return ops.cast(indices, "int32"), values >= 2.0, values >= 1.0


def smooth_l1(difference: Any, beta: float) -> Any:
    """Compute a loss quadratic below `beta`, linear above (Girshick 2015, equation 3); for `beta` 0, it is linear."""
    distance = ops.abs(difference)
    if beta == 0:
        return distance
    return ops.where(distance < beta, 0.5 * distance**2 / beta, distance - 0.5 * beta)


def mean_where(values: Any, chosen: Any) -> Any:
    """Compute the mean of the chosen values, 0 if none is chosen."""
    chosen = ops.cast(chosen, values.dtype)
    return ops.sum(values * chosen) / ops.maximum(ops.sum(chosen), 1.0)
