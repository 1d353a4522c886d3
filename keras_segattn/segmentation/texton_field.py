"""TextonBoost's conditional random field (Shotton et al., IJCV 2009, sections 2 and 3): labels of all pixels at once.

The logarithm of the probability of a labelling is a sum over pixels of the texture-layout potential (the log
probabilities of a network), a colour potential that is learned on the picture itself, and a location potential, and a
sum over neighbouring pixels of different labels of an edge potential. α-expansion finds a labelling of high
probability.

Potentials are trained separately (piecewise). As they count the same evidence several times, colour and location are
raised to powers, which are fixed constants here as in the paper. The constants are those remembered of the paper for
MSRC-21.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from keras_segattn.arguments import check_number, check_positive_integer
from keras_segattn.data.fitting import check_picture
from keras_segattn.layers import CIELab
from keras_segattn.segmentation.alpha_expansion import alpha_expansion

# Least probability of a class in a potential, as logarithms of 0 are infinite.
LEAST_PROBABILITY = 1e-10


@dataclass(frozen=True)
class Colour:
    """Colour potential: classes by clusters of the colours of one picture (section 3.4).

    A mixture of Gaussians in CIELab is fitted to the picture's own pixels. The share of each class in each component,
    `θ_ck = ((Σ_i [c_i = c] P(k; x_i) + α) / (Σ_i P(k; x_i) + α))^w`, is estimated from a labelling, and the potential
    is `log Σ_k θ_ck P(k; x_i)`, where `P(k; x_i)` is the responsibility of component `k` for the pixel's colour.

    Args:
        components: number of components of the mixture.
        prior: number of pixels `α` that are added to each sum.
        power: power `w`.
        rounds: number of alternations between the labelling and the shares.
        seed: seed of the mixture's first centres.

    Raises:
        ValueError: if a value is out of range.
    """

    components: int = 15
    prior: float = 0.1
    power: float = 3.0
    rounds: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive_integer("components", self.components)
        check_positive_integer("rounds", self.rounds)
        check_number("prior", self.prior, 1e-12)
        check_number("power", self.power, 0)

    def responsibilities(self, colours: np.ndarray) -> np.ndarray:
        """Return the responsibilities of the components of a mixture for colours, float64 `(pixels, components)`.

        Args:
            colours: CIELab colours `(pixels, 3)`. If there are fewer different ones than components, each of them is a
                component of its own.

        Raises:
            ModuleNotFoundError: if scikit-learn is not installed.
        """
        different, index = np.unique(colours, axis=0, return_inverse=True)
        if len(different) <= self.components:
            return np.eye(len(different))[index.ravel()]
        try:
            from sklearn.mixture import GaussianMixture
        except ModuleNotFoundError as error:
            message = "colour potentials need `pip install keras-segattn[labelling]` (scikit-learn)"
            raise ModuleNotFoundError(message) from error
        # The covariance of a component of equal colours is the square of one unit of CIELab, a just visible difference.
        mixture = GaussianMixture(self.components, reg_covar=1.0, tol=1e-2, max_iter=30, random_state=self.seed)
        return np.asarray(mixture.fit(colours).predict_proba(colours))

    def potential(self, responsibilities: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
        """Return the log potentials `(pixels, classes)` that follow from a labelling.

        Args:
            responsibilities: responsibilities `(pixels, components)`.
            labels: integers `(pixels,)` in `0..classes - 1`.
            classes: number of classes.
        """
        own = np.zeros((classes, responsibilities.shape[1]))
        np.add.at(own, labels, responsibilities)
        shares = ((own + self.prior) / (responsibilities.sum(axis=0) + self.prior)) ** self.power
        return np.log(np.maximum(responsibilities @ shares.T, LEAST_PROBABILITY))


@dataclass(frozen=True)
class Location:
    """Location potential: classes by the place in the picture, `log θ_c,î` (section 3.5).

    `θ_c,î = ((N_c,î + α) / (N_î + α))^w`, where `N` counts the training pixels at the cell `î` of a grid over the
    picture, whatever its size.

    Args:
        counts: numbers of training pixels, `(rows, columns, classes)`; `location_counts` makes them.
        prior: number of pixels `α` that are added to the counts.
        power: power `w`.

    Raises:
        ValueError: if a value is out of range.
    """

    counts: np.ndarray
    prior: float = 1.0
    power: float = 0.1

    def __post_init__(self) -> None:
        if np.ndim(self.counts) != 3 or np.min(self.counts, initial=0) < 0:
            raise ValueError(f"counts must be (rows, columns, classes) of at least 0, received {np.shape(self.counts)}")
        check_number("prior", self.prior, 1e-12)
        check_number("power", self.power, 0)

    def potential(self, height: int, width: int) -> np.ndarray:
        """Return the log potentials of a picture of that size, `(height, width, classes)`."""
        ratio = (self.counts + self.prior) / (self.counts.sum(axis=2, keepdims=True) + self.prior)
        rows, columns = (cells(size, count) for size, count in zip((height, width), self.counts.shape, strict=False))
        return self.power * np.log(ratio[rows[:, None], columns])


def location_counts(masks: Iterable[np.ndarray], classes: int, grid: tuple[int, int] = (96, 96)) -> np.ndarray:
    """Count the training pixels of every class in every cell of a grid over the pictures.

    Args:
        masks: integers `(height, width)` each, of any size; labels outside `0..classes - 1` do not count.
        classes: number of classes.
        grid: rows and columns of the grid.

    Returns:
        Numbers of pixels, int64 `(*grid, classes)`.

    Example:
        >>> field = TextonField(location=Location(location_counts(masks, classes=11)))
    """
    counts = np.zeros((*grid, classes), "int64")
    for mask in masks:
        rows, columns = (cells(size, count) for size, count in zip(mask.shape, grid, strict=True))
        place = (rows[:, None] * grid[1] + columns) * classes + mask
        labelled = (mask >= 0) & (mask < classes)
        counts += np.bincount(place[labelled], minlength=counts.size).reshape(counts.shape)
    return counts


def cells(size: int, count: int) -> np.ndarray:
    """Return the cell, of `count` cells, in which the centre of each of `size` pixels lies."""
    return ((np.arange(size) + 0.5) * count / size).astype("int64")


@dataclass(frozen=True)
class Edge:
    """Edge potential of neighbouring pixels of different labels, `-(contrast · exp(-β d²) + constant)` (section 3.6).

    `d` is the distance of the two colours, and `β = 1 / (2 ⟨d²⟩)` adapts it to the contrast of the picture.

    Args:
        contrast: cost of different labels where the colours are equal, in addition to the constant.
        constant: cost of different labels anywhere.

    Raises:
        ValueError: if a value is negative.
    """

    contrast: float = 45.0
    constant: float = 10.0

    def __post_init__(self) -> None:
        check_number("contrast", self.contrast, 0)
        check_number("constant", self.constant, 0)

    def weights(self, colours: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Return the costs of different labels along edges, float64 `(edges,)`.

        Args:
            colours: colours `(pixels, channels)`.
            edges: integers `(edges, 2)`, pairs of pixels.
        """
        squares = np.square(colours[edges[:, 0]] - colours[edges[:, 1]]).sum(axis=1)
        mean = squares.mean() if squares.size else 0.0
        return self.contrast * np.exp(-squares / (2 * mean if mean else 1.0)) + self.constant


