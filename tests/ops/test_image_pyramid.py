"""Pyramids against matrices of weights, for pictures of every size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_segattn.ops.image_pyramid import expanded, gaussian_pyramid, laplacian_pyramid, reduced

# Rounding of float32 sums of at most 25 products.
TOLERANCE = 1e-5
WEIGHTS = np.array([1, 4, 6, 4, 1]) / 16
SIZES = st.integers(1, 19)


def matrices(size):
    """Return REDUCE and EXPAND in one dimension, by Burt and Adelson's equations 1 and 2, with rows that sum to 1."""
    fine, coarse = np.arange(size), np.arange((size + 1) // 2)
    distance = fine[:, None] - 2 * coarse[None] + 2
    weights = np.where((distance >= 0) & (distance < 5), WEIGHTS[distance.clip(0, 4)], 0)
    return weights.T / weights.T.sum(1, keepdims=True), weights / weights.sum(1, keepdims=True)


def picture(height, width, channels=2):
    return np.random.default_rng([height, width]).uniform(-1, 1, (2, height, width, channels)).astype("float32")


@pytest.mark.one_backend
@given(SIZES, SIZES)
@settings(max_examples=30, deadline=None)
def test_reduce_and_expand_are_the_published_sums(height, width):
    assert_published_sums(height, width)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (6, 5)])
def test_published_sums_on_every_backend(height, width):
    assert_published_sums(height, width)


def assert_published_sums(height, width):
    x = picture(height, width)
    (down, up), (across, back) = matrices(height), matrices(width)
    small = np.einsum("ph,bhwc,qw->bpqc", down, x, across)
    np.testing.assert_allclose(reduced(x), small, atol=TOLERANCE)
    large = np.einsum("hp,bpqc,wq->bhwc", up, small, back)
    np.testing.assert_allclose(expanded(small.astype("float32"), height, width), large, atol=TOLERANCE)


@pytest.mark.one_backend
@given(SIZES, SIZES, st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_levels_have_half_the_size_and_add_up_to_the_picture(height, width, levels):
    x = picture(height, width)
    pyramid = laplacian_pyramid(x, levels)
    assert [tuple(level.shape[1:3]) for level in pyramid] == [
        (-(-height // 2**level), -(-width // 2**level)) for level in range(levels)
    ]
    whole = pyramid[-1]
    for band in reversed(pyramid[:-1]):
        whole = band + expanded(whole, *band.shape[1:3])
    np.testing.assert_allclose(whole, x, atol=TOLERANCE)


@pytest.mark.slow_on_jax
def test_one_colour_has_no_bands():
    x = np.full((1, 13, 6, 3), 0.7, "float32")
    *bands, residual = laplacian_pyramid(x, 3)
    assert all(np.abs(ops.convert_to_numpy(band)).max() < TOLERANCE for band in bands)
    np.testing.assert_allclose(residual, np.full((1, 4, 2, 3), 0.7), atol=TOLERANCE)
    np.testing.assert_allclose(gaussian_pyramid(x, 3)[-1], residual, atol=0)


def test_a_shift_by_two_shifts_the_next_level_by_one():
    x = picture(24, 20)
    shifted = np.roll(x, 2, axis=1)
    np.testing.assert_allclose(reduced(shifted)[:, 3:-2], reduced(x)[:, 2:-3], atol=TOLERANCE)
