"""RoIPool (Girshick, ICCV 2015, section 2.1): the maximum of each cell of a region, in whole pixels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_segattn.arguments import is_integer
from keras_segattn.ops.pixel_sums import pixel_rows
from keras_segattn.ops.roi_align import check_regions, finite_boxes
from keras_segattn.ops.roi_warp import straight_through_round


def roi_pool(
    maps: Any,
    boxes: Any,
    output_size: int | tuple[int, int],
    scales: float | Sequence[float],
    levels: Any = None,
) -> Any:
    """Take the maximum over the pixels of each cell of a grid laid over each box.

    Boxes and cells are rounded to whole pixels; an empty cell gives 0. Maxima of windows of 2^i × 2^j pixels are
    computed once; every cell is the union of four such windows.

    Args:
        maps: `(batch, height, width, channels)` of known height and width, or a sequence of such maps; integers are
            read as float32.
        boxes: `(batch, R, 4)` in pixels of the image; a box that holds NaN or infinity gives zeros.
        output_size: (rows P, columns Q) of the grid of cells, or one number for both.
        scales: map pixels ÷ image pixels of each map.
        levels: int `(batch, R)`, index of the map from which each box is read; optional with a single map.

    Returns:
        `(batch, R, P, Q, channels)` in the maps' dtype, or in float32 if that is no floating one.

    Raises:
        ValueError: if a shape is wrong or the size of a map is not known.

    Example:
        >>> roi_pool(features, boxes, output_size=7, scales=1 / 16).shape
        TensorShape([1, 300, 7, 7, 512])
    """
    maps, scales, levels = check_regions(maps, boxes, scales, levels)
    rows, columns = (output_size, output_size) if is_integer(output_size) else output_size
    boxes, finite = finite_boxes(boxes)
    total = 0.0
    for level, (x, scale) in enumerate(zip(maps, scales, strict=True)):
        _, height, width, _ = x.shape
        if height is None or width is None:
            raise ValueError(f"roi_pool needs maps of known height and width, received {tuple(x.shape)}")
        x1, y1, x2, y2 = (straight_through_round(boxes[..., i] * scale) for i in range(4))
        here = ops.logical_and(finite, levels == level)
        pooled = _pool(x, _cells(y1, y2, rows, height), _cells(x1, x2, columns, width))
        total = total + ops.where(here[..., None, None, None], pooled, 0.0)
    return total


def _cells(start: Any, end: Any, cells: int, size: int) -> tuple[Any, Any]:
    """Return the first pixel of each cell and the one after its last, int32 `(batch, R, cells)`, limited to the map."""
    extent = ops.maximum(end - start + 1.0, 1.0)
    cell = np.arange(cells, dtype="float32")
    bin_size = (extent / cells)[..., None]
    first = ops.floor(cell * bin_size) + start[..., None]
    last = ops.ceil((cell + 1) * bin_size) + start[..., None]
    return ops.cast(ops.clip(first, 0, size), "int32"), ops.cast(ops.clip(last, 0, size), "int32")


def _pool(x: Any, rows: tuple[Any, Any], columns: tuple[Any, Any]) -> Any:
    """Take the maxima over all pairs of a cell of rows and a cell of columns, `(batch, R, P, Q, channels)`."""
    _, height, width, _ = x.shape
    down, across = (size.bit_length() for size in (height, width))
    table = ops.stack([ops.stack(_maxima(y, 2), axis=1) for y in _maxima(x, 1)], axis=1)
    table = pixel_rows(table)
    empty = ops.logical_or((rows[1] <= rows[0])[..., :, None], (columns[1] <= columns[0])[..., None, :])
    row_scale, row_ends = _window(*rows, height)
    column_scale, column_ends = _window(*columns, width)
    image = ops.arange(ops.shape(x)[0], dtype="int32")[:, None, None, None]
    scale = (image * down + row_scale[..., :, None]) * across + column_scale[..., None, :]
    best = None
    for y in row_ends:
        for z in column_ends:
            found = ops.take(table, (scale * height + y[..., :, None]) * width + z[..., None, :], axis=0)
            best = found if best is None else ops.maximum(best, found)
    return ops.where(empty[..., None], 0.0, best)


def _maxima(x: Any, axis: int) -> list[Any]:
    """Take maxima over the 1, 2, 4, … pixels from each pixel on along an axis; windows are cut at the border."""
    size = x.shape[axis]
    found = [x]
    for exponent in range(size.bit_length() - 1):
        step = 2**exponent
        previous = found[-1]
        shifted = ops.take(previous, np.minimum(np.arange(size) + step, size - 1), axis=axis)
        found.append(ops.maximum(previous, shifted))
    return found


def _window(first: Any, last: Any, size: int) -> tuple[Any, tuple[Any, Any]]:
    """Return the largest k with 2^k pixels in a cell, and the starts of two such windows that together cover it."""
    extent = ops.maximum(last - first, 1)
    powers = 2 ** np.arange(1, size.bit_length(), dtype="int32")
    exponent = ops.sum(ops.cast(extent[..., None] >= powers, "int32"), axis=-1)
    length = ops.take(ops.convert_to_tensor(2 ** np.arange(size.bit_length(), dtype="int32")), exponent)
    start = ops.minimum(first, size - 1)
    return exponent, (start, ops.maximum(last - length, start))
