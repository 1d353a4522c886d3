"""Region proposals: boxes of a picture that may hold an object, and the regions within them.

R-CNN, SDS and hypercolumns do not search a picture themselves. Their proposals come from outside: from files
(`proposals_files`) or from methods that run here (`proposals_sources`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from keras import ops

from keras_segattn.arguments import check_number
from keras_segattn.data.augmentation import check_size
from keras_segattn.data.proposals_regions import Regions
from keras_segattn.ops.boxes import box_iou

# Least side of a box in pixels. It is less than 1 because float32 rounds either side by up to 0.00025 pixels within the
# first 8,192 pixels.
ONE_PIXEL = 0.999


@dataclass(frozen=True, eq=False)
class Proposals:
    """The proposals of one picture, in the order of their source.

    Boxes are clipped to the picture, or to coordinates of at least 0 if the size of the picture is unknown. The pixels
    of a region must lie in its box, of which they may fill a part. Two proposals may be equal; `distinct` leaves out
    repetitions.

    Args:
        boxes: `(n, 4)`, (x1, y1, x2, y2) in pixels; x2 and y2 are just outside, as everywhere in this package. MATLAB's
            (x1, y1, x2, y2), which count from 1 and include the last pixel, are (x1 - 1, y1 - 1, x2, y2) here. They
            are kept as float32.
        regions: regions of the n proposals, or `None`.
        scores: finite numbers `(n,)`, kept as float32, or `None`.
        size: (height, width) of the picture in pixels, by default that of the regions; `None` if it is unknown.

    Raises:
        ValueError: if an array has another shape or type or holds NaN or infinity, a box has less than one pixel within
            the picture, or a region does not fit its box; the message numbers proposals from 0.

    Example:
        >>> proposals = Proposals(np.array([[10, 20, 50, 90], [-5, 0, 30, 200]]), size=(100, 120))
        >>> proposals.boxes[1], len(proposals)
        (array([  0.,   0.,  30., 100.], dtype=float32), 2)
    """

    boxes: np.ndarray
    regions: Regions | None = None
    scores: np.ndarray | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check the arrays, clip the boxes, and keep copies that cannot be changed."""
        size = self.size
        if size is not None:
            check_size("size", size)
            size = int(size[0]), int(size[1])
        if self.regions is not None:
            if size not in (None, self.regions.size):
                raise ValueError(f"expected regions of the picture's size {size}, received {self.regions.size}")
            size = self.regions.size
        object.__setattr__(self, "size", size)
        self._keep("boxes", _clipped(self.boxes, size))
        if self.scores is not None:
            self._keep("scores", _checked_scores(self.scores, len(self)))
        if self.regions is not None:
            if len(self.regions) != len(self):
                raise ValueError(f"expected regions of {len(self)} boxes, received {len(self.regions)}")
            _check_fit(self.boxes, self.regions.boxes)

    def _keep(self, name: str, array: np.ndarray) -> None:
        array.setflags(write=False)
        object.__setattr__(self, name, array)

    @classmethod
    def of_regions(cls, regions: Regions, scores: np.ndarray | None = None) -> "Proposals":
        """Return regions as proposals, with the tight boxes around them."""
        return cls(regions.boxes, regions, scores)

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, chosen: slice | np.ndarray) -> "Proposals":
        """Return some of the proposals, such as `slice(2000)` or indices `(k,)` in any order."""
        return replace(
            self,
            boxes=self.boxes[chosen],
            regions=None if self.regions is None else self.regions.take(chosen),
            scores=None if self.scores is None else self.scores[chosen],
        )

    def within(self, size: tuple[int, int]) -> "Proposals":
        """Return the proposals in a picture of known size, to which the boxes are clipped.

        Args:
            size: (height, width) in pixels.

        Raises:
            ValueError: if a box has less than one pixel within the picture, or the regions are of another size.
        """
        return replace(self, size=size)

    def distinct(self) -> "Proposals":
        """Return the proposals without those that repeat the box and the region of an earlier one."""
        rows: np.ndarray = self.boxes
        if self.regions is not None:
            rows = np.concatenate([rows, np.packbits(self.regions.members, axis=1)], axis=1)
        return self.take(np.sort(np.unique(rows, axis=0, return_index=True)[1]))


