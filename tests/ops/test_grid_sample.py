"""The sampler against equations 3 to 7 of the paper, torch's grid_sample and finite differences."""

import contextlib

import keras
import numpy as np
import pytest
import sampling_oracles as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_segattn.ops import affine_grid, dense_image_warp, grid_sample, resampler
from keras_segattn.ops.grid_sample import INTERPOLATIONS, PADDINGS
from keras_segattn.ops.portable import portable_operators

# float32: rounding of a position of up to 40 pixels, times the difference of two pixels, for values around 1; where
# gradients add up, relative to the largest.
TOLERANCE = 1e-5
# Rounding in float64, and rounding of a difference of two values over a step of 1e-6.
EXACT, NUMERIC = 1e-9, 1e-6
# (shape of the images, rows and columns of the grid): one pixel, one row, few and many channels. XLA compiles each.
SHAPES = [((1, 1, 1, 1), (1, 1)), ((2, 1, 5, 3), (4, 2)), ((3, 9, 5, 6), (2, 3))]
TENSORFLOW = keras.backend.backend() == "tensorflow"
FORMS = [portable_operators, contextlib.nullcontext] if TENSORFLOW else [contextlib.nullcontext]


def relative(found, expected):
    """Largest difference, divided by the largest expected value if that is above 1."""
    found, expected = np.asarray(found, "float64"), np.asarray(expected, "float64")
    assert found.shape == expected.shape
    return np.abs(found - expected).max(initial=0) / max(1.0, np.abs(expected).max(initial=0))


def case(seed, shape, size, align_corners, reach=3):
    random = np.random.default_rng(seed)
    images = random.normal(size=shape)
    grid = oracle.points(random, (shape[0], *size), shape[1:3], align_corners, reach)
    return images, grid, random.normal(size=(shape[0], *size, shape[-1]))


def sampled(images, grid, upstream, *arguments):
    return oracle.value_and_gradients(lambda i, g: grid_sample(i, g, *arguments), upstream, images, grid)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("padding", PADDINGS)
def test_values_and_gradients_are_the_papers(padding, align_corners):
    for seed, (shape, size) in enumerate(SHAPES):
        images, grid, upstream = (x.astype("float32") for x in case(seed, shape, size, align_corners))
        with portable_operators():
            found = sampled(images, grid, upstream, "bilinear", padding, align_corners)
        expected = oracle.sample(images, grid, upstream, padding, align_corners)
        assert max(map(relative, found, expected)) <= TOLERANCE


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.integers(1, 6)),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.sampled_from(PADDINGS),
    align_corners=st.booleans(),
)
@pytest.mark.slow_on_jax
def test_arrays_of_all_shapes_and_sizes_are_the_equations(seed, shape, size, padding, align_corners):
    images, grid, upstream = (x.astype("float32") for x in case(seed, shape, size, align_corners, reach=8))
    with portable_operators():
        found = sampled(images, grid, upstream, "bilinear", padding, align_corners)
    expected = oracle.sample(images, grid, upstream, padding, align_corners)
    assert max(map(relative, found, expected)) <= TOLERANCE


