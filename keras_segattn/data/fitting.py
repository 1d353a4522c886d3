"""A picture in the fixed size that a detector takes."""

import numpy as np
from PIL import Image

from keras_segattn.data.augmentation import check_size


def fit_picture(pixels: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """A picture resized, keeping its form, into the upper left of an image; the rest is black.

    Args:
        pixels: uint8 `(height, width, 3)`.
        size: (height, width) of the image.

    Returns:
        The image, uint8 `(*size, 3)`, and the factor by which the picture was resized: boxes found in the image,
        divided by it, are boxes in the picture.

    Raises:
        ValueError: if the picture is no uint8 RGB picture or the size is wrong.

    Example:
        >>> image, factor = fit_picture(pixels, (320, 320))
        >>> boxes = found["boxes"] / factor
    """
    check_size("size", size)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3 or not pixels.size:
        raise ValueError(f"expected a picture uint8 (height, width, 3), received {pixels.dtype} {pixels.shape}")
    height, width = pixels.shape[:2]
    factor = min(size[0] / height, size[1] / width)
    rows, columns = (max(1, round(n * factor)) for n in (height, width))
    if (rows, columns) != (height, width):
        pixels = np.asarray(Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BILINEAR))
    image = np.zeros((*size, 3), np.uint8)
    image[:rows, :columns] = pixels[: size[0], : size[1]]
    return image, factor
