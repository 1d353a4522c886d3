"""The boxes that a region proposal network starts from (Ren et al. 2015, section 3.1.1)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_segattn.arguments import check_choice, is_number

ROUNDINGS = ("nearest", None, "caffe")
# Side of the square that py-faster-rcnn's anchors are derived from.
CAFFE_BASE = 16


def cell_anchors(sizes: Sequence[float], ratios: Sequence[float], rounding: str | None = "nearest") -> np.ndarray:
    """Compute the anchors of one cell.

    Args:
        sizes: square roots of the anchors' areas, in pixels.
        ratios: ratios height ÷ width of the anchors.
        rounding: `"nearest"` rounds corners (torchvision), `None` does not (Detectron2). `"caffe"` is the rule of
            py-faster-rcnn, which rounds the sides first and in which a box of one pixel has x2 = x1. (These are the
            anchors that its code computes; a comment in that code lists MATLAB's, which are shifted by one pixel.)

    Returns:
        float32 `(ratios · sizes, 4)`, all sizes of the first ratio first, around the cell's upper left corner; with
        `"caffe"` around the centre of a cell of 16 pixels.

    Raises:
        ValueError: if a size or ratio is not positive, or the rounding is unknown.

    Example:
        >>> cell_anchors((128, 256, 512), (0.5, 1, 2), "caffe")[0]
        array([-84., -40.,  99.,  55.], dtype=float32)
    """
    check_choice("rounding", rounding, ROUNDINGS)
    for name, values in (("sizes", sizes), ("ratios", ratios)):
        if not len(values) or not all(is_number(v) and v > 0 for v in values):
            raise ValueError(f"{name} must be positive numbers, received {values!r}")
    size, ratio = np.asarray(sizes, "float64"), np.asarray(ratios, "float64")
    if rounding == "caffe":
        side = np.round(np.sqrt(CAFFE_BASE**2 / ratio))
        scale = size / CAFFE_BASE
        width, height = (side[:, None] * scale).ravel(), (np.round(side * ratio)[:, None] * scale).ravel()
        centre = 0.5 * (CAFFE_BASE - 1)
        half = 0.5 * (np.stack([width, height], axis=1) - 1)
        return np.concatenate([centre - half, centre + half], axis=1).astype("float32")
    # Computed in float32, as in torch: the last bit decides how corners half-way between pixels are rounded.
    tall = np.sqrt(ratio.astype("float32"))
    width = ((1 / tall)[:, None] * size.astype("float32")).ravel()
    height = (tall[:, None] * size.astype("float32")).ravel()
    anchors = np.stack([-width, -height, width, height], axis=1) / 2
    return (np.round(anchors) if rounding == "nearest" else anchors).astype("float32")


def grid_anchors(cell: np.ndarray, height: Any, width: Any, stride: int) -> Any:
    """Compute the anchors of all cells of a map.

    Args:
        cell: anchors of one cell `(A, 4)`, see `cell_anchors`.
        height: number of rows of the map, an integer or a scalar tensor.
        width: number of columns of the map, an integer or a scalar tensor.
        stride: pixels of the image between neighbouring cells.

    Returns:
        float32 `(height · width · A, 4)`, row by row, the anchors of a cell together.
    """
    x = ops.cast(ops.arange(width), "float32") * stride
    y = ops.cast(ops.arange(height), "float32") * stride
    x = ops.broadcast_to(x[None, :], (height, width))
    y = ops.broadcast_to(y[:, None], (height, width))
    shift = ops.stack([x, y, x, y], axis=-1)
    return ops.reshape(shift[:, :, None, :] + cell, (-1, 4))