@pytest.mark.skipif(not TENSORFLOW, reason="JAX computes in float32")
@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_finite_differences_in_float64(form):
    images, grid, upstream = case(0, *SHAPES[2], True)
    step = 1e-6
    with form():
        value, *gradients = sampled(images, grid, upstream)
        assert value.dtype == np.float64
        for place, gradient in enumerate(gradients):
            direction = np.random.default_rng(1).normal(size=gradient.shape)
            ends = []
            for sign in (1, -1):
                moved = [images, grid]
                moved[place] = moved[place] + sign * step * direction
                ends.append((ops.convert_to_numpy(grid_sample(*map(ops.convert_to_tensor, moved))) * upstream).sum())
            assert abs((ends[0] - ends[1]) / (2 * step) - (gradient * direction).sum()) < NUMERIC
    expected = oracle.sample(images, grid, upstream, "zeros", True)
    assert relative(value, expected[0]) <= EXACT


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_at_whole_pixels_the_slope_is_the_difference_to_the_next(form, padding):
    row = np.array([2, 3, 5, 9, 1], "float32")
    places = np.arange(-2, 7)
    x = oracle.normalised(places, 5, True).astype("float32")
    grid = np.stack([x, np.zeros_like(x)], axis=-1)[None, None]
    with form():
        value, _, slope = sampled(row.reshape(1, 1, 5, 1), grid, np.ones((1, 1, 9, 1)), "bilinear", padding, True)
    if padding == "zeros":
        # Gradients are not 0 from -1, just before the first pixel, to the last pixel, whose neighbour is outside.
        np.testing.assert_array_equal(value.ravel(), [0, 0, *row, 0, 0])
        expected = [0, 2, 1, 2, 4, -8, -1, 0, 0]
    else:
        # The border begins at the first and at the last pixel.
        np.testing.assert_array_equal(value.ravel(), [2, 2, *row, 1, 1])
        expected = [0, 0, 0, 2, 4, -8, 0, 0, 0]
    np.testing.assert_array_equal(slope[0, 0, :, 0], 2.0 * np.array(expected))
    np.testing.assert_array_equal(slope[..., 1], 0)


@pytest.mark.parametrize("form", FORMS)
def test_nearest_rounds_halves_up_and_passes_no_gradient_to_the_grid(form):
    row = np.array([2, 3, 5, 9, 1], "float32")
    places = np.array([-0.75, -0.5, 0.25, 0.5, 1.25, 1.5, 2.5, 4.25, 4.5])
    x = oracle.normalised(places, 5, True).astype("float32")
    grid = np.stack([x, np.zeros_like(x)], axis=-1)[None, None]
    with form():
        found, pixels, slope = sampled(row.reshape(1, 1, 5, 1), grid, np.ones((1, 1, 9, 1)), "nearest")
    np.testing.assert_array_equal(found.ravel(), [0, 2, 2, 3, 3, 5, 9, 1, 0])
    np.testing.assert_array_equal(pixels.ravel(), [2, 2, 1, 1, 1])
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("padding", PADDINGS)
def test_nearest_is_the_pixel_at_hand(padding):
    for seed, (shape, size) in enumerate(SHAPES):
        images, grid, upstream = (x.astype("float32") for x in case(seed, shape, size, False))
        with portable_operators():
            found, to_images, _ = sampled(images, grid, upstream, "nearest", padding, False)
        expected, pixels = np.zeros(found.shape), np.zeros(images.shape)
        for place in np.ndindex(grid.shape[:-1]):
            x, y = (
                int(np.floor(oracle.pixel(float(coordinate), count, padding, False)[0] + 0.5))
                for coordinate, count in zip(grid[place], shape[2:0:-1], strict=True)
            )
            if 0 <= x < shape[2] and 0 <= y < shape[1]:
                expected[place] = images[place[0], y, x]
                pixels[place[0], y, x] += upstream[place]
        np.testing.assert_array_equal(found, expected.astype("float32"))
        assert relative(to_images, pixels) <= TOLERANCE


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.slow_on_jax
def test_the_identity_changes_nothing(interpolation, align_corners):
    identity = np.array([[[1, 0, 0], [0, 1, 0]]], "float32")
    random = np.random.default_rng(0)
    # With these sides all positions are exact in float32, with others they are rounded.
    height, width = (9, 5) if align_corners else (8, 4)
    for size, limit in (((height, width), 0), ((28, 31), TOLERANCE)):
        images = random.normal(size=(1, *size, 3)).astype("float32")
        with portable_operators():
            same = grid_sample(
                images, affine_grid(identity, size, align_corners), interpolation, "zeros", align_corners
            )
        assert np.abs(ops.convert_to_numpy(same) - images).max() <= limit


def test_an_identity_grid_of_any_size_reads_the_corners():
    images = np.random.default_rng(0).normal(size=(1, 6, 7, 2)).astype("float32")
    grid = affine_grid(np.array([[[1, 0, 0], [0, 1, 0]]], "float32"), (3, 11))
    with portable_operators():
        found = ops.convert_to_numpy(grid_sample(images, grid))
    np.testing.assert_array_equal(found[:, ::2, ::10], images[:, ::5, ::6])


