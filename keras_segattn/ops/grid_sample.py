"""The sampler of spatial transformers, which reads pictures at points (Jaderberg et al., NIPS 2015, section 3.3)."""

from typing import Any

from keras import ops

from keras_segattn.arguments import check_choice
from keras_segattn.ops.dtypes import as_floats, at_least_float32
from keras_segattn.ops.pixel_sums import pixel_rows
from keras_segattn.ops.portable import use_tensorflow_kernels

INTERPOLATIONS = ("bilinear", "nearest")
PADDINGS = ("zeros", "border", "reflection")
# With at most this many channels, the four neighbours of a point may be read as one row of a wider table.
FEW_CHANNELS = 4
# Farther away than this, in pixels, float32 no longer distinguishes neighbouring pixels: such positions are moved to
# the edge instead of being reflected.
FARTHEST = 2.0**24


def grid_sample(
    images: Any,
    grid: Any,
    interpolation: str = "bilinear",
    padding: str = "zeros",
    align_corners: bool = True,
) -> Any:
    """Read images at the points of a grid (equation 3), as `torch.nn.functional.grid_sample` does.

    The gradients are equations 6 and 7. At integer coordinates, where these leave a choice, the gradient for the grid
    is the difference to the next pixel to the right or below, as in torch; outside of the picture it is 0.

    Args:
        images: `(batch, height, width, channels)`; integers are read as float32.
        grid: float `(batch, rows, columns, 2)`, points (x, y) from -1, the left or upper edge, to 1, the right or lower
            one. A point that holds NaN or infinity reads the padding.
        interpolation: `"bilinear"` (equation 5) or `"nearest"` (equation 4; it rounds halves up, torch rounds them to
            even). With `"nearest"` no gradient reaches the grid.
        padding: values outside of the picture: `"zeros"`, the nearest pixel of the `"border"`, or the picture's
            `"reflection"`.
        align_corners: whether -1 and 1 are the centres of the outermost pixels, so that an identity grid of any size
            reads the corners; else they are the outer edges of these pixels.

    Returns:
        `(batch, rows, columns, channels)` in the images' dtype, or in float32 if that is no floating one.

    Raises:
        ValueError: if an argument or shape is wrong.

    Example:
        >>> turned = grid_sample(images, affine_grid(theta, (28, 28)))
    """
    check_choice("interpolation", interpolation, INTERPOLATIONS)
    check_choice("padding", padding, PADDINGS)
    check_choice("align_corners", align_corners, (True, False))
    if len(grid.shape) != 4:
        raise ValueError(f"expected a grid (batch, rows, columns, 2), received {tuple(grid.shape)}")
    return _sample(images, grid, interpolation, padding, align_corners)


def resampler(data: Any, warp: Any) -> Any:
    """Sample images bilinearly at points in pixels, zero outside; replaces TensorFlow Addons' `tfa.image.resampler`.

    Args:
        data: `(batch, height, width, channels)`; integers are read as float32.
        warp: float `(batch, …, 2)`, points (x, y) in pixels; (0, 0) is the centre of the first pixel.

    Returns:
        `(batch, …, channels)`, differentiable in both.

    Raises:
        ValueError: if a shape is wrong.

    Example:
        >>> patches = resampler(images, points)
    """
    return _sample(data, warp, "bilinear", "zeros", None)


def dense_image_warp(image: Any, flow: Any) -> Any:
    """Move each pixel by its own flow; replaces TensorFlow Addons' `tfa.image.dense_image_warp`.

    Output pixel (row, column) reads the image at `(row, column) - flow[row, column]`, bilinearly; positions outside of
    the image read its border.

    Args:
        image: `(batch, height, width, channels)`; integers are read as float32.
        flow: float `(batch, height, width, 2)`, in pixels, **rows first**, then columns.

    Returns:
        `(batch, height, width, channels)`, differentiable in both.

    Raises:
        ValueError: if a shape is wrong.

    Example:
        >>> moved = dense_image_warp(frame, flow)
    """
    if len(flow.shape) != 4 or flow.shape[-1] != 2:
        raise ValueError(f"expected a flow (batch, height, width, 2), received {tuple(flow.shape)}")
    flow = at_least_float32(flow)
    height, width = ops.shape(flow)[1:3]
    rows = ops.cast(ops.arange(height), flow.dtype)[:, None] - flow[..., 0]
    columns = ops.cast(ops.arange(width), flow.dtype) - flow[..., 1]
    return _sample(image, ops.stack([columns, rows], axis=-1), "bilinear", "border", None)


