"""The grid generators of spatial transformers (Jaderberg et al., NIPS 2015, section 3.2).

A grid holds, for every pixel of the output, the point (x, y) of the input that the pixel reads. Points are normalised:
-1 is the left or upper edge, 1 the right or lower one (`align_corners` of `grid_sample` says which edges these are).
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_segattn.ops.dtypes import at_least_float32

# Replaces projective denominators that are nearer to 0: their points are then far outside, their gradients finite.
SMALLEST_DENOMINATOR = 1e-6


def regular_grid(size: tuple[int, int], align_corners: bool = True) -> np.ndarray:
    """Compute the identity grid, float64 `(rows, columns, 2)`: the points (x, y) of an output of `size`."""
    integers = isinstance(size, tuple | list) and all(isinstance(n, int | np.integer) for n in size)
    if not integers or len(size) != 2 or min(size) < 1 or bool in map(type, size):
        raise ValueError(f"expected a size (rows, columns) of positive integers, received {size!r}")
    axes = []
    for count in size:
        # As in torch, a single pixel on an axis is in the middle.
        edge = (1.0 if count > 1 else 0.0) if align_corners else 1.0 - 1.0 / count
        axes.append(np.linspace(-edge, edge, count))
    return np.stack(np.meshgrid(axes[1], axes[0]), axis=-1)


def affine_grid(theta: Any, size: tuple[int, int], align_corners: bool = True) -> Any:
    """Compute grids of affine maps (equation 1), as `torch.nn.functional.affine_grid` does.

    Args:
        theta: matrices A `(batch, 2, 3)` with (x, y) = A (x', y', 1), from points (x', y') of the output to points (x,
            y) of the input.
        size: (rows, columns) of the output.
        align_corners: whether -1 and 1 are the centres of the outermost pixels, see `grid_sample`.

    Returns:
        `(batch, rows, columns, 2)`, float32 unless the argument is float64.

    Raises:
        ValueError: if a shape is wrong.

    Example:
        >>> affine_grid(attention_matrix(theta), (28, 28)).shape
        TensorShape([32, 28, 28, 2])
    """
    _check("theta", theta, (2, 3))
    theta = at_least_float32(theta)
    mapped = ops.matmul(_homogeneous(size, align_corners, theta.dtype), ops.transpose(theta, (0, 2, 1)))
    return ops.reshape(mapped, (-1, *size, 2))


def projective_grid(theta: Any, size: tuple[int, int], align_corners: bool = True) -> Any:
    """Compute grids of projective maps.

    Args:
        theta: matrices A `(batch, 3, 3)` with (u, v, w) = A (x', y', 1) and (x, y) = (u, v) / w.
        size: (rows, columns) of the output.
        align_corners: whether -1 and 1 are the centres of the outermost pixels, see `grid_sample`.

    Returns:
        `(batch, rows, columns, 2)`, float32 unless the argument is float64.

    Raises:
        ValueError: if a shape is wrong.

    Example:
        >>> projective_grid(homography, (28, 28))
    """
    _check("theta", theta, (3, 3))
    theta = at_least_float32(theta)
    # Each coordinate of all points is one tensor, which is divided four times as fast as point by point.
    u, v, w = ops.unstack(ops.matmul(theta, _homogeneous(size, align_corners, theta.dtype).T), 3, axis=1)
    w = ops.where(ops.abs(w) < SMALLEST_DENOMINATOR, SMALLEST_DENOMINATOR, w)
    return ops.reshape(ops.stack([u / w, v / w], axis=-1), (-1, *size, 2))


def thin_plate_spline_grid(
    offsets: Any, size: tuple[int, int], points: tuple[int, int] = (4, 4), align_corners: bool = True
) -> Any:
    """Compute grids of thin-plate splines through a regular grid of control points (Bookstein 1989).

    Everything that does not depend on the offsets, including the inverse, is one constant matrix, by which the offsets
    are multiplied.

    Args:
        offsets: `(batch, K, 2)`: for each control point the point (x, y) of the input that is read there, minus the
            control point itself; row by row of the control points. 0 is the identity.
        size: (rows, columns) of the output.
        points: (rows, columns) of the K control points, which lie from -1 to 1; at least two each way.
        align_corners: whether -1 and 1 are the centres of the outermost pixels, see `grid_sample`.

    Returns:
        `(batch, rows, columns, 2)`, float32 unless the argument is float64.

    Raises:
        ValueError: if a shape is wrong.

    Example:
        >>> thin_plate_spline_grid(keras.ops.zeros((32, 16, 2)), (28, 28))
    """
    control = control_points(points)
    _check("offsets", offsets, control.shape)
    grid = regular_grid(size, align_corners)
    spline = thin_plate_spline(control, grid.reshape(-1, 2))
    offsets = at_least_float32(offsets)
    moved = ops.matmul(ops.cast(spline, offsets.dtype), offsets)
    return ops.reshape(moved, (-1, *size, 2)) + ops.cast(grid, offsets.dtype)


def control_points(points: tuple[int, int]) -> np.ndarray:
    """Return the control points (x, y) of a thin-plate spline, float64 `(K, 2)`, row by row from (-1, -1) to (1, 1)."""
    grid = regular_grid(points)
    if min(points) < 2:
        raise ValueError(f"expected at least 2 by 2 control points, received {points!r}")
    return grid.reshape(-1, 2)


def thin_plate_spline(control: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Compute the matrix that maps values at control points `(K, 2)` to values of their spline at `points` `(N, 2)`.

    Returns:
        float64 `(N, K)`.
    """
    count = len(control)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _radial(control, control)
    system[:count, count:] = np.column_stack([np.ones(count), control])
    system[count:, :count] = system[:count, count:].T
    basis = np.column_stack([_radial(points, control), np.ones(len(points)), points])
    return np.linalg.solve(system.T, basis.T).T[:, :count]


