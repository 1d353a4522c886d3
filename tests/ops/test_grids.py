"""Grid generators against torch's affine_grid, a solved spline and the rules of matrices."""

import keras
import numpy as np
import pytest
import sampling_oracles as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_segattn.ops import affine_grid, projective_grid, thin_plate_spline_grid
from keras_segattn.ops.grids import attention_matrix, control_points, regular_grid, rotation_matrix
from keras_segattn.ops.transformations import TRANSFORMATIONS

# Rounding of points around 1 in float32.
TOLERANCE = 1e-5
sizes = st.tuples(st.integers(1, 6), st.integers(1, 6))


def matrices(seed, rows=2, count=3):
    """Matrices near the identity; with three rows, the last keeps the denominator positive."""
    random = np.random.default_rng(seed)
    theta = np.eye(3)[:rows] + random.normal(0, 0.5, (count, rows, 3))
    if rows == 3:
        theta[:, 2] = np.concatenate([random.uniform(-0.4, 0.4, (count, 2)), np.ones((count, 1))], axis=1)
    return theta.astype("float32")


def homogeneous(theta):
    """Affine maps `(n, 2, 3)` as square matrices."""
    return np.concatenate([theta, np.broadcast_to(np.float32([[0, 0, 1]]), (len(theta), 1, 3))], axis=1)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=sizes, align_corners=st.booleans())
@pytest.mark.slow_on_jax
def test_arrays_of_all_sizes_are_mapped_point_by_point(seed, size, align_corners):
    affine, square = matrices(seed), matrices(seed, 3)
    found = ops.convert_to_numpy(affine_grid(affine, size, align_corners))
    projected = ops.convert_to_numpy(projective_grid(square, size, align_corners))
    assert found.shape == projected.shape == (3, *size, 2)
    for row in range(size[0]):
        for column in range(size[1]):
            y, x = (
                0.0 if align_corners and count == 1 else float(oracle.normalised(place, count, align_corners))
                for place, count in zip((row, column), size, strict=True)
            )
            np.testing.assert_allclose(found[:, row, column], affine @ (x, y, 1), atol=TOLERANCE)
            u, v, w = (square @ (x, y, 1)).T
            np.testing.assert_allclose(
                projected[:, row, column], np.stack([u, v], 1) / w[:, None], rtol=1e-4, atol=1e-4
            )


def test_a_grid_runs_along_x_first():
    grid = regular_grid((2, 3))
    np.testing.assert_array_equal(grid[..., 0], [[-1, 0, 1]] * 2)
    np.testing.assert_array_equal(grid[..., 1], [[-1] * 3, [1] * 3])
    np.testing.assert_allclose(
        regular_grid((1, 4), align_corners=False)[0], [(x, 0) for x in (-0.75, -0.25, 0.25, 0.75)]
    )


def test_a_projective_map_without_perspective_is_affine():
    theta = matrices(1)
    for align_corners in (True, False):
        affine = affine_grid(theta, (4, 5), align_corners)
        projective = projective_grid(homogeneous(theta), (4, 5), align_corners)
        np.testing.assert_allclose(projective, affine, atol=1e-6)


@pytest.mark.parametrize("rows", [2, 3])
def test_one_map_after_another_is_their_product(rows):
    first, second = matrices(1, rows), matrices(2, rows)
    if rows == 3:
        first[:, 2] = second[:, 2] = (0.1, -0.2, 1)
        product, grid = second @ first, projective_grid
    else:
        product, grid = (homogeneous(second) @ homogeneous(first))[:, :2], affine_grid
    points = ops.convert_to_numpy(grid(first, (4, 3)))
    mapped = np.einsum("bij,bhwj->bhwi", second, np.concatenate([points, np.ones((*points.shape[:3], 1))], axis=-1))
    if rows == 3:
        mapped = mapped[..., :2] / mapped[..., 2:]
    np.testing.assert_allclose(grid(product, (4, 3)), mapped, rtol=1e-4, atol=1e-4)


