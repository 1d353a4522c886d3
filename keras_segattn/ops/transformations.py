"""Families of transformations by name, each with the few parameters that a network predicts."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_segattn.ops.grids import (
    affine_grid,
    attention_matrix,
    projective_grid,
    rotation_matrix,
    thin_plate_spline_grid,
)

# Control points of the paper's thin-plate spline.
POINTS = (4, 4)


class Transformation(NamedTuple):
    """A family of transformations.

    Attributes:
        identity: parameters of the identity.
        grid: function of parameters `(batch, len(identity))`, size (rows, columns) and align_corners that returns grids
            `(batch, rows, columns, 2)`.
    """

    identity: tuple[float, ...]
    grid: Callable[[Any, tuple[int, int], bool], Any]


def _affine(theta: Any, size: tuple[int, int], align_corners: bool) -> Any:
    return affine_grid(ops.reshape(theta, (-1, 2, 3)), size, align_corners)


def _attention(theta: Any, size: tuple[int, int], align_corners: bool) -> Any:
    return affine_grid(attention_matrix(theta), size, align_corners)


def _translation(theta: Any, size: tuple[int, int], align_corners: bool) -> Any:
    return _attention(ops.pad(theta, ((0, 0), (1, 0)), constant_values=1.0), size, align_corners)


def _rotation(theta: Any, size: tuple[int, int], align_corners: bool) -> Any:
    return affine_grid(rotation_matrix(theta), size, align_corners)


def _projective(theta: Any, size: tuple[int, int], align_corners: bool) -> Any:
    # A projective matrix is defined up to a factor, so the last of its nine entries is fixed to 1.
    entries = ops.pad(theta, ((0, 0), (0, 1)), constant_values=1.0)
    return projective_grid(ops.reshape(entries, (-1, 3, 3)), size, align_corners)


def _thin_plate_spline(theta: Any, size: tuple[int, int], align_corners: bool) -> Any:
    offsets = ops.reshape(theta, (-1, POINTS[0] * POINTS[1], 2))
    return thin_plate_spline_grid(offsets, size, POINTS, align_corners)


TRANSFORMATIONS = {
    "affine": Transformation((1, 0, 0, 0, 1, 0), _affine),
    "attention": Transformation((1, 0, 0), _attention),
    "translation": Transformation((0, 0), _translation),
    "rotation": Transformation((0,), _rotation),
    "projective": Transformation((1, 0, 0, 0, 1, 0, 0, 0), _projective),
    "thin_plate_spline": Transformation((0,) * (2 * POINTS[0] * POINTS[1]), _thin_plate_spline),
}


def grid_of(theta: Any, size: tuple[int, int], align_corners: bool = True) -> np.ndarray:
    """Compute the grid of one transformation, whose family is recognised by its number of parameters.

    Args:
        theta: parameters `(P,)` as a network predicted them.
        size: (rows, columns) of the output.
        align_corners: whether -1 and 1 are the centres of the outermost pixels, see `grid_sample`.

    Returns:
        float32 `(rows, columns, 2)`.

    Raises:
        ValueError: if no family has this number of parameters.
    """
    for family in TRANSFORMATIONS.values():
        if len(family.identity) == len(theta):
            return ops.convert_to_numpy(family.grid(ops.convert_to_tensor(theta)[None], size, align_corners))[0]
    counts = {name: len(family.identity) for name, family in TRANSFORMATIONS.items()}
    raise ValueError(f"expected parameters of one transformation, {counts}, received {len(theta)}")
