"""What the pictures share: from a figure to an image, from an image to a file."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from keras_segattn.files import replaced

DPI = 100


def to_image(figure: Figure) -> Image.Image:
    """The figure drawn by Agg, which needs no display; RGB."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def save(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write a picture; the file appears whole or not at all.

    Args:
        image: as the functions of this package return it.
        path: file to write; its suffix decides the format (`.png`, `.jpg`, …).

    Raises:
        ValueError: if the suffix names no image format that can be written.
        FileNotFoundError: if the folder does not exist.
        OSError: if it cannot be written to.

    Example:
        >>> save(overlay(image, mask), "overlay.png")
    """
    suffix = Path(path).suffix.lower()
    if Image.registered_extensions().get(suffix) not in Image.SAVE:
        raise ValueError(f"{os.fspath(path)}: expected an image suffix such as .png, received {suffix!r}")
    with replaced(path) as temporary:
        image.save(temporary)


def names_of(classes: int, labels: Sequence[str] | None) -> list[str]:
    """The classes' names, or their numbers if there are none.

    Raises:
        ValueError: if there is not one name a class.
    """
    if labels is None:
        return [str(number) for number in range(classes)]
    if isinstance(labels, str) or len(labels) != classes:
        raise ValueError(f"expected one label for each of {classes} classes, received {labels!r}")
    return [str(label) for label in labels]
