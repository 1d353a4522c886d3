"""Integral images of a map of classes, and boxes of all pixels relative to each of them."""

from typing import Any

from keras import ops

from keras_segattn.ops.portable import use_tensorflow_kernels


def integral_images(classes: Any, count: int, dtype: str = "float32") -> Any:
    """Count the pixels of every class above and to the left of every corner of a pixel (Viola & Jones, IJCV 2004).

    Args:
        classes: integers `(batch, height, width)` in `0..count - 1`; other values belong to no class.
        count: number of classes.
        dtype: floating dtype; float32 counts exactly up to 2²⁴ pixels.

    Returns:
        `(batch, count, height + 1, width + 1)`: entry `(c, y, x)` is the number of pixels of class `c` in rows `0..y-1`
        and columns `0..x-1`.

    Example:
        >>> integral_images(np.array([[[0, 1], [1, 1]]]), 2)[0, 1]
        [[0, 0, 0], [0, 0, 1], [0, 1, 3]]
    """
    classes = ops.expand_dims(ops.cast(classes, "int32"), 1)
    numbers = ops.reshape(ops.arange(count, dtype="int32"), (1, count, 1, 1))
    pixels = ops.cast(ops.equal(classes, numbers), dtype)
    if use_tensorflow_kernels():
        # Twice as quick as cumulative sums on TensorFlow, and also exact; TFLite might round the matrices to 8 bits.
        height, width = ops.shape(classes)[2:]
        above, left = (_before(size, dtype) for size in (height, width))
        return ops.matmul(ops.matmul(above, pixels), ops.transpose(left))
    return ops.cumsum(ops.cumsum(ops.pad(pixels, [(0, 0), (0, 0), (1, 0), (1, 0)]), axis=2), axis=3)


def _before(size: Any, dtype: str) -> Any:
    """Return the matrix `(size + 1, size)` whose row `i` is 1 at the pixels before corner `i`, and else 0."""
    pixels, corners = (ops.arange(n, dtype="int32") for n in (size, size + 1))
    return ops.cast(pixels < corners[:, None], dtype)


def surrounding_boxes(integrals: Any, classes: Any, boxes: Any) -> tuple[Any, Any]:
    """Count the pixels of a class in a box that is placed relative to every pixel; the box is clipped to the picture.

    The width comes before the height in both results: four gathers of whole rows, with a transposition in between, are
    an order of magnitude faster than gathers of single pixels.

    Args:
        integrals: integral images `(batch, count, height + 1, width + 1)`, see `integral_images`.
        classes: int32 `(boxes,)` in `0..count - 1`, the class that is counted in each box.
        boxes: int32 `(boxes, 4)`: first row, first column, last row + 1 and last column + 1, relative to the pixel. A
            box that ends before it begins is empty.

    Returns:
        Counts `(batch, boxes, width, height)` in the dtype of the integral images, and the areas of the clipped boxes
        in pixels, `(boxes, width, height)` in that dtype.
    """
    batch, count, height, width = ops.shape(integrals)
    number = ops.shape(boxes)[0]
    top, bottom = _clipped_span(boxes[:, 0], boxes[:, 2], height - 1)
    left, right = _clipped_span(boxes[:, 1], boxes[:, 3], width - 1)
    pictures = ops.arange(batch, dtype="int32")[:, None, None]

    lines = ops.reshape(integrals, (batch * count * height, width))
    begin = (pictures * count + classes[None, :, None]) * height
    strips = ops.take(lines, begin + bottom, axis=0) - ops.take(lines, begin + top, axis=0)

    lines = ops.reshape(ops.transpose(strips, (0, 1, 3, 2)), (batch * number * width, height - 1))
    begin = (pictures * number + ops.arange(number, dtype="int32")[None, :, None]) * width
    counts = ops.take(lines, begin + right, axis=0) - ops.take(lines, begin + left, axis=0)

    areas = (right - left)[:, :, None] * (bottom - top)[:, None, :]
    return counts, ops.cast(areas, counts.dtype)


def _clipped_span(first: Any, end: Any, size: Any) -> tuple[Any, Any]:
    """Return first and end of spans relative to every pixel, `(spans, size)`, clipped to `0..size`."""
    pixels = ops.arange(size, dtype="int32")
    start = ops.clip(pixels + first[:, None], 0, size)
    return start, ops.maximum(ops.clip(pixels + end[:, None], 0, size), start)