def test_a_vanishing_denominator_gives_finite_values_and_gradients():
    # The denominator is 0 in the left column, and near it, on both sides, in the others.
    theta = np.array([[[1, 0, 0], [0, 1, 0], [1, 0, 1]], [[1, 0, 0], [0, 1, 0], [1e-7, 0, 0]]], "float32")
    theta = np.concatenate([theta, np.zeros((1, 3, 3), "float32")])
    found = oracle.value_and_gradients(lambda t: projective_grid(t, (3, 3)), np.ones((3, 3, 3, 2)), theta)
    for array in found:
        assert np.isfinite(array).all()
    assert np.abs(found[0][0, :, 0]).max() >= 1e5


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=sizes,
    points=st.tuples(st.integers(2, 5), st.integers(2, 5)),
    align_corners=st.booleans(),
)
@pytest.mark.slow_on_jax
def test_a_spline_of_any_sizes_is_the_solved_one(seed, size, points, align_corners):
    control = control_points(points)
    offsets = np.random.default_rng(seed).normal(0, 0.3, (2, len(control), 2)).astype("float32")
    grid = regular_grid(size, align_corners)
    found = thin_plate_spline_grid(offsets, size, points, align_corners)
    for ours, moves in zip(ops.convert_to_numpy(found), offsets, strict=True):
        expected = oracle.thin_plate_spline(control, control + moves, grid.reshape(-1, 2))
        np.testing.assert_allclose(ours.reshape(-1, 2), expected, atol=TOLERANCE)


@pytest.mark.parametrize("points", [(2, 2), (4, 4), (3, 5)])
def test_a_spline_goes_through_its_control_points(points):
    control = control_points(points)
    offsets = np.random.default_rng(0).normal(0, 0.3, (2, len(control), 2)).astype("float32")
    found = ops.convert_to_numpy(thin_plate_spline_grid(offsets, points, points))
    np.testing.assert_allclose(found.reshape(offsets.shape), control + offsets, atol=TOLERANCE)


@pytest.mark.parametrize("points", [(2, 2), (4, 4), (3, 5)])
def test_a_spline_through_affinely_moved_points_is_that_affine_map(points):
    theta, control = matrices(3), control_points(points)
    moved = np.einsum("bij,kj->bki", theta, np.column_stack([control, np.ones(len(control))]))
    found = thin_plate_spline_grid((moved - control).astype("float32"), (6, 5), points)
    np.testing.assert_allclose(found, affine_grid(theta, (6, 5)), atol=TOLERANCE)


def test_matrices_are_equation_2_and_a_turn():
    np.testing.assert_array_equal(
        attention_matrix(np.float32([[0.5, 0.1, -0.2]])), np.float32([[[0.5, 0, 0.1], [0, 0.5, -0.2]]])
    )
    quarter = rotation_matrix(np.float32([[np.pi / 2]]))
    np.testing.assert_allclose(quarter, [[[0, -1, 0], [1, 0, 0]]], atol=1e-6)
    angle = np.random.default_rng(0).uniform(-4, 4, (5, 1)).astype("float32")
    linear = ops.convert_to_numpy(rotation_matrix(angle))[..., :2]
    np.testing.assert_allclose(linear @ linear.transpose(0, 2, 1), np.broadcast_to(np.eye(2), (5, 2, 2)), atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(linear), np.ones(5), atol=1e-6)


@pytest.mark.parametrize("transform", TRANSFORMATIONS)
@pytest.mark.parametrize("align_corners", [True, False])
def test_the_identity_of_each_family_is_the_regular_grid(transform, align_corners):
    identity, grid = TRANSFORMATIONS[transform]
    theta = np.array([identity] * 2, "float32")
    found = grid(theta, (5, 7), align_corners)
    np.testing.assert_allclose(found, np.stack([regular_grid((5, 7), align_corners)] * 2), atol=1e-6)


