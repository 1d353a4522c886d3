"""Methods that propose regions of a picture: selective search (OpenCV) and merged superpixels (scikit-image)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from keras_segattn.arguments import check_choice, check_number, check_positive_integer
from keras_segattn.data.fitting import check_picture, resized
from keras_segattn.data.proposals import Proposals
from keras_segattn.data.proposals_regions import Regions

# From a picture, uint8 (height, width, 3), RGB, to its proposals.
ProposalSource = Callable[[np.ndarray], Proposals]

# Method of OpenCV's selective search for each mode.
MODES = {
    "single": "switchToSingleStrategy",
    "fast": "switchToSelectiveSearchFast",
    "quality": "switchToSelectiveSearchQuality",
}
BINS = 25  # of a colour channel's histogram (Uijlings et al. 2013, section 3.2)
HOW_TO_GET = "proposals need `pip install keras-segattn[proposals]`"


@dataclass(frozen=True)
class SelectiveSearch:
    """Boxes from the selective search of Uijlings et al. (IJCV 2013), as OpenCV's contributed modules compute it.

    Args:
        mode: `"fast"` as in R-CNN, `"quality"` for more hierarchies or `"single"` for only one.
        longest_side: longer side, in pixels, to which larger pictures are reduced for the search.
        least_side: least width and height of a box, in pixels. R-CNN takes 20 on pictures of VOC.
        count: greatest number of boxes, or `None` for all of them.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> proposals = SelectiveSearch()(read_image("photo.jpg"))
    """

    mode: str = "fast"
    longest_side: int = 500
    least_side: int = 10
    count: int | None = 2000

    def __post_init__(self) -> None:
        """Raise `ValueError` if an argument is out of range."""
        check_choice("mode", self.mode, tuple(MODES))
        _check_limits(self.longest_side, self.least_side, self.count)

    def __call__(self, picture: np.ndarray) -> Proposals:
        """Find the boxes of one picture.

        Args:
            picture: uint8 `(height, width, 3)`, RGB.

        Returns:
            Distinct boxes. As in the paper, larger ones tend to stand before smaller ones in a random order, which here
            depends on nothing but the boxes.

        Raises:
            ValueError: if the picture is of another type or shape.
            ModuleNotFoundError: if OpenCV's contributed modules are not installed.
        """
        check_picture(picture)
        try:
            from cv2 import ximgproc
        except ImportError as error:  # OpenCV may be installed without the contributed modules
            raise ModuleNotFoundError(f"{HOW_TO_GET} (opencv-contrib-python-headless)") from error
        search = ximgproc.segmentation.createSelectiveSearchSegmentation()
        pixels = _reduced(picture, self.longest_side)
        search.setBaseImage(np.ascontiguousarray(pixels[..., ::-1]))
        getattr(search, MODES[self.mode])()
        # OpenCV orders the same boxes differently at each call.
        boxes = np.unique(np.asarray(search.process()).reshape(-1, 4), axis=0).astype("float64")
        boxes[:, 2:] += boxes[:, :2]
        boxes *= np.tile(np.divide(picture.shape[1::-1], pixels.shape[1::-1]), 2)
        return _chosen(Proposals(boxes, size=picture.shape[:2]), self.least_side, self.count)


@dataclass(frozen=True)
class RegionMerging:
    """Regions from hierarchies of superpixels, the two most similar neighbours of which are merged until one is left.

    This is the selective search of Uijlings et al. (IJCV 2013) on scikit-image's superpixels (Felzenszwalb and
    Huttenlocher) and region adjacency graphs. The similarity is the paper's sum for colour, size and fill (section
    3.2), without its term for texture. There is one hierarchy for each scale in each of the colour spaces HSV and
    CIELAB, the two of R-CNN's fast mode.

    Args:
        scales: constant k of the superpixels of each hierarchy, and the least number of pixels of its superpixels.
        sigma: standard deviation in pixels of the blur before.
        longest_side: longer side, in pixels, to which larger pictures are reduced for the search.
        least_side: least width and height of a region, in pixels.
        count: greatest number of regions, or `None` for all of them.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> proposals = RegionMerging()(read_image("photo.jpg"))
    """

    scales: tuple[int, ...] = (50, 100)
    sigma: float = 0.8
    longest_side: int = 500
    least_side: int = 10
    count: int | None = 2000

    def __post_init__(self) -> None:
        """Raise `ValueError` if an argument is out of range."""
        if not isinstance(self.scales, tuple) or not self.scales:
            raise ValueError(f"scales must be a tuple of at least one scale, received {self.scales!r}")
        for scale in self.scales:
            check_positive_integer("scales", scale)
        check_number("sigma", self.sigma, 0)
        _check_limits(self.longest_side, self.least_side, self.count)

    def __call__(self, picture: np.ndarray) -> Proposals:
        """Find the regions of one picture.

        Args:
            picture: uint8 `(height, width, 3)`, RGB.

        Returns:
            Distinct regions with tight boxes, in an order as that of `SelectiveSearch`.

        Raises:
            ValueError: if the picture is of another type or shape.
            ModuleNotFoundError: if scikit-image is not installed.
        """
        check_picture(picture)
        try:
            from skimage.color import rgb2hsv, rgb2lab
            from skimage.segmentation import felzenszwalb
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"{HOW_TO_GET} (scikit-image)") from error
        pixels = _reduced(picture, self.longest_side)
        spaces = rgb2hsv(pixels), (rgb2lab(pixels) + np.array([0, 128, 128])) / (100, 255, 255)
        partitions, members = [], []
        for colours in spaces:
            for scale in self.scales:
                partition = felzenszwalb(colours, scale, self.sigma, scale)
                partitions.append(partition.reshape(-1))
                members.append(_merged_regions(partition, colours))
        # Superpixels of all hierarchies are cut by each other.
        cut, superpixels = np.unique(np.stack(partitions, axis=-1), axis=0, return_inverse=True)
        height, width = pixels.shape[:2]
        rows, columns = (
            np.arange(side) * small // side for side, small in zip(picture.shape, (height, width), strict=False)
        )
        regions = Regions(
            superpixels.reshape(height, width)[rows[:, None], columns],
            np.concatenate([part[:, numbers] for part, numbers in zip(members, cut.T, strict=True)]),
        )
        return _chosen(Proposals.of_regions(regions).distinct(), self.least_side, self.count)


class _Region(NamedTuple):
    members: np.ndarray  # bool (superpixels,)
    pixels: int
    histogram: np.ndarray  # numbers of pixels (bins,), of all channels
    start: np.ndarray  # (x1, y1) of the tight box
    end: np.ndarray  # (x2, y2)

    def __or__(self, other: "_Region") -> "_Region":
        """Return the union with a region that has no pixel in common."""
        return _Region(
            self.members | other.members,
            self.pixels + other.pixels,
            self.histogram + other.histogram,
            np.minimum(self.start, other.start),
            np.maximum(self.end, other.end),
        )

    def similarity(self, other: "_Region", total: int) -> float:
        """Compute the similarity of colour, size and fill to a region, in a picture of `total` pixels."""
        both = self.pixels + other.pixels
        colour = np.minimum(self.histogram / self.pixels, other.histogram / other.pixels).sum() / 3
        around = (np.maximum(self.end, other.end) - np.minimum(self.start, other.start)).prod()
        return float(colour + (1 - both / total) + (1 - (around - both) / total))


def _merged_regions(partition: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Merge superpixels until one is left.

    Args:
        partition: integers `(height, width)` in `0..superpixels - 1`, each of which occurs.
        colours: floats `(height, width, 3)`, 0..1.

    Returns:
        bool `(2 superpixels - 1, superpixels)`, the superpixels of each region, those of one superpixel first.
    """
    from skimage.graph import RAG, merge_hierarchical

    regions = _superpixel_regions(partition, colours)
    graph = RAG()
    for number, region in enumerate(regions):
        graph.add_node(number, region=region, labels=[number])

    def dissimilarity(graph: Any, _: int, one: int, other: int) -> dict[str, float]:
        return {"weight": -graph.nodes[one]["region"].similarity(graph.nodes[other]["region"], partition.size)}

    def merge(graph: Any, source: int, target: int) -> None:
        regions.append(graph.nodes[source]["region"] | graph.nodes[target]["region"])
        graph.nodes[target]["region"] = regions[-1]

    for one, other in _neighbours(partition):
        graph.add_edge(one, other, dissimilarity(graph, one, one, other))
    merge_hierarchical(partition, graph, np.inf, False, True, merge, dissimilarity)
    return np.stack([region.members for region in regions])


