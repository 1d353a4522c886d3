"""RoIAlign (He et al., ICCV 2017, section 3): regions cropped without any rounding."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_segattn.arguments import is_integer
from keras_segattn.ops.pixel_sums import Axis, Table, as_maps, corners, first_rows, interpolate, pixel_table
from keras_segattn.ops.portable import use_tensorflow_kernels

# Number of regions that the adaptive form crops at a time; it needs memory for as many copies of a map.
CHUNK = 32


def roi_align(
    maps: Any,
    boxes: Any,
    output_size: int | tuple[int, int],
    scales: float | Sequence[float],
    levels: Any = None,
    sampling_ratio: int = 2,
    aligned: bool = False,
) -> Any:
    """Average bilinear samples in each cell of a grid laid over each box, as torchvision and Detectron2 do.

    A sample more than one pixel outside of the map is 0; a sample nearer to the map takes the border's value. As in
    both libraries, no gradient reaches the boxes.

    Args:
        maps: `(batch, height, width, channels)`, or a sequence of such maps, the levels of a pyramid; integers are
            read as float32.
        boxes: `(batch, R, 4)` in pixels of the image; a box that holds NaN or infinity gives zeros.
        output_size: (rows P, columns Q) of the grid of cells, or one number for both.
        scales: map pixels ÷ image pixels of each map.
        levels: int `(batch, R)`, index of the map from which each box is read; optional with a single map.
        sampling_ratio: number of samples per cell and axis; 0 takes as many as the cell has pixels, rounded up, which
            needs maps of known size and boxes no larger than the maps.
        aligned: whether boxes are shifted by half a pixel, so that pixel centres are at (i + ½) (Detectron2's version
            2). Otherwise boxes smaller than a pixel of the map are enlarged to one.

    Returns:
        `(batch, R, P, Q, channels)` in the maps' dtype, or in float32 if that is no floating one.

    Raises:
        ValueError: if an argument or shape is wrong.

    Example:
        >>> roi_align(features, boxes, output_size=7, scales=1 / 16).shape
        TensorShape([1, 1000, 7, 7, 256])
    """
    maps, scales, levels = check_regions(maps, boxes, scales, levels)
    rows, columns = (output_size, output_size) if is_integer(output_size) else output_size
    scale = ops.take(ops.convert_to_tensor(np.asarray(scales, "float32")), levels)
    boxes, finite = finite_boxes(ops.stop_gradient(boxes))
    shift = 0.5 if aligned else 0.0
    x1, y1, x2, y2 = (boxes[..., i] * scale - shift for i in range(4))
    height, width = y2 - y1, x2 - x1
    if not aligned:
        height, width = ops.maximum(height, 1.0), ops.maximum(width, 1.0)
    if sampling_ratio == 0:
        return _adaptive(maps, levels, finite, (y1, height, rows), (x1, width, columns))
    table = pixel_table(maps)
    map_width = ops.take(table.widths, levels)
    y = axis(y1, height, rows, sampling_ratio, ops.take(table.heights, levels), finite)
    x = axis(x1, width, columns, sampling_ratio, map_width, finite)
    return _cropped(table, first_rows(table, levels), map_width, y, x, (rows, columns))


def _cropped(table: Table, start: Any, width: Any, y: Axis, x: Axis, output_size: tuple[int, int]) -> Any:
    """Run `pixel_sums.interpolate`, or TensorFlow's faster form of it where that may be used."""
    if not use_tensorflow_kernels():
        return interpolate(table, start, width, y, x, output_size)
    from keras_segattn.ops._tensorflow import weighted_sum

    indices, weights = (ops.stack(parts, axis=-1) for parts in corners(start, width, y, x, output_size))
    terms, shape, dtype = indices.shape[-1], ops.shape(indices)[:-1], table.pixels.dtype
    total = weighted_sum(
        ops.cast(table.pixels, "float32"), ops.reshape(indices, (-1, terms)), ops.reshape(weights, (-1, terms))
    )
    return ops.cast(ops.reshape(total, (*shape, table.pixels.shape[-1])), dtype)


def axis(start: Any, extent: Any, cells: int, samples: int, size: Any, inside: Any) -> Axis:
    """Compute the samples of RoIAlign along one axis.

    Args:
        start: float `(batch, R)`, first coordinate of each box, in pixels of its map.
        extent: float `(batch, R)`, size of each box along the axis, in pixels of its map.
        cells: number of cells of the grid along the axis.
        samples: number of samples per cell.
        size: int `(batch, R)`, number of pixels of the map along the axis.
        inside: bool `(batch, R)`, false for boxes that do not count.
    """
    position = (np.arange(cells * samples) + 0.5).astype("float32") / samples
    return neighbours(start[..., None] + position * (extent / cells)[..., None], size[..., None], inside[..., None])


