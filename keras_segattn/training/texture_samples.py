"""Texture-layout features at a grid of pixels of many pictures, computed when they are needed."""

from collections.abc import Sequence

import numpy as np


class TextureSamples:
    """Examples for boosting: the labelled pixels of a grid over all pictures, and their texture-layout features.

    No feature is kept. The memory is that of the places of all pixels, 12 bytes each, and of a few arrays of the size
    of the grids. A feature is computed from the places of its texton only: each pixel of the texton lies in the
    rectangles of a rectangle of grid points, which is added to an array of differences by its four corners.

    Args:
        texton_maps: texton maps, integers `(height, width)` each.
        masks: masks of the same sizes, integers.
        textons: number of textons.
        spacing: distance of neighbouring grid points in pixels; the first lies at `spacing // 2`.
        ignore_label: label of pixels that are no examples, or `None`.
        area: `"clipped"` or `"whole"`, see `layers.TextureLayout`.

    Attributes:
        labels: int64 `(examples,)`, the classes of the examples in ascending order.

    Raises:
        ValueError: if no grid point is labelled.
    """

    def __init__(
        self,
        texton_maps: Sequence[np.ndarray],
        masks: Sequence[np.ndarray],
        textons: int,
        spacing: int,
        ignore_label: int | None,
        area: str = "clipped",
    ) -> None:
        self.spacing, self.area = spacing, area
        self.sizes = np.array([one.shape for one in texton_maps])
        self.different, self.size_of = np.unique(self.sizes, axis=0, return_inverse=True)
        rows, columns = (np.arange(spacing // 2, max(most, spacing // 2 + 1), spacing) for most in self.sizes.max(0))
        self.grid = rows, columns
        grids = np.full((len(rows), len(columns), len(masks)), -1, "int64")
        for number, mask in enumerate(masks):
            labels = mask[spacing // 2 :: spacing, spacing // 2 :: spacing].astype("int64")
            if ignore_label is not None:
                labels[labels == ignore_label] = -1
            grids[: len(labels), : labels.shape[1], number] = labels
        self.places = np.flatnonzero(grids >= 0)
        # In the order of the classes, which `joint_boosting.sums_of` is quick with.
        self.places = self.places[np.argsort(grids.ravel()[self.places], kind="stable")]
        self.labels = grids.ravel()[self.places]
        if not self.labels.size:
            raise ValueError(f"no pixel of the grid of every {spacing} pixels is labelled in {len(masks)} pictures")
        # The pixels of all pictures, ordered by texton: those of texton t are from begin[t] to begin[t + 1].
        flat = np.concatenate([one.ravel() for one in texton_maps])
        order = np.argsort(flat, kind="stable")
        self.begin = np.searchsorted(flat[order], np.arange(textons + 1))
        pictures = np.repeat(np.arange(len(self.sizes)), self.sizes.prod(axis=1))[order]
        within = order - np.concatenate([[0], self.sizes.prod(axis=1).cumsum()])[pictures]
        self.pixels = np.stack([pictures, within // self.sizes[pictures, 1], within % self.sizes[pictures, 1]]).astype(
            "int32"
        )

    def counts(self, texton: int, rectangle: np.ndarray) -> np.ndarray:
        """Count the pixels of a texton in a rectangle that is placed relative to every grid point.

        Args:
            texton: number of the texton.
            rectangle: integers `(4,)`: first row, first column, last row + 1 and last column + 1.

        Returns:
            int32 `(grid rows, grid columns, pictures)`.
        """
        picture, *place = self.pixels[:, self.begin[texton] : self.begin[texton + 1]]
        shape = (len(self.grid[0]) + 1, len(self.grid[1]) + 1, len(self.sizes))
        spans = []
        for axis, pixel in enumerate(place):
            # Grid points of which the pixel lies in the rectangle: from pixel - last to pixel - first.
            first, end = (
                np.clip(-((self.spacing // 2 + offset - pixel) // self.spacing), 0, shape[axis] - 1)
                for offset in (rectangle[2 + axis] - 1, rectangle[axis] - 1)
            )
            spans.append((first, np.maximum(first, end)))
        (top, bottom), (left, right) = spans
        added, removed = (
            np.bincount(
                np.concatenate([(y * shape[1] + x) * shape[2] + picture for y, x in corners]), minlength=np.prod(shape)
            )
            for corners in (((top, left), (bottom, right)), ((top, right), (bottom, left)))
        )
        found = np.subtract(added, removed, dtype="int32", casting="unsafe").reshape(shape)
        # Whole rows and columns at a time, with the pictures side by side, are quicker than `np.cumsum`.
        for row in range(1, shape[0]):
            found[row] += found[row - 1]
        for column in range(1, shape[1]):
            found[:, column] += found[:, column - 1]
        return found[:-1, :-1]

    def areas(self, rectangle: np.ndarray) -> np.ndarray:
        """Return the areas by which counts in a rectangle are divided, float32.

        The shape is `(grid rows, grid columns, 1)` if all pictures have one size, else
        `(grid rows, grid columns, pictures)`.
        """
        sides = []
        for axis, points in enumerate(self.grid):
            begin, end = (points[:, None] + rectangle[side] for side in (axis, 2 + axis))
            if self.area == "clipped":
                begin, end = (np.clip(x, 0, self.different[:, axis]) for x in (begin, end))
            sides.append(np.maximum(end - begin, 0))
        found = (sides[0][:, None] * sides[1]).astype("float32")
        return found if found.shape[2] == 1 else found[..., self.size_of.ravel()]

    def values(self, texton: int, rectangle: np.ndarray) -> np.ndarray:
        """Return a feature of all examples, float32 `(examples,)`: count ÷ area, and 0 where there is no area."""
        values = self.counts(texton, rectangle).astype("float32") / np.maximum(self.areas(rectangle), 1)
        return values.ravel()[self.places]

    def exceeds(self, texton: int, rectangle: np.ndarray, threshold: float) -> np.ndarray:
        """Return where a feature exceeds a threshold, bool `(examples,)`, as `layers.TextureLayout` decides it."""
        least = np.float32(threshold) * self.areas(rectangle)
        return (self.counts(texton, rectangle).astype("float32") > least).ravel()[self.places]
