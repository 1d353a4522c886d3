"""RoIWarp (Dai, He & Sun, CVPR 2016, section 3.2): regions cropped so that gradients reach their boxes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_segattn.arguments import is_integer
from keras_segattn.ops.pixel_sums import Axis, first_rows, interpolate, pixel_table
from keras_segattn.ops.roi_align import check_regions, finite_boxes


def roi_warp(
    maps: Any,
    boxes: Any,
    output_size: int | tuple[int, int],
    scales: float | Sequence[float],
    levels: Any = None,
    quantize: bool = False,
) -> Any:
    """Read one bilinear sample at the upper left of each cell of a grid laid over each box (equations 8 and 9).

    The result is differentiable with respect to maps and boxes. A sample more than half a pixel outside of the map is
    0.

    Args:
        maps: `(batch, height, width, channels)`, or a sequence of such maps, the levels of a pyramid; integers are
            read as float32.
        boxes: `(batch, R, 4)` in pixels of the image; a box that holds NaN or infinity gives zeros.
        output_size: (rows P, columns Q) of the grid of cells, or one number for both.
        scales: map pixels ÷ image pixels of each map.
        levels: int `(batch, R)`, index of the map from which each box is read; optional with a single map.
        quantize: whether boxes are rounded to pixels of the map, halves away from zero, as in the released code;
            gradients ignore the rounding.

    Returns:
        `(batch, R, P, Q, channels)` in the maps' dtype, or in float32 if that is no floating one.

    Raises:
        ValueError: if a shape is wrong.

    Example:
        >>> roi_warp(features, boxes, output_size=28, scales=1 / 16, quantize=True).shape
        TensorShape([1, 300, 28, 28, 512])
    """
    maps, scales, levels = check_regions(maps, boxes, scales, levels)
    rows, columns = (output_size, output_size) if is_integer(output_size) else output_size
    boxes, finite = finite_boxes(boxes)
    scale = ops.take(ops.convert_to_tensor(np.asarray(scales, "float32")), levels)
    x1, y1, x2, y2 = (boxes[..., i] * scale for i in range(4))
    if quantize:
        x1, y1, x2, y2 = (straight_through_round(v) for v in (x1, y1, x2, y2))
    table = pixel_table(maps)
    width = ops.take(table.widths, levels)
    y = _axis(y1, y2, rows, ops.take(table.heights, levels), finite)
    x = _axis(x1, x2, columns, width, finite)
    return interpolate(table, first_rows(table, levels), width, y, x, (rows, columns))


def straight_through_round(x: Any) -> Any:
    """Round to the nearest integer, halves away from zero as in C, with the gradient of the identity."""
    rounded = ops.sign(x) * ops.floor(ops.abs(x) + 0.5)
    return x + ops.stop_gradient(rounded - x)


def _axis(start: Any, end: Any, cells: int, size: Any, inside: Any) -> Axis:
    extent = ops.maximum(end - start, 0.0)
    position = start[..., None] + np.arange(cells, dtype="float32") * (extent / cells)[..., None]
    size, inside = size[..., None], inside[..., None]
    limit = ops.cast(size, position.dtype)
    inside = ops.logical_and(inside, ops.logical_and(position >= -0.5, position <= limit - 0.5))
    inside = ops.cast(inside, position.dtype)
    position = ops.clip(position, 0.0, limit - 1.0)
    floor = ops.stop_gradient(ops.floor(position))
    fraction = position - floor
    low = ops.cast(floor, "int32")
    return Axis(low, ops.minimum(low + 1, size - 1), (1.0 - fraction) * inside, fraction * inside)