def _neighbours(partition: np.ndarray) -> list[list[int]]:
    """List the pairs of numbers that touch; `RAG` finds the same ones with a Python function for each pixel."""
    beside = (partition[:-1], partition[1:]), (partition[:, :-1], partition[:, 1:])
    pairs = np.concatenate([np.stack([one.ravel(), other.ravel()], axis=-1) for one, other in beside])
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=-1), axis=0)
    neighbours: list[list[int]] = pairs.tolist()
    return neighbours


def _superpixel_regions(partition: np.ndarray, colours: np.ndarray) -> list[_Region]:
    """Describe each superpixel as a region."""
    numbers, count = partition.reshape(-1), int(partition.max()) + 1
    bins = np.minimum(colours.reshape(-1, 3) * BINS, BINS - 1).astype(int)
    histograms = np.concatenate(
        [np.bincount(numbers * BINS + one, minlength=count * BINS).reshape(count, BINS) for one in bins.T], axis=1
    )
    alone = Regions(partition, np.eye(count, dtype=bool))
    return [
        _Region(members, int(pixels), histogram, box[:2], box[2:])
        for members, pixels, histogram, box in zip(alone.members, alone.areas, histograms, alone.boxes, strict=True)
    ]


def _check_limits(longest_side: Any, least_side: Any, count: Any) -> None:
    check_positive_integer("longest_side", longest_side)
    check_positive_integer("least_side", least_side)
    if count is not None:
        check_positive_integer("count", count)


def _reduced(picture: np.ndarray, longest_side: int) -> np.ndarray:
    """Return the picture, resized if its longer side is longer than this."""
    height, width = picture.shape[:2]
    factor = longest_side / max(height, width)
    return resized(picture, (max(1, round(height * factor)), max(1, round(width * factor)))) if factor < 1 else picture


def _chosen(proposals: Proposals, least_side: int, count: int | None) -> Proposals:
    """Return at most `count` proposals that are not too small, in the order of rank by size times a random number."""
    sides = proposals.boxes[:, 2:] - proposals.boxes[:, :2]
    areas = sides.prod(axis=1) if proposals.regions is None else proposals.regions.areas
    large = np.flatnonzero((sides >= least_side).all(axis=1))
    rank = np.empty(len(large))
    rank[np.argsort(-areas[large], kind="stable")] = np.arange(1, len(large) + 1)
    order = np.argsort(rank * np.random.default_rng(0).random(len(large)), kind="stable")
    return proposals.take(large[order[:count]])