def neighbours(position: Any, size: Any, inside: Any) -> Axis:
    """Return the two pixels around each position and their weights, which are 0 outside of -1 … `size`."""
    limit = ops.cast(size, position.dtype)
    inside = ops.cast(ops.logical_and(inside, ops.logical_and(position >= -1.0, position <= limit)), position.dtype)
    position = ops.clip(position, 0.0, limit - 1.0)
    floor = ops.stop_gradient(ops.floor(position))
    fraction = position - floor
    low = ops.cast(floor, "int32")
    return Axis(low, ops.minimum(low + 1, size - 1), (1.0 - fraction) * inside, fraction * inside)


def check_regions(maps: Any, boxes: Any, scales: Any, levels: Any) -> tuple[list[Any], list[float], Any]:
    """Check the shapes, and return maps and scales as lists, and levels, which are zero for a single map.

    Raises:
        ValueError: if shapes do not fit each other.
    """
    maps = as_maps(maps)
    scales = [float(s) for s in scales] if isinstance(scales, list | tuple) else [float(scales)]
    if len(scales) != len(maps):
        raise ValueError(f"expected one scale per map, received {len(scales)} for {len(maps)} maps")
    if len(boxes.shape) != 3 or boxes.shape[-1] != 4:
        raise ValueError(f"expected boxes (batch, regions, 4), received {tuple(boxes.shape)}")
    if levels is None:
        if len(maps) > 1:
            raise ValueError(f"with {len(maps)} maps expected the level of each box, received None")
        levels = ops.zeros_like(boxes[..., 0], dtype="int32")
    return maps, scales, levels


def finite_boxes(boxes: Any) -> tuple[Any, Any]:
    """Return boxes in float32, zero where one holds NaN or infinity, and a bool `(batch, R)`, true for finite boxes."""
    boxes = ops.cast(boxes, "float32")
    # Comparisons with NaN are false; beyond this bound pixels have no meaning and integers would overflow.
    finite = ops.all(ops.abs(boxes) < 1e9, axis=-1)
    return ops.where(finite[..., None], boxes, 0.0), finite


def _adaptive(
    maps: Sequence[Any], levels: Any, finite: Any, rows: tuple[Any, Any, int], columns: tuple[Any, Any, int]
) -> Any:
    """Crop with as many samples per cell as it has pixels, by two matrix products for each map.

    The average over a grid of bilinear samples is a product of averages along y and x, so the matrices hold the weights
    of all pixels along y and x.
    """
    total = 0.0
    for level, x in enumerate(maps):
        height, width = x.shape[1:3]
        if height is None or width is None:
            raise ValueError(f"sampling_ratio=0 needs maps of known height and width, received {tuple(x.shape)}")
        here = ops.logical_and(finite, levels == level)
        down = _averages(*rows, height, here)
        across = _averages(*columns, width, here)
        parts = []
        for i in range(0, max(levels.shape[1], 1), CHUNK):
            part = ops.einsum("brph,bhwc->brpwc", down[:, i : i + CHUNK], ops.cast(x, "float32"))
            parts.append(ops.einsum("brpwc,brqw->brpqc", part, across[:, i : i + CHUNK]))
        total = total + ops.concatenate(parts, axis=1)
    return ops.cast(total, maps[0].dtype)


def _averages(start: Any, extent: Any, cells: int, size: int, inside: Any) -> Any:
    """Compute the weight of each of `size` pixels in each cell, `(batch, R, cells, size)`."""
    bin_size = extent / cells
    count = ops.ceil(bin_size)
    most = math.ceil(size / cells) + 1
    cell = ops.arange(cells, dtype="float32")[:, None]
    sample = ops.arange(most, dtype="float32")
    fraction = (sample + 0.5) / ops.maximum(count, 1.0)[..., None]
    position = start[..., None, None] + (cell + fraction[..., None, :]) * bin_size[..., None, None]
    used = ops.logical_and(inside[..., None], sample < count[..., None])[..., None, :]
    samples = neighbours(position, ops.full((1, 1, 1, 1), size, "int32"), used)
    pixel = ops.arange(size, dtype="int32")
    total = 0.0
    for index, weight in ((samples.low, samples.low_weight), (samples.high, samples.high_weight)):
        for s in range(most):
            hit = ops.cast(index[..., s, None] == pixel, "float32")
            total = total + hit * weight[..., s, None]
    return total / ops.maximum(count, 1.0)[..., None, None]
