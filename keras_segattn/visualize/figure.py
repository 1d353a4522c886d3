"""Functions that all pictures share: drawing a figure as an image, and writing an image to a file."""

import math
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from keras_segattn.arguments import check_labels
from keras_segattn.files import replaced

DPI = 100
# Largest number of letters of a name, and of pixels of a picture, that are drawn.
LETTERS, PIXELS = 48, 12_000_000
# Largest number of pictures with titles on one page.
PANELS = 120


def to_image(figure: Figure) -> Image.Image:
    """Draw a figure as an RGB image by Agg, which needs no display."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def save(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write a picture; the file appears complete or not at all.

    Args:
        image: picture as the functions of this package return it.
        path: file to write; its suffix decides the format (`.png`, `.jpg`, …).

    Raises:
        ValueError: if the suffix names no image format that can be written.
        FileNotFoundError: if the folder does not exist.
        OSError: if it cannot be written to.

    Example:
        >>> save(overlay(image, mask), "overlay.png")
    """
    format_of(path, Image.SAVE, "an image suffix such as .png")
    with replaced(path) as temporary:
        image.save(temporary)


def format_of(path: str | os.PathLike[str], formats: Collection[str], expected: str) -> str:
    """Return Pillow's name of the format that the suffix of `path` stands for.

    Raises:
        ValueError: if it is not one of `formats`.
    """
    suffix = Path(path).suffix.lower()
    found = Image.registered_extensions().get(suffix, "")  # which also fills Image.SAVE
    if found not in formats:
        raise ValueError(f"{os.fspath(path)}: expected {expected}, received {suffix!r}")
    return found


def cut_note(shown: int, count: int, what: str) -> str:
    """Return the note on a drawing that leaves out things, such as `"the first 120 of 400 pictures"`, or `""`."""
    return f"the first {shown} of {count} {what}" if shown < count else ""


def shortened(text: str) -> str:
    """Return a text of at most `LETTERS` letters; a longer one is cut, and ends in an ellipsis."""
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"


def reduction(size: Sequence[int], pixels: int = PIXELS) -> int:
    """Return the smallest whole number by which to divide height and width, so that at most `pixels` pixels remain."""
    return max(1, math.ceil(math.sqrt(math.prod(size[:2]) / pixels)))


def reduced(image: np.ndarray, factor: int) -> np.ndarray:
    """Average squares of `factor` × `factor` pixels of a picture uint8 `(height, width, 3)`.

    The size is that of `mask[::factor, ::factor]`.
    """
    return image if factor == 1 else np.asarray(Image.fromarray(image).reduce(factor))


def names_of(classes: int, labels: Sequence[str] | None) -> list[str]:
    """Return the names of the classes, or their numbers if there are no names.

    Raises:
        ValueError: if there is not one name per class.
    """
    if labels is None:
        return [str(number) for number in range(classes)]
    check_labels(labels, classes)
    return [shortened(str(label)) for label in labels]
