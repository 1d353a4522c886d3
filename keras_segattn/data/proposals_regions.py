"""Regions of a picture as sets of superpixels, the form in which MCG stores them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions of a picture, each of which consists of superpixels; two regions may overlap.

    Masks of 2,000 regions in a picture of 500 × 375 pixels would take 375 MB. With 1,000 superpixels, this form takes
    3 MB; the overlaps of all regions are matrix products, and SDS refines its regions superpixel by superpixel.

    Args:
        superpixels: integers `(height, width)` in `0..superpixels - 1`, kept as int32.
        members: bool `(n, superpixels)`, whether a superpixel belongs to a region.

    Raises:
        ValueError: if an array has another shape or type, a number is out of range, or a region has no pixel; the
            message numbers regions from 0.

    Example:
        >>> regions = Regions(np.array([[0, 0, 1], [0, 2, 2]]), np.array([[True, False, False], [False, True, True]]))
        >>> regions.boxes
        array([[0., 0., 2., 2.],
               [1., 0., 3., 2.]], dtype=float32)
    """

    superpixels: np.ndarray
    members: np.ndarray

    def __post_init__(self) -> None:
        """Check the arrays, and keep copies that cannot be changed."""
        superpixels, members = np.asarray(self.superpixels), np.array(self.members)
        if superpixels.ndim != 2 or superpixels.dtype.kind not in "iu" or not superpixels.size:
            raise ValueError(
                f"expected superpixels, integers (height, width), received {superpixels.dtype} {superpixels.shape}"
            )
        if members.ndim != 2 or members.dtype != np.bool_:
            raise ValueError(f"expected members bool (n, superpixels), received {members.dtype} {members.shape}")
        least, most = int(superpixels.min()), int(superpixels.max())
        if least < 0 or most >= members.shape[1]:
            raise ValueError(f"expected superpixels in 0..{members.shape[1] - 1}, received {least}..{most}")
        for name, array in (("superpixels", superpixels.astype(np.int32)), ("members", members)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        empty = np.flatnonzero(self.areas == 0)
        if empty.size:
            raise ValueError(f"region {empty[0]}: expected at least one pixel, received none")

    @classmethod
    def of_masks(cls, masks: Iterable[np.ndarray], size: tuple[int, int]) -> "Regions":
        """Split a picture into the coarsest superpixels of which all masks consist.

        Args:
            masks: n masks `(height, width)` of bool or 0 and 1; of a generator only one is in memory at a time.
            size: (height, width) of the picture, in pixels.

        Raises:
            ValueError: if a mask has another shape, holds other values or is empty; the message numbers masks from 0.

        Example:
            >>> Regions.of_masks(example["objects"]["mask"], example["image"].shape[:2])
        """
        superpixels = np.zeros(size, np.int32)
        areas = np.array([superpixels.size])
        steps = []  # for each mask: superpixels that it splits, number of the first new one, and all inside of it
        for number, mask in enumerate(masks):
            if mask.shape != superpixels.shape or (mask.dtype != np.bool_ and not np.isin(mask, (0, 1)).all()):
                raise ValueError(
                    f"region {number}: expected a mask {superpixels.shape} of bool or 0 and 1, received {mask.dtype} "
                    f"{mask.shape} in {mask.min(initial=0)}..{mask.max(initial=0)}"
                )
            inside = mask.astype(bool)
            shared = np.bincount(superpixels[inside], minlength=len(areas))
            split = np.flatnonzero((shared > 0) & (shared < areas))
            renamed = np.arange(len(areas), dtype=np.int32)
            renamed[split] = len(areas) + np.arange(len(split))
            superpixels[inside] = renamed[superpixels[inside]]
            steps.append((split, len(areas), renamed[shared > 0]))
            areas[split] -= shared[split]
            areas = np.concatenate([areas, shared[split]])
        members = np.zeros((len(steps), len(areas)), bool)
        for number, (split, start, whole) in enumerate(steps):
            members[:number, start : start + len(split)] = members[:number, split]
            members[number, whole] = True
        return cls(superpixels, members)

    def __len__(self) -> int:
        return len(self.members)

    @property
    def size(self) -> tuple[int, int]:
        """Size (height, width) of the picture, in pixels."""
        height, width = self.superpixels.shape
        return height, width

    @property
    def areas(self) -> np.ndarray:
        """Numbers of pixels int64 `(n,)`."""
        areas: np.ndarray = self.members @ np.bincount(self.superpixels.reshape(-1), minlength=self.members.shape[1])
        return areas

    @property
    def masks(self) -> np.ndarray:
        """Masks bool `(n, height, width)`, drawn anew at each access."""
        masks: np.ndarray = self.members[:, self.superpixels]
        return masks

    @property
    def boxes(self) -> np.ndarray:
        """Tight boxes float32 `(n, 4)`, (x1, y1, x2, y2) in pixels; x2 and y2 are just outside."""
        numbers, count = self.superpixels.reshape(-1), self.members.shape[1]
        boxes = np.zeros((len(self), 4), np.float32)
        for axis, positions in enumerate(np.indices(self.size, np.float32)[::-1]):  # x, then y
            first, last = np.full(count, np.inf, np.float32), np.full(count, -np.inf, np.float32)
            np.minimum.at(first, numbers, positions.reshape(-1))
            np.maximum.at(last, numbers, positions.reshape(-1))
            boxes[:, axis] = np.where(self.members, first, np.inf).min(axis=1)
            boxes[:, axis + 2] = np.where(self.members, last, -np.inf).max(axis=1) + 1
        return boxes

    def take(self, chosen: slice | np.ndarray) -> "Regions":
        """Return some of the regions, such as `slice(2000)` or indices `(k,)` in any order."""
        return replace(self, members=self.members[chosen])

    def overlaps(self, masks: np.ndarray) -> np.ndarray:
        """Compute the intersection over union of every region with every mask.

        Args:
            masks: `(m, height, width)` of bool or 0 and 1.

        Returns:
            float64 `(n, m)`, 0..1.

        Raises:
            ValueError: if the masks have another shape or hold other values.
        """
        if masks.shape[1:] != self.size or not np.isin(masks, (0, 1)).all():
            height, width = self.size
            raise ValueError(
                f"expected masks (m, {height}, {width}) of bool or 0 and 1, received {masks.dtype} {masks.shape}"
            )
        count = self.members.shape[1]
        shared = np.zeros((count, len(masks)), np.int64)
        for place, mask in enumerate(masks):
            shared[:, place] = np.bincount(self.superpixels[mask.astype(bool)], minlength=count)
        # Products of floats are faster than those of integers, and exact for numbers of pixels.
        intersections = self.members.astype("float64") @ shared
        return intersections / (self.areas[:, None] + shared.sum(axis=0) - intersections)
