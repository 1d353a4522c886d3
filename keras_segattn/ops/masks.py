"""Pasting of the masks of boxes into the frame of the image."""

from typing import Any

import numpy as np
from keras import ops

from keras_segattn.arguments import check_choice

METHODS = ("torchvision", "detectron2")


def paste_masks(masks: Any, boxes: Any, height: Any, width: Any, method: str = "torchvision") -> Any:
    """Resize the mask of each box to the box and put it where the box is.

    Bilinear interpolation is separable: each box has one matrix that distributes the mask's rows over the rows of the
    image, and another for the columns.

    Args:
        masks: probabilities `(batch, regions, h, w)`.
        boxes: `(batch, regions, 4)` in pixels of the image.
        height: height of the image, an integer or a scalar tensor.
        width: width of the image, an integer or a scalar tensor.
        method: `"torchvision"` puts a border of zeros around the mask, enlarges the box to match and truncates it to
            whole pixels; `"detectron2"` samples the mask at the centres of the image's pixels.

    Returns:
        `(batch, regions, height, width)` float32 in 0..1; threshold it at 0.5.

    Raises:
        ValueError: if the method is unknown or the shapes do not fit each other.

    Example:
        >>> paste_masks(found["masks"], found["boxes"], 480, 640) > 0.5
    """
    check_choice("method", method, METHODS)
    if len(masks.shape) != 4 or len(boxes.shape) != 3 or boxes.shape[-1] != 4:
        raise ValueError(
            "expected masks (batch, regions, h, w) and boxes (batch, regions, 4), received "
            f"{tuple(masks.shape)} and {tuple(boxes.shape)}"
        )
    weights = _padded_weights if method == "torchvision" else _centre_weights
    rows, columns = masks.shape[2:4]
    boxes = ops.cast(boxes, "float32")
    down = weights(boxes[..., 1], boxes[..., 3], rows, height)
    across = weights(boxes[..., 0], boxes[..., 2], columns, width)
    return ops.matmul(ops.matmul(down, ops.cast(masks, "float32")), ops.swapaxes(across, -1, -2))


def _padded_weights(start: Any, end: Any, cells: int, size: Any) -> Any:
    """Compute torchvision's weight of each mask row in each image row, `(batch, regions, size, cells)`."""
    centre, half = 0.5 * (start + end), 0.5 * (end - start) * ((cells + 2) / max(cells, 1))
    first, last = (_truncate(v) for v in (centre - half, centre + half))
    extent = ops.maximum(last - first + 1.0, 1.0)
    row = ops.arange(size, dtype="float32") - first[..., None]
    inside = ops.logical_and(row >= 0, row < extent[..., None])
    # Positions in the padded mask, whose first and last row are zeros.
    position = (row + 0.5) * ((cells + 2) / extent)[..., None] - 0.5
    position = ops.clip(position, 0.0, cells + 1.0)
    return _hats(position - 1.0, cells) * ops.cast(inside, "float32")[..., None]


def _centre_weights(start: Any, end: Any, cells: int, size: Any) -> Any:
    """Compute Detectron2's weight of each mask row in each image row, `(batch, regions, size, cells)`."""
    extent = (end - start)[..., None]
    positive = extent > 0
    row = ops.arange(size, dtype="float32") + 0.5 - start[..., None]
    position = row / ops.where(positive, extent, 1.0) * cells - 0.5
    return _hats(position, cells) * ops.cast(positive, "float32")[..., None]


def _hats(position: Any, cells: int) -> Any:
    """Compute the weights of bilinear interpolation, 0 outside of the mask."""
    return ops.maximum(1.0 - ops.abs(position[..., None] - np.arange(cells, dtype="float32")), 0.0)


def _truncate(x: Any) -> Any:
    return ops.sign(x) * ops.floor(ops.abs(x))
