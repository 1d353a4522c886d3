"""Crops of one picture whose class probabilities are averaged: the 144 crops of GoogLeNet, or fewer."""

import math
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_segattn.arguments import check_choice, check_positive_integer

# Scales are given for a network of this input size; for others they change in proportion.
REFERENCE_SIZE = 224


class CropScheme(NamedTuple):
    """A set of crops: every combination of scale, square, view and mirroring, in this order.

    Args:
        scales: shorter side of the resized picture, in pixels for a network of input size 224.
        squares: positions of the square along the longer side: 0 left or top, ½ centre, 1 right or bottom.
        views: positions `(vertical, horizontal)` of a crop in the square, or `None` for the whole square, resized.
        mirrors: whether a view is mirrored left to right, one entry per crop of a view.
    """

    scales: tuple[int, ...]
    squares: tuple[float, ...]
    views: tuple[tuple[float, float] | None, ...]
    mirrors: tuple[bool, ...]

    @property
    def crops(self) -> int:
        """Number of crops per picture."""
        return math.prod(map(len, self))


CENTRE = (0.5, 0.5)
VIEWS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), CENTRE, None)
CROP_SCHEMES = {
    "single": CropScheme((256,), (0.5,), (CENTRE,), (False,)),
    "12-crop": CropScheme((256,), (0.5,), VIEWS, (False, True)),
    "144-crop": CropScheme((256, 288, 320, 352), (0.0, 0.5, 1.0), VIEWS, (False, True)),
}


def crops(image: Any, size: int, scheme: str = "single") -> np.ndarray:
    """Cut square crops out of a picture for a classifier.

    `"144-crop"` is the scheme of GoogLeNet (Szegedy et al. 2015, section 7). The picture is resized to four scales,
    with a shorter side of 256, 288, 320 and 352 pixels for a network of input size 224, and in proportion for others
    (299: 342, 384, 427, 470). Each scale gives the left, centre and right square (in a portrait top, centre and
    bottom); each square gives the top left, top right, bottom left and bottom right corner, the centre, and the square
    itself, resized; each of these also gives its mirror image: 4 · 3 · 6 · 2 crops in this order. `"12-crop"` takes the
    first scale and the centre square only. `"single"` takes only the centre crop of that square, ⅞ (0.875) of the
    shorter side. (TF-slim's single crop squeezes the central ⅞ of both sides into a square instead.)

    Resizing is bilinear with antialiasing. Half pixels are rounded up; the larger part of an odd margin is to the right
    or below.

    Args:
        image: `(height, width, channels)`, uint8 or float, any range.
        size: height and width of every crop in pixels.
        scheme: `"single"`, `"12-crop"` or `"144-crop"`.

    Returns:
        float32 `(1 or 12 or 144, size, size, channels)`, in the picture's range.

    Raises:
        ValueError: if the image has another rank, is empty or not finite, or an argument is wrong.

    Example:
        >>> crops(photo, 299, "144-crop").shape
        (144, 299, 299, 3)
    """
    check_positive_integer("size", size)
    check_choice("scheme", scheme, tuple(CROP_SCHEMES))
    picture = np.asarray(image)
    if picture.ndim != 3 or 0 in picture.shape:
        raise ValueError(f"expected one picture (height, width, channels), received shape {picture.shape}")
    if picture.dtype.kind not in "uif" or not np.isfinite(picture).all():
        raise ValueError(f"expected a picture of finite numbers, received {picture.dtype}")
    picture = picture.astype(np.float32)
    chosen = CROP_SCHEMES[scheme]
    views = []
    for scale in chosen.scales:
        side = _rounded(scale * size / REFERENCE_SIZE)
        resized = _resized_to_shorter_side(picture, side)
        for place in chosen.squares:
            square = _window(resized, side, (place, place))
            for view in chosen.views:
                crop = _resized(square, (size, size)) if view is None else _window(square, size, view)
                views += [crop[:, ::-1] if mirrored else crop for mirrored in chosen.mirrors]
    return np.stack(views)


def central_crop(image: Any, size: tuple[int, int]) -> np.ndarray:
    """Cut the central crop of any aspect ratio out of a picture; a square one is the `"single"` crop of `crops`.

    Args:
        image: `(height, width, channels)`, uint8 or float, any range.
        size: (height, width) in pixels.

    Returns:
        float32 `(*size, channels)`.
    """
    if size[0] == size[1]:
        return crops(image, size[0])[0]
    picture = np.asarray(image, np.float32)
    (scale,) = CROP_SCHEMES["single"].scales
    # Resize so that the crop is 224/256 = ⅞ of one side, and at most that of the other.
    factor = max(side * scale / REFERENCE_SIZE / have for side, have in zip(size, picture.shape, strict=False))
    height, width = (_rounded(have * factor) for have in picture.shape[:2])
    resized = _resized(picture, (height, width))
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return resized[top : top + size[0], left : left + size[1]]


def _window(image: np.ndarray, side: int, place: tuple[float, float]) -> np.ndarray:
    """Cut out the square of `side` pixels at a place `(vertical, horizontal)` from 0 (top, left) to 1."""
    top, left = (math.floor(share * (length - side)) for share, length in zip(place, image.shape, strict=False))
    return image[top : top + side, left : left + side]


def _resized_to_shorter_side(image: np.ndarray, side: int) -> np.ndarray:
    shorter = min(image.shape[:2])
    height, width = (_rounded(length * side / shorter) for length in image.shape[:2])
    return _resized(image, (height, width))


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == size:
        return image
    return keras.ops.convert_to_numpy(
        keras.ops.image.resize(image, size, "bilinear", antialias=True, data_format="channels_last")
    )


def _rounded(length: float) -> int:
    return math.floor(length + 0.5)