@pytest.mark.parametrize("align_corners", [True, False])
def test_quarter_turns_are_those_of_numpy(align_corners):
    images = np.random.default_rng(0).normal(size=(1, 5, 5, 2)).astype("float32")
    turn = np.array([[[0, -1, 0], [1, 0, 0]]], "float32")
    with portable_operators():
        found = grid_sample(images, affine_grid(turn, (5, 5), align_corners), align_corners=align_corners)
    np.testing.assert_allclose(found, np.rot90(images, axes=(1, 2)), atol=TOLERANCE)


@pytest.mark.parametrize(
    ("form", "padding"),
    [
        *((form, padding) for form in FORMS for padding in ("zeros", "reflection")),
        (portable_operators, "border"),
        *([pytest.param(contextlib.nullcontext, "border", marks=pytest.mark.thorough)] if TENSORFLOW else []),
    ],
)
@pytest.mark.slow_on_jax
def test_points_that_are_no_numbers_read_what_is_outside(form, padding):
    images = np.random.default_rng(0).uniform(1, 2, (1, 4, 4, 2)).astype("float32")
    far, inside = [np.nan, np.inf, -np.inf, 1e30, -1e30, 3e9], [0.1, -0.3]
    grid = np.array([[[[value, 0.2] for value in far], [[0.2, value] for value in far]]], "float32")
    grid = np.concatenate([grid, np.broadcast_to(np.float32(inside), (1, 1, len(far), 2))], axis=1)
    upstream = np.ones((1, 3, len(far), 2))
    for interpolation, align_corners in (("bilinear", True), ("bilinear", False), ("nearest", True)):
        if form is not portable_operators and align_corners:
            continue  # compiling each of these takes a second
        with form():
            found, *gradients = sampled(images, grid, upstream, interpolation, padding, align_corners)
        assert np.isfinite(found).all()
        assert all(np.isfinite(gradient).all() for gradient in gradients)
        assert (found[:, 2] >= 1).all()
        if padding == "zeros":
            np.testing.assert_array_equal(found[:, :2], 0)
        else:
            assert (found[:, :2] >= 1).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_mixed_precision_keeps_coordinates_apart(form, dtype):
    random = np.random.default_rng(0)
    images = random.normal(size=(1, 6, 300, 2)).astype("float32")
    grid = oracle.points(random, (1, 3, 4), (6, 300), True, reach=0).astype("float32")
    with form():
        found = grid_sample(ops.cast(images, dtype), grid)
        integers = grid_sample(ops.cast(images, dtype), grid, "nearest")
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    assert keras.backend.standardize_dtype(integers.dtype) == dtype
    expected = oracle.sample(images, grid, np.zeros((1, 3, 4, 2)), "zeros", True)[0]
    # Values are rounded a few times; positions rounded to this dtype would be off by a pixel.
    epsilon = {"float16": 2**-10, "bfloat16": 2**-7}[dtype]
    assert relative(ops.cast(found, "float32"), expected) < 4 * epsilon


@pytest.mark.skipif(not TENSORFLOW, reason="compares TensorFlow's kernels with keras.ops")
@pytest.mark.parametrize(
    ("padding", "interpolation"),
    [
        ("zeros", "bilinear"),
        ("reflection", "bilinear"),
        ("zeros", "nearest"),
        pytest.param("border", "bilinear", marks=pytest.mark.thorough),
        pytest.param("border", "nearest", marks=pytest.mark.thorough),
        pytest.param("reflection", "nearest", marks=pytest.mark.thorough),
    ],
)
def test_compiled_and_portable_forms_agree(interpolation, padding):
    inputs = [x.astype("float32") for x in case(0, *SHAPES[2], True)]
    compiled = sampled(*inputs, interpolation, padding, True)
    with portable_operators():
        portable = sampled(*inputs, interpolation, padding, True)
    assert max(map(relative, compiled, portable)) <= TOLERANCE


