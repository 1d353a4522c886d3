"""The crops of R-CNN (Girshick et al., CVPR 2014, appendix A): regions with some context, warped to one size."""

from typing import Any, NamedTuple

from keras import ops

from keras_segattn.arguments import check_choice, check_positive_integer, is_integer
from keras_segattn.ops.pixel_sums import Axis, first_rows, interpolate, pixel_table
from keras_segattn.ops.roi_align import check_regions, finite_boxes

MODES = ("warp", "square")
# Windows are cut off so many pixels from the upper left of a picture, so that products of their sizes and the sizes of
# crops of up to 4096 pixels fit into int32.
FARTHEST, LARGEST = 2.0**17, 4096


class Span(NamedTuple):
    """The pixels of a picture that a crop shows along one axis, and their places in the crop.

    Attributes:
        first, count: int32 `(batch, R)`, first pixel inside of the picture, and number of these pixels.
        before, extent: int32 `(batch, R)`, first place of the crop that shows them, and number of these places.
    """

    first: Any
    count: Any
    before: Any
    extent: Any


def crop_and_warp(images: Any, boxes: Any, output_size: int, padding: int = 16, mode: str = "warp") -> Any:
    """Crop each box with its context, and warp it to a square, with the pixels of the authors' `rcnn_im_crop`.

    A window of whole pixels surrounds the box, so that `padding` pixels of the crop are context on each side. Where the
    window leaves the picture, the crop is 0, which is the mean colour of pictures from which the mean was subtracted.
    The rest is resized bilinearly, without antialiasing, from the pixels of the window only. Halves are rounded away
    from zero, as in MATLAB.

    No gradient reaches the boxes, whose windows are rounded. As published, a window with context holds one pixel more
    at the right and below than its size says.

    Args:
        images: `(batch, height, width, channels)`, normalised so that the mean colour is 0; integers are read as
            float32.
        boxes: `(batch, R, 4)`, (x1, y1, x2, y2) in pixels, edges rather than centres: a box of one pixel has
            x2 = x1 + 1. The authors' inclusive boxes, counted from 1, are (x1 - 1, y1 - 1, x2, y2) here. A box whose
            window holds no pixel of the picture, or that holds NaN or infinity, gives zeros.
        output_size: height and width S of a crop, up to 4096 pixels.
        padding: width of the context in a crop, in pixels. 0 crops the box itself.
        mode: `"warp"`, which changes the aspect ratio of a box, or `"square"`, which crops the smallest square around
            it ("tightest square with context").

    Returns:
        `(batch, R, S, S, channels)` in the images' dtype, or in float32 if that is no floating one.

    Raises:
        ValueError: if an argument or shape is wrong.

    Example:
        >>> crop_and_warp(preprocess_input(images), boxes, output_size=227).shape
        TensorShape([1, 2000, 227, 227, 3])
    """
    check_crop(output_size, padding, mode)
    maps, _, levels = check_regions(images, boxes, 1.0, None)
    boxes, finite = finite_boxes(ops.stop_gradient(boxes))
    table = pixel_table(maps)
    start, end = boxes[..., :2], boxes[..., 2:]
    size = end - start
    if mode == "square":
        size = ops.maximum(size, ops.flip(size, axis=-1))
    # Pixels are counted from 1 here, because it decides which halves are away from zero.
    if padding or mode == "square":
        centre = start + 1.0 + (end - start) / 2.0
        reach = size * float(output_size) / (2.0 * (output_size - 2 * padding))
        first, last = _rounded(centre - reach), _rounded(centre + reach)
    else:
        first, last = _rounded(start + 1.0), _rounded(end)
    x, y = (
        _axis(_span(first[..., i], last[..., i], finite, pixels, output_size), output_size)
        for i, pixels in enumerate((table.widths[0], table.heights[0]))
    )
    width = ops.broadcast_to(table.widths[0], ops.shape(levels))
    return interpolate(table, first_rows(table, levels), width, y, x, (output_size, output_size))


def check_crop(output_size: Any, padding: Any, mode: Any) -> None:
    """Raise `ValueError` if an argument of `crop_and_warp` is wrong."""
    check_positive_integer("output_size", output_size)
    if output_size > LARGEST:
        raise ValueError(f"output_size must be at most {LARGEST} pixels, received {output_size!r}")
    if not is_integer(padding) or not 0 <= 2 * padding < output_size:
        raise ValueError(f"padding must be from 0 to less than half of {output_size} pixels, received {padding!r}")
    check_choice("mode", mode, MODES)


def _rounded(x: Any) -> Any:
    """Round to int32, halves away from zero as in MATLAB."""
    x = ops.clip(x, -FARTHEST, FARTHEST)
    return ops.cast(ops.sign(x) * ops.floor(ops.abs(x) + 0.5), "int32")


def _span(first: Any, last: Any, valid: Any, size: Any, places: int) -> Span:
    """Cut a window off at the border of the picture, along one axis.

    Args:
        first: int32 `(batch, R)`, first pixel of the window, counted from 1.
        last: int32 `(batch, R)`, last pixel of the window.
        valid: bool `(batch, R)`, false for boxes that are not cropped.
        size: int32 scalar, number of pixels of the picture.
        places: number of pixels of a crop.
    """
    whole = ops.maximum(last - first + 1, 1)
    inside = ops.maximum(first, 1)
    count = ops.where(valid, ops.minimum(last, size) - inside + 1, 0)
    before = _scaled(ops.maximum(1 - first, 0), whole, places)
    extent = ops.minimum(_scaled(ops.maximum(count, 0), whole, places), places - before)
    return Span(inside - 1, count, before, extent)


def _scaled(count: Any, whole: Any, places: int) -> Any:
    """Convert a number of pixels of a window to places of a crop, rounded: integers have no rounding errors."""
    return ops.floor_divide(2 * places * ops.minimum(count, whole) + whole, 2 * whole)


def _axis(span: Span, places: int) -> Axis:
    """Return the neighbours and weights of each place of a crop, from a resizing of the span's pixels to its extent."""
    place = ops.arange(places, dtype="int32") - span.before[..., None]
    extent, count = span.extent[..., None], span.count[..., None]
    shown = ops.logical_and(ops.logical_and(place >= 0, place < extent), count > 0)
    # The position is (place + ½) · count / extent - ½, limited to the pixels of the span, here times 2 · extent.
    double = 2 * ops.maximum(extent, 1)
    position = ops.where(shown, (2 * place + 1) * count - extent, 0)
    position = ops.clip(position, 0, ops.maximum(count - 1, 0) * double)
    low = ops.floor_divide(position, double)
    fraction = ops.cast(position - low * double, "float32") / ops.cast(double, "float32")
    weight = ops.cast(shown, "float32")
    high = ops.minimum(low + 1, ops.maximum(count - 1, 0))
    start = ops.where(shown, span.first[..., None], 0)
    return Axis(start + low, start + high, (1.0 - fraction) * weight, fraction * weight)
