"""Pictures resized in a TensorFlow graph, with the same pixels as `data.fitting` gives outside of graphs."""

from typing import Any

import tensorflow as tf

from keras_segattn.data.crops import CROP_SCHEMES, REFERENCE_SIZE

# Bits behind the point of Pillow's coefficients (`PRECISION_BITS` in its Resample.c).
BITS = 22


def fitted(pixels: Any, size: tuple[int | None, int | None], fit: str) -> tuple[Any, Any]:
    """Fit a picture to a size as `data.fitting.fitted` does.

    Args:
        pixels: uint8 `(height, width, 3)`.
        size: (height, width); `None` where the picture keeps its own.
        fit: `"stretch"`, `"crop"` or `"pad"`, see `fields.Picture`.

    Returns:
        The image, uint8 `(*size, 3)`, and float64 `(2,)`: the factors by which the picture was resized.
    """
    own = tf.cast(tf.shape(pixels)[:2], "float64")
    height, width = size
    if height is None or width is None or fit == "stretch":
        wanted = tf.stack([have if want is None else want for want, have in zip(size, tf.unstack(own), strict=True)])
        wanted = tf.cast(wanted, "float64")
        image = resized(pixels, tf.cast(wanted, "int32"))
        return tf.ensure_shape(image, (*size, 3)), wanted / own
    if fit == "crop":
        return central_crop(pixels, (height, width)), tf.ones(2, "float64")
    factor = tf.reduce_min(tf.cast(size, "float64") / own)
    inner = tf.cast(tf.maximum(tf.round(own * factor), 1), "int32")
    image = resized(pixels, inner)[:height, :width]
    margins = tf.maximum(tf.stack([height, width]) - inner, 0)
    padded = tf.pad(image, [[0, margins[0]], [0, margins[1]], [0, 0]])
    return tf.ensure_shape(padded, (height, width, 3)), tf.stack([factor, factor])


def central_crop(pixels: Any, size: tuple[int, int]) -> Any:
    """Cut out the centre of a picture as `data.crops.central_crop` does, rounded to uint8."""
    (scale,) = CROP_SCHEMES["single"].scales
    own = tf.cast(tf.shape(pixels)[:2], "float64")
    wanted = tf.constant(size, "float64")
    if size[0] == size[1]:
        side = tf.floor(wanted[0] * scale / REFERENCE_SIZE + 0.5)
        inner = tf.floor(own * side / tf.reduce_min(own) + 0.5)
        start = tf.floor(0.5 * (inner - side)) + tf.floor(0.5 * (side - wanted))
    else:
        inner = tf.floor(own * tf.reduce_max(wanted * scale / REFERENCE_SIZE / own) + 0.5)
        start = tf.floor((inner - wanted) / 2)
    image = tf.image.resize(tf.cast(pixels, "float32"), tf.cast(inner, "int32"), "bilinear", antialias=True)
    top, left = tf.unstack(tf.cast(start, "int32"))
    image = tf.slice(image, tf.stack([top, left, 0]), (*size, 3))
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), "uint8")


def resized(pixels: Any, size: Any) -> Any:
    """Resize a picture with the arithmetic of Pillow's bilinear filter, first the columns, then the rows.

    Args:
        pixels: uint8 `(height, width, channels)`.
        size: int32 `(2,)`, (height, width).
    """
    return resized_along(0, resized_along(1, pixels, size[1]), size[0])


def resized_along(axis: int, pixels: Any, want: Any) -> Any:
    """Resize the rows (axis 0) or columns (axis 1) of a picture as Pillow's Resample.c does."""
    have = tf.shape(pixels)[axis]
    scale = tf.cast(have, "float64") / tf.cast(want, "float64")
    reach = tf.maximum(scale, 1.0)
    centre = (tf.cast(tf.range(want), "float64") + 0.5) * scale
    first = tf.maximum(tf.cast(centre - reach + 0.5, "int32"), 0)
    last = tf.minimum(tf.cast(centre + reach + 0.5, "int32"), have)
    taps = tf.cast(tf.math.ceil(reach), "int32") * 2 + 1
    places = first + tf.range(taps)[:, None]
    distances = (tf.cast(places, "float64") - centre + 0.5) * (1 / reach)
    weights = tf.where(places < last, tf.maximum(1 - tf.abs(distances), 0), 0)
    weights /= tf.reduce_sum(weights, axis=0)
    weights = tf.cast(weights * (1 << BITS) + 0.5, "int32")
    weights = weights[:, :, None, None] if axis == 0 else weights[:, None, :, None]
    places = tf.minimum(places, have - 1)

    def add(tap: Any, total: Any) -> tuple[Any, Any]:
        return tap + 1, total + tf.cast(tf.gather(pixels, places[tap], axis=axis), "int32") * weights[tap]

    shape = tf.tensor_scatter_nd_update(tf.shape(pixels), [[axis]], [want])
    start = tf.fill(shape, 1 << (BITS - 1))
    start.set_shape([None, None, pixels.shape[-1]])
    _, total = tf.while_loop(lambda tap, _: tap < taps, add, (0, start))
    return tf.cast(tf.clip_by_value(tf.bitwise.right_shift(total, BITS), 0, 255), "uint8")
