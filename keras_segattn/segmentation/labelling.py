"""Labelling of a picture by the class probabilities of its pixels (Farabet et al. 2013, section 4).

A labelling is a function from probabilities and the picture to a class per pixel, whatever model gave the
probabilities. The most probable class of every pixel is the simplest one; the three here also look at the edges of the
picture.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from keras_segattn.arguments import check_number
from keras_segattn.segmentation.alpha_expansion import alpha_expansion
from keras_segattn.segmentation.segmentation_tree import merge_tree, node_sums, optimal_cover
from keras_segattn.segmentation.superpixels import Superpixels, borders_of, region_means, region_sums

# From probabilities, floats (height, width, classes), and a picture, uint8 (height, width, 3), to classes, int32
# (height, width).
Labelling = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class SuperpixelAverage:
    """Gives every superpixel the class of the highest average probability (section 4.1).

    Args:
        superpixels: superpixels of the picture.

    Example:
        >>> labels = SuperpixelAverage()(probabilities, picture)
    """

    superpixels: Superpixels = field(default_factory=Superpixels)

    def __call__(self, probabilities: np.ndarray, picture: np.ndarray) -> np.ndarray:
        """Label one picture.

        Args:
            probabilities: floats `(height, width, classes)`, 0..1.
            picture: uint8 `(height, width, 3)`.

        Returns:
            Classes, int32 `(height, width)`.

        Raises:
            ValueError: if the shapes do not fit, or a probability is not a number.
            ModuleNotFoundError: if scikit-image is not installed.
        """
        check_inputs(probabilities, picture)
        regions = self.superpixels(picture)
        return region_means(probabilities, regions).argmax(axis=-1).astype("int32")[regions]


@dataclass(frozen=True)
class SuperpixelCRF:
    """Labels superpixels by a conditional random field (section 4.2), minimised by α-expansion.

    The energy is `Σ_i exp(-α p_i(l_i)) + γ Σ_(i,j) exp(-β c_ij) [l_i ≠ l_j]`, where p_i is the average probability in
    superpixel i, and c_ij the mean contrast along the border of two superpixels (`superpixels.Borders`).

    Args:
        alpha: weight α of the probabilities.
        beta: weight β of the contrast: the higher it is, the less do labels cost that differ across edges.
        gamma: weight γ of different labels of neighbours; 0 is `SuperpixelAverage`.
        superpixels: superpixels of the picture.

    Raises:
        ValueError: if a weight is negative.

    Example:
        >>> labels = SuperpixelCRF(gamma=0.2)(probabilities, picture)
    """

    alpha: float = 1.0
    beta: float = 20.0
    gamma: float = 0.1
    superpixels: Superpixels = field(default_factory=Superpixels)

    def __post_init__(self) -> None:
        """Raise `ValueError` if a weight is negative."""
        for name in ("alpha", "beta", "gamma"):
            check_number(name, getattr(self, name), 0)

    def __call__(self, probabilities: np.ndarray, picture: np.ndarray) -> np.ndarray:
        """Label one picture; arguments, result and errors are those of `SuperpixelAverage`.

        Raises:
            ModuleNotFoundError: also if PyMaxflow is not installed.
        """
        check_inputs(probabilities, picture)
        regions = self.superpixels(picture)
        borders = borders_of(regions, picture)
        unary = np.exp(-self.alpha * region_means(probabilities, regions))
        weights = self.gamma * np.exp(-self.beta * borders.contrasts)
        return alpha_expansion(unary, borders.pairs, weights).astype("int32")[regions]


@dataclass(frozen=True)
class OptimalCover:
    """Labels the nodes of a segmentation tree in which the classes are purest (section 4.3).

    Superpixels are merged to ever larger regions. Every pixel takes that region around it, of all sizes, whose class
    histogram has the lowest entropy, and the region's most frequent class. The paper predicts a region's histogram by a
    network that is trained for it; here it is the average probability in the region, so that the labelling suits every
    model.

    Args:
        superpixels: superpixels of the picture, the smallest regions.

    Example:
        >>> labels = OptimalCover()(probabilities, picture)
    """

    superpixels: Superpixels = field(default_factory=Superpixels)

    def __call__(self, probabilities: np.ndarray, picture: np.ndarray) -> np.ndarray:
        """Label one picture; arguments, result and errors are those of `SuperpixelAverage`."""
        check_inputs(probabilities, picture)
        regions = self.superpixels(picture)
        sums, counts = region_sums(probabilities, regions)
        parents = merge_tree(len(counts), borders_of(regions, picture))
        histograms = node_sums(sums, parents) / node_sums(counts, parents)[:, None]
        chosen = optimal_cover(entropy(histograms), parents)[: len(counts)]
        return histograms.argmax(axis=-1).astype("int32")[chosen][regions]


def entropy(histograms: np.ndarray) -> np.ndarray:
    """Compute `-Σ_c h_c ln h_c` of histograms `(..., classes)`; classes that do not occur add 0."""
    logarithms = np.log(histograms, out=np.zeros_like(histograms), where=histograms > 0)
    entropies: np.ndarray = -(histograms * logarithms).sum(axis=-1)
    return entropies


def check_inputs(probabilities: np.ndarray, picture: np.ndarray) -> None:
    """Raise `ValueError` unless probabilities and picture are as a `Labelling` takes them."""
    if probabilities.ndim != 3 or 0 in probabilities.shape:
        raise ValueError(f"expected probabilities (height, width, classes), received shape {probabilities.shape}")
    if probabilities.shape[:2] != picture.shape[:2]:
        raise ValueError(
            f"probabilities of {probabilities.shape[:2]} pixels do not belong to a picture of {picture.shape[:2]}"
        )
    low, high = probabilities.min(), probabilities.max()
    if not 0 <= low <= high <= 1 + 1e-3:  # sums of float16 probabilities may exceed 1 by rounding
        raise ValueError(f"expected probabilities in 0..1, received {low}..{high}; apply softmax to logits")
