"""Weighted sums of a few pixels, which all operators that crop regions by bilinear interpolation compute.

A *table* holds the pixels of all maps of a pyramid, one pixel in each row. A region operator determines for every
output cell which rows it reads, and their weights. Both are computed one axis at a time: `Axis` holds, for every sample
along y or x, its two neighbours and their weights.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

from keras import ops

from keras_segattn.ops.dtypes import as_floats


class Axis(NamedTuple):
    """Samples along one axis of a map.

    Attributes:
        low, high: int32 `(batch, R, S)`, the two neighbours of each sample.
        low_weight, high_weight: weights of these neighbours, of the same shape; both 0 where the sample lies outside.
    """

    low: Any
    high: Any
    low_weight: Any
    high_weight: Any


class Table(NamedTuple):
    """The pixels of all maps, one in each row.

    Attributes:
        pixels: `(batch · Σ height · width, channels)`.
        rows: int32 scalar, the number of rows of each image.
        offsets, heights, widths: int32 `(levels,)`, the first row of each map among those of its image, and its size.
    """

    pixels: Any
    rows: Any
    offsets: Any
    heights: Any
    widths: Any


def as_maps(maps: Any) -> list[Any]:
    """Return a single map, or the maps of a pyramid, as a list of floats; a map without pixels gets one of zeros.

    Raises:
        ValueError: if there is no map, or one is not `(batch, height, width, channels)` with as many channels as the
            others.
    """
    found = list(maps) if isinstance(maps, list | tuple) else [maps]
    if not found or any(len(x.shape) != 4 or x.shape[-1] != found[0].shape[-1] for x in found):
        raise ValueError(
            "expected maps (batch, height, width, channels) of equal channels, received "
            f"{[tuple(x.shape) for x in found]}"
        )
    return [_with_pixels(as_floats(x)) for x in found]


def _with_pixels(x: Any) -> Any:
    missing = [int(size == 0) for size in x.shape[1:3]]
    return ops.pad(x, [(0, 0), *((0, count) for count in missing), (0, 0)]) if any(missing) else x


def pixel_rows(x: Any) -> Any:
    """Return pixels `(…, channels)` as rows `(N, channels)`; JAX cannot read from none, so there is at least one."""
    rows = ops.reshape(x, (-1, x.shape[-1]))
    return ops.pad(rows, ((0, 1), (0, 0))) if rows.shape[0] == 0 else rows


def pixel_table(maps: Sequence[Any]) -> Table:
    """Stack the pixels of all maps under each other, image by image."""
    channels = maps[0].shape[-1]
    # All sizes are given, because in an empty batch the one that reshaping would find for a -1 is undefined.
    flat = [ops.reshape(x, (ops.shape(x)[0], ops.shape(x)[1] * ops.shape(x)[2], channels)) for x in maps]
    joined = flat[0] if len(flat) == 1 else ops.concatenate(flat, axis=1)
    heights = ops.stack([ops.cast(ops.shape(x)[1], "int32") for x in maps])
    widths = ops.stack([ops.cast(ops.shape(x)[2], "int32") for x in maps])
    ends = ops.cumsum(heights * widths)
    return Table(
        pixel_rows(joined),
        ops.cast(ops.shape(joined)[1], "int32"),
        ops.cast(ends - heights * widths, "int32"),
        heights,
        widths,
    )


def first_rows(table: Table, levels: Any) -> Any:
    """Return the row of the upper left pixel of each region's map, int32 `(batch, R)`."""
    batch = ops.arange(ops.shape(levels)[0], dtype="int32")
    return (batch * table.rows)[:, None] + ops.take(table.offsets, levels)


def interpolate(table: Table, start: Any, width: Any, y: Axis, x: Axis, output_size: tuple[int, int]) -> Any:
    """Average the bilinear samples of each output cell.

    Args:
        table: table of the pixels.
        start: int32 `(batch, R)`, row of the upper left pixel of the region's map.
        width: int32 `(batch, R)`, width of that map.
        y: samples `(batch, R, P · s)` along y, the s samples of a cell together.
        x: samples `(batch, R, Q · t)` along x, the t samples of a cell together.
        output_size: (P, Q), rows and columns of cells.

    Returns:
        `(batch, R, P, Q, channels)`.
    """
    indices, weights = corners(start, width, y, x, output_size)
    total = 0.0
    for index, weight in zip(indices, weights, strict=True):
        # One pixel of each cell at a time: all at once would need s · t · 4 times the memory.
        total = total + ops.take(table.pixels, index, axis=0) * ops.cast(weight, table.pixels.dtype)[..., None]
    return total


def corners(start: Any, width: Any, y: Axis, x: Axis, output_size: tuple[int, int]) -> tuple[list[Any], list[Any]]:
    """List rows `(batch, R, P, Q)` and weights of each of the four neighbours of each sample of a cell."""
    rows, columns = output_size
    down, across = y.low.shape[-1] // rows, x.low.shape[-1] // columns
    first, width = start[..., None, None], width[..., None]
    # Each slice is made once: a tensor's slice is several operators, and there are 4 · s · t sums.
    along_y = [
        [
            (first + (index[..., i::down] * width)[..., None], weight[..., i::down, None])
            for index, weight in ((y.low, y.low_weight), (y.high, y.high_weight))
        ]
        for i in range(down)
    ]
    along_x = [
        [
            (index[..., None, j::across], weight[..., None, j::across])
            for index, weight in ((x.low, x.low_weight), (x.high, x.high_weight))
        ]
        for j in range(across)
    ]
    indices, weights = [], []
    for ys, xs in product(along_y, along_x):
        for (row, y_weight), (column, x_weight) in product(ys, xs):
            indices.append(row + column)
            weights.append(y_weight * x_weight / float(down * across))
    return indices, weights
