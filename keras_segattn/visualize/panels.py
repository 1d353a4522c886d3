"""Several pictures with titles in a grid."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_segattn.visualize.figure import PANELS, cut_note, shortened

# Pixels of a picture's longer side, of its title, and between them.
CELL, TITLE, GAP = 256, 28, 8


def panels(pictures: Sequence[tuple[str, np.ndarray]], columns: int) -> Image.Image:
    """Arrange pictures of any size in a grid, each under its title; small ones are enlarged pixel by pixel.

    Args:
        pictures: pairs of a title and a picture uint8 `(h, w, 3)`; of more than 120, the first are drawn, with a note.
        columns: number of columns of the grid.

    Returns:
        RGB image.

    Raises:
        ValueError: if there are no pictures, or one is not a picture.

    Example:
        >>> save(panels([("RoIAlign", aligned), ("RoIPool", pooled)], columns=2), "regions.png")
    """
    if not pictures or columns < 1:
        raise ValueError(f"expected pictures and at least one column, received {len(pictures)} and {columns}")
    note = cut_note(PANELS, len(pictures), "pictures")
    pictures = pictures[:PANELS]
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    below = rows * (CELL + TITLE + GAP) + GAP
    page = Image.new("RGB", (columns * (CELL + GAP) + GAP, below + (TITLE if note else 0)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=15)
    for number, (title, pixels) in enumerate(pictures):
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3 or not pixels.size:
            raise ValueError(f"expected {title!r} as uint8 (h, w, 3), received {pixels.dtype} {pixels.shape}")
        x, y = GAP + number % columns * (CELL + GAP), GAP + number // columns * (CELL + TITLE + GAP)
        factor = CELL / max(pixels.shape[:2])
        size = tuple(max(1, round(n * factor)) for n in pixels.shape[1::-1])
        method = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS
        page.paste(Image.fromarray(pixels).resize(size, method), (x, y + TITLE))
        pen.text((x, y + 4), shortened(title), fill="black", font=font)
    pen.text((GAP, below), note, fill="black", font=font)
    return page