@pytest.mark.skipif(not TENSORFLOW, reason="traces with TensorFlow")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("known", [(None, 5, 6, 3), (None, None, None, 5), (2, None, 6, 3)])
def test_open_sizes_are_found_when_it_runs(form, known):
    import tensorflow as tf

    signature = [tf.TensorSpec(known, tf.float32), tf.TensorSpec((None, None, None, 2), tf.float32)]

    @tf.function(input_signature=signature)
    def traced(images, grid):
        return grid_sample(images, grid, "bilinear", "zeros", True)

    for batch, rows in ((2, 1), (2, 3)) if known[0] else ((1, 3), (4, 2)):
        shape = (batch, known[1] or 4 + rows, known[2] or 7, known[3])
        images, grid, upstream = (x.astype("float32") for x in case(batch, shape, (rows, 4), True))
        with form():
            found = traced(images, grid)
        assert relative(found, oracle.sample(images, grid, upstream, "zeros", True)[0]) <= TOLERANCE


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("between", [(), (4,), (2, 3)])
@pytest.mark.slow_on_jax
def test_resampler_reads_pixels_with_zeros_around(form, between):
    random = np.random.default_rng(0)
    data = random.normal(size=(2, 5, 4, 3)).astype("float32")
    warp = random.uniform(-2, 6, (2, *between, 2)).astype("float32")
    upstream = random.normal(size=(2, *between, 3))
    with form():
        found = oracle.value_and_gradients(resampler, upstream, data, warp)
    normal = np.stack([oracle.normalised(warp[..., i].astype("float64"), (4, 5)[i], True) for i in (0, 1)], axis=-1)
    value, to_data, to_normal = oracle.sample(data, normal, upstream, "zeros", True)
    assert max(map(relative, found, (value, to_data, to_normal / (1.5, 2)))) <= TOLERANCE


def test_dense_image_warp_takes_the_flow_away():
    random = np.random.default_rng(0)
    image = random.normal(size=(2, 5, 4, 3)).astype("float32")
    flow = random.uniform(-4, 4, (2, 5, 4, 2)).astype("float32")
    with portable_operators():
        found = dense_image_warp(image, flow)
        same = dense_image_warp(image, np.zeros_like(flow))
        down = dense_image_warp(image, np.broadcast_to(np.float32([1, 0]), flow.shape))
    rows, columns = np.arange(5.0)[:, None] - flow[..., 0], np.arange(4.0) - flow[..., 1]
    grid = np.stack([oracle.normalised(columns, 4, True), oracle.normalised(rows, 5, True)], axis=-1)
    assert relative(found, oracle.sample(image, grid, np.zeros((2, 5, 4, 3)), "border", True)[0]) <= TOLERANCE
    np.testing.assert_array_equal(same, image)
    np.testing.assert_array_equal(down, image[:, [0, 0, 1, 2, 3]])


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("images", "grid", "arguments", "message"),
    [
        ((1, 4, 4), (1, 2, 2, 2), {}, r"expected images \(batch, height, width, channels\), received \(1, 4, 4\)"),
        ((1, 4, 4, 1), (1, 2, 2), {}, r"expected a grid \(batch, rows, columns, 2\), received \(1, 2, 2\)"),
        ((1, 4, 4, 1), (1, 2, 2, 3), {}, r"expected points \(batch, …, 2\), received \(1, 2, 2, 3\)"),
        ((3, 4, 4, 1), (2, 2, 2, 2), {}, "expected points for each of 3 images, received 2"),
        ((1, 4, 4, 1), (1, 2, 2, 2), {"padding": "wrap"}, "padding must be one of 'zeros', 'border', 'reflection'"),
        (
            (1, 4, 4, 1),
            (1, 2, 2, 2),
            {"interpolation": "bicubic"},
            "interpolation must be one of 'bilinear', 'nearest'",
        ),
        (
            (1, 4, 4, 1),
            (1, 2, 2, 2),
            {"align_corners": None},
            "align_corners must be one of True, False, received None",
        ),
    ],
)
def test_bad_arguments_are_named(images, grid, arguments, message):
    with pytest.raises(ValueError, match=message):
        grid_sample(np.zeros(images, "float32"), np.zeros(grid, "float32"), **arguments)


