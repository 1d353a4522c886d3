"""Detected or true instances, drawn on their picture."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_segattn.visualize.colours import palette
from keras_segattn.visualize.figure import cut_note, reduced, reduction, shortened

# Opacity of a mask over the picture.
ALPHA = 0.45
# A smaller picture is enlarged until its longer side has this many pixels, so that labels can be read.
LEAST_SIDE = 512
# Largest number of instances that are drawn.
MOST = 300


def draw_instances(
    image: np.ndarray,
    boxes: np.ndarray,
    classes: np.ndarray,
    scores: np.ndarray | None = None,
    masks: np.ndarray | None = None,
    names: Sequence[str] | None = None,
) -> Image.Image:
    """Draw mask, outline, box, class and score of every instance on a picture, the first instance on top.

    Args:
        image: uint8 `(height, width, 3)`, RGB.
        boxes: `(n, 4)`, (x1, y1, x2, y2) in pixels.
        classes: integers `(n,)` from 1.
        scores: `(n,)` in 0..1, or `None`.
        masks: bool `(n, height, width)`, or `None`.
        names: names of the classes from 1 on; `None` shows their numbers.

    Returns:
        RGB image, enlarged where the picture is small; a picture of more than 12 megapixels is drawn smaller. Of more
        than 300 instances the first are drawn, with a note.

    Raises:
        ValueError: if a shape or dtype is wrong, or a class has no name.

    Example:
        >>> save(draw_instances(image, found["boxes"], found["classes"], found["scores"], found["masks"]), "out.png")
    """
    boxes, classes = np.asarray(boxes, "float64").reshape(-1, 4), np.asarray(classes).reshape(-1)
    _check(image, boxes, classes, scores, masks, names)
    division = reduction(image.shape)
    image, boxes = reduced(image, division), boxes / division
    factor = max(1, -(-LEAST_SIDE // max(image.shape[:2])))
    pixels = image.repeat(factor, axis=0).repeat(factor, axis=1).astype("float32")
    colours = palette(8)[np.arange(len(boxes)) % 7]  # without black
    order = range(min(len(boxes), MOST) - 1, -1, -1)
    if masks is not None:
        for i in order:
            mask = np.asarray(masks[i][::division, ::division], bool)
            if not mask.any():
                continue
            # Only the part of the picture around the mask is changed, which is much faster in large pictures.
            part = tuple(slice(places[0], places[-1] + 1) for places in map(np.flatnonzero, (mask.any(1), mask.any(0))))
            mask = mask[part].repeat(factor, axis=0).repeat(factor, axis=1)
            window = pixels[tuple(slice(one.start * factor, one.stop * factor) for one in part)]
            window[mask] = (1 - ALPHA) * window[mask] + ALPHA * colours[i]
            window[_outline(mask)] = colours[i]
    drawn = Image.fromarray(pixels.round().astype("uint8"))
    pen = ImageDraw.Draw(drawn)
    font = ImageFont.load_default(size=max(12, max(drawn.size) // 48))
    for i in order:
        colour = tuple(colours[i].tolist())
        x1, y1, x2, y2 = (float(v) * factor for v in boxes[i])
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=max(2, max(drawn.size) // 400))
        label = str(classes[i]) if names is None else shortened(names[int(classes[i]) - 1])
        label = label if scores is None else f"{label} {scores[i]:.2f}"
        left, _, right, bottom = pen.textbbox((0, 0), label, font=font)
        x = min(max(x1, 0), max(0, drawn.width - right - 4))
        y = y1 - bottom - 4 if y1 - bottom - 4 >= 0 else y1
        pen.rectangle((x, y, x + right - left + 4, y + bottom + 4), fill=colour)
        pen.text((x + 2, y + 1), label, fill="black" if sum(colour) > 380 else "white", font=font)
    if note := cut_note(MOST, len(boxes), "instances"):
        corner = (2, drawn.height - 2)
        pen.rectangle(pen.textbbox(corner, note, font=font, anchor="ld"), fill="black")
        pen.text(corner, note, fill="white", font=font, anchor="ld")
    return drawn


def _outline(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask that touch a pixel outside of it."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _check(
    image: np.ndarray,
    boxes: np.ndarray,
    classes: np.ndarray,
    scores: np.ndarray | None,
    masks: np.ndarray | None,
    names: Sequence[str] | None,
) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(f"expected an image uint8 (height, width, 3), received {image.dtype} {image.shape}")
    count = len(boxes)
    if len(classes) != count or (scores is not None and len(scores) != count):
        received = (count, len(classes), None if scores is None else len(scores))
        raise ValueError(f"expected as many classes and scores as boxes, received {received}")
    if masks is not None and tuple(masks.shape) != (count, *image.shape[:2]):
        raise ValueError(f"expected masks {(count, *image.shape[:2])}, received {tuple(masks.shape)}")
    if names is not None and count and not 1 <= int(classes.min()) <= int(classes.max()) <= len(names):
        raise ValueError(f"classes must be within 1..{len(names)}, the number of names, received {classes.tolist()}")