def best_overlaps(proposals: Proposals, truth: np.ndarray) -> np.ndarray:
    """Compute the greatest intersection over union of each true object with a proposal.

    Args:
        proposals: proposals of one picture.
        truth: boxes `(m, 4)`, compared with the boxes of the proposals, or masks `(m, height, width)` of bool or 0 and
            1, compared with their regions.

    Returns:
        float64 `(m,)`, 0..1; zeros if there are no proposals.

    Raises:
        ValueError: if `truth` has another shape, holds NaN or infinity, or is masks of another size than the picture's
            or for proposals without regions.

    Example:
        >>> best_overlaps(Proposals(np.array([[0, 0, 2, 2]])), np.array([[1, 0, 3, 2]]))
        array([0.33333333])
    """
    truth = np.asarray(truth)
    if truth.ndim == 3 and proposals.regions is not None:
        overlaps = proposals.regions.overlaps(truth)
    elif truth.ndim == 2 and truth.shape[1] == 4 and np.isfinite(truth).all():
        overlaps = ops.convert_to_numpy(box_iou(proposals.boxes.astype("float64"), truth.astype("float64")))
    else:
        masks = "" if proposals.regions is None else " or masks (m, height, width)"
        raise ValueError(f"expected finite true boxes (m, 4){masks}, received {truth.dtype} {truth.shape}")
    best: np.ndarray = overlaps.max(axis=0, initial=0.0)
    return best


def proposal_recall(proposals: Sequence[Proposals], truth: Sequence[np.ndarray], threshold: float = 0.5) -> float:
    """Compute the share of the true objects that a proposal of their picture overlaps enough.

    Args:
        proposals: proposals of each picture.
        truth: true boxes or masks of each picture, see `best_overlaps`.
        threshold: least intersection over union, above 0 and at most 1.

    Returns:
        Recall 0..1 over the objects of all pictures; NaN if there are none.

    Raises:
        ValueError: if the threshold is out of range, the number of pictures differs, or a picture is wrong; the message
            numbers them from 0.

    Example:
        >>> found = [SelectiveSearch()(scene["image"]) for scene in scenes]
        >>> proposal_recall(found, [scene["objects"]["bbox"] for scene in scenes], 0.7)
    """
    check_number("threshold", threshold, 0, 1)
    if threshold == 0:
        raise ValueError("threshold must be above 0, at which every object counts as found")
    if len(proposals) != len(truth):
        raise ValueError(f"expected true objects of {len(proposals)} pictures, received {len(truth)}")
    best = np.zeros(0)
    for number, (found, objects) in enumerate(zip(proposals, truth, strict=True)):
        try:
            best = np.concatenate([best, best_overlaps(found, objects)])
        except ValueError as error:
            raise ValueError(f"picture {number}: {error}") from error
    return float(np.mean(best >= threshold)) if best.size else float("nan")


def _checked_scores(scores: Any, count: int) -> np.ndarray:
    """Return scores as float32."""
    scores = np.asarray(scores)
    if scores.shape != (count,) or scores.dtype.kind not in "fiu":
        raise ValueError(f"expected scores ({count},), received {scores.dtype} {scores.shape}")
    kept: np.ndarray = scores.astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(kept))
    if wrong.size:
        raise ValueError(f"proposal {wrong[0]}: expected a finite score, received {scores[wrong[0]]}")
    return kept


def _clipped(boxes: Any, size: tuple[int, int] | None) -> np.ndarray:
    """Return boxes as float32, clipped to the picture."""
    boxes = np.asarray(boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind not in "fiu":
        raise ValueError(f"expected boxes (n, 4), received {boxes.dtype} {boxes.shape}")
    wrong = np.flatnonzero(~np.isfinite(boxes).all(axis=1))
    if wrong.size:
        raise ValueError(f"proposal {wrong[0]}: expected a finite box, received {boxes[wrong[0]].tolist()}")
    height, width = size or (np.inf, np.inf)
    clipped = np.clip(boxes.astype("float64"), 0, (width, height, width, height))
    small = np.flatnonzero((clipped[:, 2:] - clipped[:, :2] < ONE_PIXEL).any(axis=1))
    if small.size:
        where = "the picture" if size is None else f"the picture of {height} × {width} pixels (height × width)"
        raise ValueError(
            f"proposal {small[0]}: expected a box (x1, y1, x2, y2) of at least one pixel within {where}, received "
            f"{boxes[small[0]].tolist()}"
        )
    return clipped.astype(np.float32)


def _check_fit(boxes: np.ndarray, tight: np.ndarray) -> None:
    """Raise `ValueError` unless each pixel of the regions with these tight boxes is at least partly in its box."""
    outside = (tight[:, :2] < np.floor(boxes[:, :2])) | (tight[:, 2:] > np.ceil(boxes[:, 2:]))
    wrong = np.flatnonzero(outside.any(axis=1))
    if wrong.size:
        raise ValueError(
            f"proposal {wrong[0]}: expected a region in its box {boxes[wrong[0]].tolist()}, received one that extends "
            f"over {tight[wrong[0]].tolist()}"
        )
