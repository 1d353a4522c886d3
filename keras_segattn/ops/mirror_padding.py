"""Mirror padding of any width, also wider than the picture."""

from typing import Any

from keras import ops


def mirror_padding(x: Any, rows: int, columns: int) -> Any:
    """Pad a picture with its mirror image, in which the outermost pixels are not repeated (`c b | a b c | b a`).

    This is `numpy.pad(mode="reflect")` and the border `"mirror"` of `scipy.ndimage`. If the padding is wider than the
    picture, the mirror image is mirrored again.

    Args:
        x: tensor `(batch, height, width, channels)` of any dtype; height and width are at least 1.
        rows: number of rows added at the top, and at the bottom.
        columns: number of columns added at the left, and at the right.

    Returns:
        `(batch, height + 2 rows, width + 2 columns, channels)`, same dtype.

    Example:
        >>> mirror_padding(pictures, 24, 24).shape
        TensorShape([2, 228, 288, 3])
    """
    for axis, width in ((1, rows), (2, columns)):
        x = ops.take(x, _mirrored(ops.shape(x)[axis], width), axis=axis)
    return x


def _mirrored(size: Any, width: int) -> Any:
    """Return the pixels `-width..size + width - 1` as indices of the picture."""
    period = ops.maximum(2 * size - 2, 1)
    place = ops.mod(ops.arange(-width, size + width, dtype="int32"), period)
    return ops.minimum(place, period - place)