def attention_matrix(theta: Any) -> Any:
    """Make matrices of isotropic scale and translation (equation 2): (s, t_x, t_y) `(batch, 3)` → `(batch, 2, 3)`."""
    _check("theta", theta, (3,))
    theta = at_least_float32(theta)
    scale, x, y = (theta[..., i] for i in range(3))
    zero = ops.zeros_like(scale)
    return _matrix([[scale, zero, x], [zero, scale, y]])


def rotation_matrix(angle: Any) -> Any:
    """Make matrices that rotate the picture anticlockwise about its middle: radians `(batch, 1)` → `(batch, 2, 3)`."""
    _check("angle", angle, (1,))
    angle = at_least_float32(angle)
    sine, cosine = ops.sin(angle[..., 0]), ops.cos(angle[..., 0])
    zero = ops.zeros_like(sine)
    return _matrix([[cosine, -sine, zero], [sine, cosine, zero]])


def _matrix(rows: list[list[Any]]) -> Any:
    return ops.stack([ops.stack(row, axis=-1) for row in rows], axis=-2)


def _homogeneous(size: tuple[int, int], align_corners: bool, dtype: Any) -> np.ndarray:
    """Return the points (x, y, 1) of the regular grid, `(rows · columns, 3)`."""
    grid = regular_grid(size, align_corners).reshape(-1, 2)
    return np.column_stack([grid, np.ones(len(grid))]).astype(keras.backend.standardize_dtype(dtype))


def _radial(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute U(r) = r² log r² for the distances r between all pairs."""
    squared = ((a[:, None] - b[None]) ** 2).sum(axis=-1)
    return squared * np.log(np.where(squared > 0, squared, 1.0))


def _check(name: str, tensor: Any, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape[1:]) != shape or len(tensor.shape) != len(shape) + 1:
        expected = ", ".join(map(str, shape))
        raise ValueError(f"expected {name} (batch, {expected}), received {tuple(tensor.shape)}")
