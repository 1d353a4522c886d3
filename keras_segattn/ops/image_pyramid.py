"""Image pyramids (Burt & Adelson 1983): a picture at full, half and quarter size …, or what each blur took away."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from keras import ops

# The generating kernel of Burt and Adelson with a = 3/8 is the outer product of these weights, and divided by 16².
BINOMIAL = (1.0, 4.0, 6.0, 4.0, 1.0)
ROWS, COLUMNS = 1, 2


def reduced(images: Any) -> Any:
    """Blur by the 5×5 binomial and keep every second row and column (REDUCE).

    Kernels that overhang the border are divided by the sum of their weights inside, so that one colour stays one
    colour, whatever the size.

    Args:
        images: `(batch, height, width, channels)`, floats.

    Returns:
        `(batch, ceil(height / 2), ceil(width / 2), channels)` in the same dtype.
    """
    for axis in (ROWS, COLUMNS):
        images = _normalised(_halved, images, axis)
    return images


def expanded(images: Any, height: Any, width: Any) -> Any:
    """Double height and width by the same kernel, and cut the result to a size (EXPAND).

    Args:
        images: `(batch, ceil(height / 2), ceil(width / 2), channels)`, floats.
        height: number of rows of the result, a number or a scalar tensor.
        width: number of its columns.

    Returns:
        `(batch, height, width, channels)` in the same dtype.
    """
    for axis in (ROWS, COLUMNS):
        images = _normalised(_doubled, images, axis)
    return images[:, :height, :width]


def gaussian_pyramid(images: Any, levels: int) -> list[Any]:
    """Return pictures at scales 1, 1/2, 1/4 …, each of which is the one before `reduced`.

    Args:
        images: `(batch, height, width, channels)`, floats.
        levels: number of scales, at least 1.
    """
    pyramid = [images]
    for _ in range(levels - 1):
        pyramid.append(reduced(pyramid[-1]))
    return pyramid


def laplacian_pyramid(images: Any, levels: int) -> list[Any]:
    """Return the bands of a picture, and the picture at the coarsest scale last.

    A band is a level of the Gaussian pyramid minus the `expanded` next one. So the picture is the sum of the first band
    and what the other levels expand to.

    Args:
        images: `(batch, height, width, channels)`, floats.
        levels: number of scales, at least 1.
    """
    pyramid = gaussian_pyramid(images, levels)
    bands = [fine - expanded(coarse, *ops.shape(fine)[1:3]) for fine, coarse in pairwise(pyramid)]
    return [*bands, pyramid[-1]]


def _halved(x: Any, axis: int) -> Any:
    """Return the binomial sums at every second row or column."""
    last = 2 * ((ops.shape(x)[axis] + 1) // 2) - 1
    padded = _padded(x, axis, 2)
    return sum(weight * _part(padded, axis, first, first + last, 2) for first, weight in enumerate(BINOMIAL))


def _doubled(x: Any, axis: int) -> Any:
    """Return the binomial sums of rows or columns with a 0 behind each of them."""
    size = list(ops.shape(x))
    padded = _padded(x, axis, 1)
    before, here, after = (_part(padded, axis, first, first + size[axis]) for first in range(3))
    even = BINOMIAL[0] * before + BINOMIAL[2] * here + BINOMIAL[4] * after
    odd = BINOMIAL[1] * here + BINOMIAL[3] * after
    size[axis] = 2 * size[axis]
    return ops.reshape(ops.stack([even, odd], axis=axis + 1), size)


def _normalised(blur: Callable[[Any, int], Any], images: Any, axis: int) -> Any:
    """Blur, and divide by the sum of the weights of the pixels that exist."""
    shape = [1, 1, 1, 1]
    shape[axis] = ops.shape(images)[axis]
    return blur(images, axis) / blur(ops.ones(shape, images.dtype), axis)


def _padded(x: Any, axis: int, border: int) -> Any:
    widths = [(0, 0)] * 4
    widths[axis] = (border, border)
    return ops.pad(x, widths)


def _part(x: Any, axis: int, start: Any, stop: Any, step: int = 1) -> Any:
    places = [slice(None)] * 4
    places[axis] = slice(start, stop, step)
    return x[tuple(places)]