def _sample(images: Any, points: Any, interpolation: str, padding: str, align_corners: bool | None) -> Any:
    """Run `portable_sample`, or its compiled form where that may be used."""
    if len(images.shape) != 4:
        raise ValueError(f"expected images (batch, height, width, channels), received {tuple(images.shape)}")
    if len(points.shape) < 2 or points.shape[-1] != 2:
        raise ValueError(f"expected points (batch, …, 2), received {tuple(points.shape)}")
    if None not in (images.shape[0], points.shape[0]) and images.shape[0] != points.shape[0]:
        raise ValueError(f"expected points for each of {images.shape[0]} images, received {points.shape[0]}")
    if padding != "zeros" and 0 in images.shape[1:3] and 0 not in points.shape:
        raise ValueError(f"expected images with pixels for the padding {padding!r}, received {tuple(images.shape)}")
    images = as_floats(images)
    if not use_tensorflow_kernels():
        return portable_sample(images, points, interpolation, padding, align_corners)
    from keras_segattn.ops._tensorflow import compiled_sample

    return compiled_sample(images, points, (interpolation, padding, align_corners))


def portable_sample(
    images: Any, points: Any, interpolation: str, padding: str, align_corners: bool | None, wide: bool = True
) -> Any:
    """Read pixels from the images by index, and interpolate between them.

    Args:
        images: `(batch, height, width, channels)`.
        points: `(batch, …, 2)`, (x, y); in pixels if `align_corners` is `None`, else normalised.
        interpolation: interpolation between pixels, see `grid_sample`.
        padding: padding rule, see `grid_sample`.
        align_corners: whether -1 and 1 are the centres of the outermost pixels, see `grid_sample`; `None` if the points
            are in pixels.
        wide: whether, with few channels, all four neighbours of a point are read at once. This takes fewer operators,
            and one scatter for the images' gradient. Four separate reads are faster where a compiler fuses them with
            the interpolation into one loop.
    """
    batch, height, width = ops.shape(images)[:3]
    channels = images.shape[-1]
    points = at_least_float32(points)
    x = _pixels(points[..., 0], width, padding, align_corners)
    y = _pixels(points[..., 1], height, padding, align_corners)
    # With zeros around the images, points outside are read like any other. One pixel is needed before, and two after,
    # because the neighbour of the first one after the images is read too.
    before = 1 if padding == "zeros" else 0
    around = (before, before + 1)
    table = ops.pad(images, ((0, 0), around, around, (0, 0)))
    if interpolation == "nearest":
        x, y = ops.floor(x + 0.5), ops.floor(y + 0.5)
    left, top = ops.floor(ops.stop_gradient(x)), ops.floor(ops.stop_gradient(y))
    few = wide and interpolation == "bilinear" and channels is not None and channels <= FEW_CHANNELS
    if few:
        corners = [table[:, :-1, :-1], table[:, :-1, 1:], table[:, 1:, :-1], table[:, 1:, 1:]]
        table = ops.concatenate(corners, axis=-1)
    rows, columns = ops.shape(table)[1:3]
    places = ops.reshape(ops.arange(batch, dtype="int32") * rows, (-1,) + (1,) * (len(points.shape) - 2))
    index = (places + ops.cast(top, "int32") + before) * columns + ops.cast(left, "int32") + before
    table = pixel_rows(table)
    if interpolation == "nearest":
        return ops.take(table, index, axis=0)
    if few:
        read = ops.split(ops.take(table, index, axis=0), 4, axis=-1)
    else:
        read = [ops.take(table, index + step, axis=0) for step in (0, 1, columns, columns + 1)]
    right = ops.cast(x - left, images.dtype)[..., None]
    down = ops.cast(y - top, images.dtype)[..., None]
    upper = read[0] + right * (read[1] - read[0])
    lower = read[2] + right * (read[3] - read[2])
    return upper + down * (lower - upper)


def _pixels(position: Any, size: Any, padding: str, align_corners: bool | None) -> Any:
    """Convert positions along an axis to pixels, limited to -1 … `size` for zeros, else to 0 … `size - 1`.

    Positions beyond the limits have gradient 0. Comparisons with NaN are false, so that NaN becomes the lower limit.
    """
    size = ops.cast(size, position.dtype)
    if align_corners:
        position = (position + 1.0) / 2.0 * (size - 1.0)
    elif align_corners is not None:
        position = ((position + 1.0) * size - 1.0) / 2.0
    if padding == "reflection":
        position = _reflected(position, size, bool(align_corners))
    if padding == "zeros":
        # At -1 the value already changes towards the first pixel, so that -1 has a gradient.
        low, high = ops.cast(-1.0, position.dtype), size
        inside = position >= low
    else:
        low, high = ops.zeros_like(size), size - 1.0
        inside = position > low
    return ops.where(inside, ops.where(position < high, position, high), low)


def _reflected(position: Any, size: Any, align_corners: bool) -> Any:
    """Reflect positions into 0 … `size - 1`, or half a pixel more on both sides without aligned corners."""
    start, span = (0.0, size - 1.0) if align_corners else (-0.5, size)
    span = ops.maximum(span, 1.0)
    position = ops.where(ops.abs(position) < FARTHEST, position, start)
    distance = ops.abs(position - start)
    folds = ops.stop_gradient(ops.floor(distance / span))
    rest = distance - folds * span
    even = folds - 2.0 * ops.floor(folds / 2.0) < 0.5
    return start + ops.where(even, rest, span - rest)
