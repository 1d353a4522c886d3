"""Files of pictures decoded and fitted in the graph of a served model, with the pixels that `predict` and training see.

TensorFlow and Pillow decode with the same libraries, and `data.graph_fitting` resizes with Pillow's numbers. What the
graph cannot do is refused: see `FILES_TAKEN`.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from keras_segattn.data.fitting import fitted_size
from keras_segattn.data.graph_fitting import fitted
from keras_segattn.export.serving.requests import required
from keras_segattn.fields import Picture

# Most pixels of one picture in a file; compressed, a few kilobytes may stand for gigabytes.
LARGEST_PICTURE = 50_000_000
FILES_TAKEN = (
    "JPEG (grey or colour) and PNG files of at most 50 million pixels are taken, and prepared as `predict` prepares "
    "them; other formats, CMYK, and pictures that EXIF or XMP data turn are refused: turn their pixels beforehand"
)
# Entry of EXIF data (in both byte orders, as 16 or 32 bits, or as any other number, which is not looked at) or of XMP
# data that asks to turn the picture. EXIF and XMP data may be compressed in a PNG's texts, where the graph cannot see
# what they ask for.
TURNED = (
    r"\C*(?:"
    r"(?:Exif\x00\x00|eXIf)II\*\x00\C*\x12\x01"
    r"(?:[\x03\x04]\x00\x01\x00\x00\x00[\x02-\x08]|[\x05\x06\x08-\x12]\x00\x01\x00\x00\x00)|"
    r"(?:Exif\x00\x00|eXIf)MM\x00\*\C*\x01\x12\x00"
    r"(?:(?:\x03\x00\x00\x00\x01|\x04\x00\x00\x00\x01\x00\x00)\x00[\x02-\x08]|[\x05\x06\x08-\x12]\x00\x00\x00\x01)|"
    r"tiff:Orientation(?:=\"|>)[2-8]|"
    r"(?:zTXtXML:com\.adobe\.xmp|iTXtXML:com\.adobe\.xmp\x00\x01|Raw profile type exif)"
    r")\C*"
)
# Weights of red, green and blue in Pillow's grey, in units of 2⁻¹⁶.
GREY = (19595, 38470, 7471)


class Decoded(NamedTuple):
    """A batch of pictures from files.

    Attributes:
        images: uint8 `(batch, height, width, 1 or 3)`.
        factors: float32 `(batch, 2)`, factors by which the pictures were resized, (vertical, horizontal).
        sizes: float32 `(batch, 2)`, (height, width) of the picture in the image.
    """

    images: Any
    factors: Any
    sizes: Any


def decoded(files: Any, kind: Picture, shape: tuple[int | None, ...]) -> Decoded:
    """Decode picture files, and fit the pictures to the size that a network takes as the kind of the input says.

    Args:
        files: string tensor `(batch,)`, each the bytes of a JPEG or PNG file.
        kind: kind of the input.
        shape: (height, width, channels) that the network takes; `None` where a size is open. Pictures that keep
            their own size must be equal in it.
    """
    size = fitted_size(kind, shape)

    def one(file: Any) -> Decoded:
        pixels = pixels_of(file)
        image, factors = fitted(pixels, size, kind.fit)
        if shape[-1] == 1:
            image = grey(image)
        inner = tf.maximum(tf.round(tf.cast(tf.shape(pixels)[:2], "float64") * factors), 1)
        return Decoded(image, tf.cast(factors, "float32"), tf.cast(inner, "float32"))

    pair = tf.TensorSpec((2,), "float32")
    return tf.map_fn(one, files, fn_output_signature=Decoded(tf.TensorSpec((*size, shape[-1]), "uint8"), pair, pair))


def pixels_of(file: Any) -> Any:
    """Decode a file to uint8 `(height, width, 3)`, as `data.read_image` does, or refuse it."""
    jpeg = tf.equal(tf.strings.substr(file, 0, 3), b"\xff\xd8\xff")
    png = tf.equal(tf.strings.substr(file, 0, 8), b"\x89PNG\r\n\x1a\n") & (tf.strings.length(file) > 32)
    turned = tf.strings.regex_full_match(file, TURNED)
    (file,) = required(
        [file],
        (jpeg | png, "unknown image file format: expected a JPEG or PNG file"),
        (~turned, "EXIF or XMP data ask to turn the picture: turn its pixels, and send it without such data"),
    )
    pixels = tf.cond(jpeg, lambda: jpeg_pixels(file), lambda: png_pixels(file))
    return tf.ensure_shape(pixels, (None, None, 3))


def jpeg_pixels(file: Any) -> Any:
    """Decode a JPEG file of one or three channels, with the exact transformation that Pillow uses."""
    shape = tf.io.extract_jpeg_shape(file)
    (file,) = required(
        [file],
        (tf.not_equal(shape[2], 4), "CMYK pictures are not taken: convert the picture to RGB"),
        small_enough(shape[0], shape[1]),
    )
    return tf.io.decode_jpeg(file, channels=3, dct_method="INTEGER_ACCURATE")


def png_pixels(file: Any) -> Any:
    """Decode a PNG file without its transparency; 16 bits of grey are rounded to 8, and those of colours cut to 8."""
    header = tf.cast(tf.io.decode_raw(tf.strings.substr(file, 16, 10), "uint8"), "int64")
    width, height = (tf.reduce_sum(header[i : i + 4] * (1 << 24, 1 << 16, 1 << 8, 1)) for i in (0, 4))
    (file,) = required([file], small_enough(height, width))

    def deep() -> Any:
        values = tf.cast(tf.io.decode_png(file, channels=1, dtype="uint16"), "float64")
        return tf.repeat(tf.cast(tf.round(values / 257), "uint8"), 3, axis=-1)

    depth, colours = header[8], header[9]
    return tf.cond((depth > 8) & (colours < 1), deep, lambda: tf.io.decode_png(file, channels=3))


def small_enough(height: Any, width: Any) -> tuple[Any, str]:
    """Return the condition that a picture has at most `LARGEST_PICTURE` pixels, and what is said otherwise."""
    pixels = tf.cast(height, "int64") * tf.cast(width, "int64")
    return pixels <= LARGEST_PICTURE, f"expected a picture of at most {LARGEST_PICTURE} pixels"


def grey(image: Any) -> Any:
    """Convert uint8 `(height, width, 3)` to uint8 `(height, width, 1)` by Pillow's formula."""
    total = tf.reduce_sum(tf.cast(image, "int32") * GREY, axis=-1, keepdims=True)
    return tf.cast(tf.bitwise.right_shift(total + (1 << 15), 16), "uint8")