@pytest.mark.one_backend
def test_bad_warps_are_named():
    image = np.zeros((1, 4, 4, 1), "float32")
    with pytest.raises(ValueError, match=r"expected points \(batch, …, 2\), received \(2,\)"):
        resampler(image, np.zeros(2, "float32"))
    with pytest.raises(ValueError, match=r"expected a flow \(batch, height, width, 2\), received \(1, 4, 2\)"):
        dense_image_warp(image, np.zeros((1, 4, 2), "float32"))
    with pytest.raises(ValueError, match=r"expected a flow \(batch, height, width, 2\), received \(1, 4, 4, 3\)"):
        dense_image_warp(image, np.zeros((1, 4, 4, 3), "float32"))


def mixture(seed, shape, size, align_corners):
    """Points between pixels, on them where float32 holds them exactly, on the border and far outside."""
    random = np.random.default_rng(seed)
    images, grid, upstream = case(seed, shape, size, align_corners, reach=8)
    kind = random.integers(0, 4, grid.shape[:-1])
    for axis, count in enumerate(shape[2:0:-1]):
        whole = oracle.normalised(random.integers(-2, count + 2, kind.shape), count, align_corners)
        steps = count - 1 if align_corners else count
        exact = steps & (steps - 1) == 0
        grid[..., axis] = np.where((kind == 1) & exact, whole, grid[..., axis])
        grid[..., axis] = np.where(kind == 2, random.choice([-1, 1], kind.shape), grid[..., axis])
    return [x.astype("float32") for x in (images, grid, upstream)]


def torch_sampled(images, grid, upstream, interpolation, padding, align_corners):
    import torch

    images = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).requires_grad_()
    grid = torch.from_numpy(grid).requires_grad_()
    value = torch.nn.functional.grid_sample(images, grid, interpolation, padding, align_corners)
    value.backward(torch.from_numpy(upstream.transpose(0, 3, 1, 2).copy()))
    return [x.detach().numpy().transpose(0, 2, 3, 1) for x in (value, images.grad)] + [grid.grad.numpy()]


@pytest.mark.parity
@pytest.mark.parametrize("examples", [30, pytest.param(150, marks=pytest.mark.thorough)])
def test_torch_agrees_in_value_and_gradients(examples):
    @settings(max_examples=examples, deadline=None)
    @given(
        seed=st.integers(0, 2**32 - 1),
        shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 6)),
        size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
        padding=st.sampled_from(PADDINGS),
        align_corners=st.booleans(),
    )
    def agrees(seed, shape, size, padding, align_corners):
        inputs = mixture(seed, shape, size, align_corners)
        arguments = ("bilinear", padding, align_corners)
        with portable_operators():
            found = sampled(*inputs, *arguments)
        assert max(map(relative, found, torch_sampled(*inputs, *arguments))) <= TOLERANCE

    agrees()


@pytest.mark.parity
@pytest.mark.parametrize("examples", [15, pytest.param(50, marks=pytest.mark.thorough)])
def test_torch_agrees_in_nearest(examples):
    @settings(max_examples=examples, deadline=None)
    @given(
        seed=st.integers(0, 2**32 - 1),
        shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 6)),
        padding=st.sampled_from(PADDINGS),
        align_corners=st.booleans(),
    )
    def agrees(seed, shape, padding, align_corners):
        inputs = [x.astype("float32") for x in case(seed, shape, (3, 4), align_corners)]
        with portable_operators():
            found = sampled(*inputs, "nearest", padding, align_corners)
        assert max(map(relative, found, torch_sampled(*inputs, "nearest", padding, align_corners))) <= TOLERANCE

    agrees()


# XLA compiles the sampler for each shape.
@pytest.mark.parity
@pytest.mark.parametrize("align_corners", [True, pytest.param(False, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.thorough)])
def test_torch_agrees_with_the_compiled_form(seed, padding, align_corners):
    for shape, size in SHAPES:
        inputs = mixture(seed, shape, size, align_corners)
        arguments = ("bilinear", padding, align_corners)
        assert max(map(relative, sampled(*inputs, *arguments), torch_sampled(*inputs, *arguments))) <= TOLERANCE
