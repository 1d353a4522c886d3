"""Many small pictures of one size, side by side."""

import math

import numpy as np
from PIL import Image

from keras_segattn.arguments import check_positive_integer
from keras_segattn.visualize.figure import PIXELS, reduced, reduction


def image_grid(images: np.ndarray, columns: int, *, scale: int = 1, gap: int = 2) -> Image.Image:
    """Arrange pictures in rows on a white page.

    Args:
        images: uint8 `(count, height, width, channels)` with 3 channels or 1.
        columns: number of pictures in a row.
        scale: side of the square of pixels that each pixel becomes. A page of more than 12 million pixels gets a
            smaller scale, or is reduced as a whole.
        gap: number of white pixels between pictures.

    Returns:
        RGB image.

    Raises:
        ValueError: if shape or dtype is wrong, or `columns` or `scale` is not a positive integer.

    Example:
        >>> save(image_grid(generate(generator, noise("normal", 64, 100)), columns=8, scale=2), "samples.png")
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise ValueError(f"expected pictures as uint8 (count, h, w, 1 or 3), received {images.dtype} {images.shape}")
    check_positive_integer("columns", columns)
    check_positive_integer("scale", scale)
    columns = min(columns, len(images))
    scale = max(1, min(scale, math.isqrt(PIXELS // math.prod(images.shape[:3]))))
    large = images.repeat(scale, axis=1).repeat(scale, axis=2)
    _, height, width, _ = large.shape
    rows = -(-len(large) // columns)
    page = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for number, picture in enumerate(large):
        y, x = number // columns * (height + gap), number % columns * (width + gap)
        page[y : y + height, x : x + width] = picture
    return Image.fromarray(reduced(page, reduction(page.shape)))
