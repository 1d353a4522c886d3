"""Superpixels: the small areas of one colour that a picture consists of, and how they touch."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from keras_segattn.arguments import check_number, check_positive_integer


@dataclass(frozen=True)
class Superpixels:
    """Felzenszwalb and Huttenlocher's graph-based superpixels (IJCV 2004), as scikit-image computes them.

    Args:
        scale: constant k of the paper; larger values give larger superpixels.
        sigma: standard deviation in pixels of the blur before.
        min_size: least number of pixels of a superpixel; smaller ones are merged with a neighbour.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> regions = Superpixels()(picture)
    """

    scale: float = 50.0
    sigma: float = 0.8
    min_size: int = 20

    def __post_init__(self) -> None:
        """Raise `ValueError` if an argument is out of range."""
        check_number("scale", self.scale, 0)
        check_number("sigma", self.sigma, 0)
        check_positive_integer("min_size", self.min_size)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Number the superpixels of a picture.

        Args:
            picture: uint8 `(height, width, 3)`.

        Returns:
            int64 `(height, width)`, the number of each pixel's superpixel in `0..superpixels - 1`.

        Raises:
            ValueError: if the picture is of another type or shape.
            ModuleNotFoundError: if scikit-image is not installed.
        """
        if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8 or picture.size == 0:
            raise ValueError(f"expected a picture uint8 (height, width, 3), received {picture.dtype} {picture.shape}")
        try:
            from skimage.segmentation import felzenszwalb
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "superpixels need `pip install keras-segattn[labelling]` (scikit-image)"
            ) from error
        regions: np.ndarray = felzenszwalb(picture, self.scale, self.sigma, self.min_size)
        return regions


class Borders(NamedTuple):
    """The borders between regions.

    Attributes:
        pairs: int64 `(borders, 2)`, the two regions of each border, the smaller number first, in ascending order.
        lengths: int64 `(borders,)`, the number of pairs of neighbouring pixels on either side.
        contrasts: float64 `(borders,)`, the mean distance of the colours of these pairs; 1 is the distance from black
            to full intensity of one channel.
    """

    pairs: np.ndarray
    lengths: np.ndarray
    contrasts: np.ndarray


def borders_of(regions: np.ndarray, picture: np.ndarray) -> Borders:
    """Find which regions touch, along how many pixels, and how much the colours differ there.

    Args:
        regions: integers `(height, width)`, the number of each pixel's region from 0 up.
        picture: uint8 `(height, width, 3)`.
    """
    colours = picture.astype("float64") / 255
    keys, differences = [], []
    for here, there in (
        (np.s_[:-1, :], np.s_[1:, :]),
        (np.s_[:, :-1], np.s_[:, 1:]),
    ):
        differs = regions[here] != regions[there]
        ends = np.sort(np.stack([regions[here][differs], regions[there][differs]], axis=-1), axis=-1)
        keys.append(ends)
        differences.append(np.linalg.norm(colours[here][differs] - colours[there][differs], axis=-1))
    pairs, inverse, lengths = np.unique(np.concatenate(keys), axis=0, return_inverse=True, return_counts=True)
    sums = np.bincount(inverse.reshape(-1), np.concatenate(differences), len(pairs))
    return Borders(pairs.astype("int64"), lengths, sums / lengths)


def region_sums(values: np.ndarray, regions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add up values over each region.

    Args:
        values: floats `(height, width, channels)`.
        regions: integers `(height, width)` in `0..n - 1`, each of which occurs.

    Returns:
        Sums float64 `(n, channels)`, and numbers of pixels int64 `(n,)`.
    """
    numbers = regions.reshape(-1)
    channels = values.reshape(len(numbers), -1).astype("float64").T
    return np.stack([np.bincount(numbers, channel) for channel in channels], axis=-1), np.bincount(numbers)


def region_means(values: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Average values over each region: floats `(height, width, channels)` → float64 `(n, channels)`."""
    sums, counts = region_sums(values, regions)
    return sums / counts[:, None]