def test_families_order_their_numbers_row_by_row():
    random = np.random.default_rng(0)
    theta = (np.eye(3).ravel()[:8] + random.uniform(-0.2, 0.2, (2, 8))).astype("float32")
    size = (4, 5)

    def grid_of(transform, numbers):
        return ops.convert_to_numpy(TRANSFORMATIONS[transform].grid(numbers, size, True))

    np.testing.assert_allclose(grid_of("affine", theta[:, :6]), affine_grid(theta[:, :6].reshape(2, 2, 3), size))
    square = np.concatenate([theta, np.ones((2, 1), "float32")], axis=1).reshape(2, 3, 3)
    np.testing.assert_allclose(grid_of("projective", theta), projective_grid(square, size), rtol=1e-6)
    shift = np.float32([[0.25, -0.5]])
    np.testing.assert_allclose(grid_of("translation", shift)[0], regular_grid(size) + shift, atol=1e-6)
    moves = random.normal(0, 0.1, (1, 16, 2)).astype("float32")
    spline = thin_plate_spline_grid(moves, size)
    np.testing.assert_allclose(grid_of("thin_plate_spline", moves.reshape(1, 32)), spline, atol=1e-6)


def test_mixed_precision_keeps_coordinates_in_float32():
    for dtype in ("float16", "bfloat16", "float32"):
        for transform, (identity, grid) in TRANSFORMATIONS.items():
            theta = ops.cast(np.array([identity], "float32"), dtype)
            assert keras.backend.standardize_dtype(grid(theta, (3, 4), True).dtype) == "float32", (transform, dtype)
    if keras.backend.backend() == "tensorflow":
        found = affine_grid(matrices(0).astype("float64"), (3, 4))
        assert keras.backend.standardize_dtype(found.dtype) == "float64"


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("function", "shape", "arguments", "message"),
    [
        (affine_grid, (2, 6), ((4, 4),), r"expected theta \(batch, 2, 3\), received \(2, 6\)"),
        (affine_grid, (2, 3, 3), ((4, 4),), r"expected theta \(batch, 2, 3\), received \(2, 3, 3\)"),
        (affine_grid, (2, 3), ((4, 4),), r"expected theta \(batch, 2, 3\), received \(2, 3\)"),
        (projective_grid, (1, 2, 3), ((4, 4),), r"expected theta \(batch, 3, 3\), received \(1, 2, 3\)"),
        (thin_plate_spline_grid, (1, 9, 2), ((4, 4),), r"expected offsets \(batch, 16, 2\), received \(1, 9, 2\)"),
        (thin_plate_spline_grid, (1, 4, 2), ((4, 4), (1, 4)), r"at least 2 by 2 control points, received \(1, 4\)"),
        (thin_plate_spline_grid, (1, 8, 2), ((4, 4), (2, 2, 2)), "positive integers, received"),
        (thin_plate_spline_grid, (1, 8, 2), ((4, 4), 4), "positive integers, received 4"),
        (affine_grid, (1, 2, 3), ((True, 4),), r"positive integers, received \(True, 4\)"),
        (attention_matrix, (1, 2), (), r"expected theta \(batch, 3\), received \(1, 2\)"),
        (rotation_matrix, (4,), (), r"expected angle \(batch, 1\), received \(4,\)"),
        (affine_grid, (1, 2, 3), ((4, 0),), r"size \(rows, columns\) of positive integers, received \(4, 0\)"),
        (affine_grid, (1, 2, 3), ((4, 2.0),), r"size \(rows, columns\) of positive integers, received \(4, 2.0\)"),
        (affine_grid, (1, 2, 3), ((4, None),), r"size \(rows, columns\) of positive integers, received \(4, None\)"),
        (affine_grid, (1, 2, 3), ((4, 4, 4),), r"size \(rows, columns\) of positive integers, received \(4, 4, 4\)"),
        (affine_grid, (1, 2, 3), ((4,),), r"size \(rows, columns\) of positive integers, received \(4,\)"),
        (affine_grid, (1, 2, 3), (4,), r"size \(rows, columns\) of positive integers, received 4"),
    ],
)
def test_bad_arguments_are_named(function, shape, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(np.zeros(shape, "float32"), *arguments)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:Since version 1.3.0, affine_grid behavior has changed for unit-size grids")
@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=sizes, align_corners=st.booleans())
def test_torch_agrees_on_affine_grids(seed, size, align_corners):
    import torch

    theta = matrices(seed)
    expected = torch.nn.functional.affine_grid(torch.from_numpy(theta), (3, 1, *size), align_corners)
    np.testing.assert_allclose(affine_grid(theta, size, align_corners), expected, atol=TOLERANCE)