def grid_edges(height: int, width: int) -> np.ndarray:
    """Return the edges between horizontal and vertical neighbours, int64 `(edges, 2)`, of pixels in reading order."""
    pixels = np.arange(height * width).reshape(height, width)
    pairs = ((pixels[:, :-1], pixels[:, 1:]), (pixels[:-1], pixels[1:]))
    return np.concatenate([np.stack([a.ravel(), b.ravel()], axis=1) for a, b in pairs])


@dataclass(frozen=True)
class TextonField:
    """A labelling: from the class probabilities of every pixel and the picture to the labels of all pixels.

    Args:
        location: location potential, or `None` for none.
        colour: colour potential, or `None` for none.
        edge: edge potential; `None` labels every pixel by itself.

    Example:
        >>> label = TextonField(Location(location_counts(masks, 11)), Colour(), Edge())
        >>> labels = label(probabilities, picture)
    """

    location: Location | None = None
    colour: Colour | None = None
    edge: Edge | None = None

    def __call__(self, probabilities: np.ndarray, picture: np.ndarray) -> np.ndarray:
        """Label the pixels of a picture.

        With a colour potential, its shares of classes are estimated from the labelling without it, and the labelling
        and the shares are then computed in turn.

        Args:
            probabilities: class probabilities `(height, width, classes)`, such as a softmax of the network's logits.
            picture: uint8 RGB `(height, width, 3)`.

        Returns:
            Labels, int64 `(height, width)` in `0..classes - 1`.

        Raises:
            ValueError: if the shapes or dtypes are not as described, or the numbers of classes differ.
            ModuleNotFoundError: if the edge potential lacks PyMaxflow, or the colour potential scikit-learn.
        """
        probabilities = np.asarray(probabilities, "float64")
        check_picture(picture)
        if probabilities.ndim != 3 or probabilities.shape[:2] != picture.shape[:2]:
            raise ValueError(
                f"expected probabilities (height, width, classes) of a picture {picture.shape}, "
                f"received {probabilities.shape}"
            )
        if not np.isfinite(probabilities).all() or probabilities.min() < 0:
            raise ValueError("probabilities must be finite and at least 0; received others, such as logits or NaN")
        height, width, classes = probabilities.shape
        log = np.log(np.maximum(probabilities, LEAST_PROBABILITY))
        if self.location is not None:
            if self.location.counts.shape[2] != classes:
                raise ValueError(f"the location potential has {self.location.counts.shape[2]} classes, not {classes}")
            log = log + self.location.potential(height, width)
        log = log.reshape(-1, classes)
        colours = ops.convert_to_numpy(CIELab()(picture[None] / np.float32(255))).reshape(-1, 3).astype("float64")
        edges = grid_edges(height, width)
        weights = None if self.edge is None else self.edge.weights(colours, edges)
        labels = _labelled(log, edges, weights, None)
        if self.colour is not None:
            responsibilities = self.colour.responsibilities(colours)
            for _ in range(self.colour.rounds):
                potential = self.colour.potential(responsibilities, labels, classes)
                labels = _labelled(log + potential, edges, weights, labels)
        return labels.reshape(height, width)


def _labelled(log: np.ndarray, edges: np.ndarray, weights: Any, initial: np.ndarray | None) -> np.ndarray:
    """Return the labelling of high probability, or without weights of edges the most probable label of each pixel."""
    return log.argmax(axis=1) if weights is None else alpha_expansion(-log, edges, weights, initial)
