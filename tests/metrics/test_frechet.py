"""The Fréchet distance against closed forms and scipy's root of a matrix."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from keras_segattn.metrics import frechet_distance

# float64 sums, and scipy's iterations.
TOLERANCE = 1e-8


def features(count, size, seed):
    random = np.random.default_rng(seed)
    return random.normal(size=(count, size)) @ random.normal(size=(size, size)) + random.normal(size=size)


def whitened(count, size):
    """Mean 0 and covariance 1, exactly."""
    q, _ = np.linalg.qr(np.concatenate([np.ones((count, 1)), features(count, size, 0)], axis=1))
    return q[:, 1:] * np.sqrt(count - 1)


def test_gaussians_that_commute():
    x = whitened(50, 3)
    # (μ - 0)² + (σ - 1)², coordinate by coordinate.
    scale, shift = np.array([2.0, 0.5, 3.0]), np.array([1.0, 0.0, -2.0])
    assert frechet_distance(x, x * scale + shift) == pytest.approx((1 + 4) + (1 + 0.25 + 4), rel=TOLERANCE)


def test_against_the_definition():
    a, b = features(40, 5, 1), features(60, 5, 2)
    covariance_a, covariance_b = np.cov(a.T), np.cov(b.T)
    root = sqrtm(covariance_a @ covariance_b)
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(covariance_a + covariance_b - 2 * root.real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=TOLERANCE)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=TOLERANCE)


def test_fewer_images_than_features_and_unused_ones():
    a, shift = features(4, 7, 3), np.arange(7.0)
    a[:, 2] = 0  # a feature that is 0 for every image
    assert frechet_distance(a, a) == pytest.approx(0, abs=TOLERANCE)
    assert frechet_distance(a, a + shift) == pytest.approx(np.sum(shift**2), rel=TOLERANCE)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((4, 3)), np.zeros((4, 2)), r"received \(4, 3\) and \(4, 2\)"),
        (np.zeros((1, 3)), np.zeros((4, 3)), r"count > 1"),
        (np.zeros((4, 3, 1)), np.zeros((4, 3, 1)), r"\(count > 1, features\)"),
        (np.full((4, 3), np.nan), np.zeros((4, 3)), "finite"),
    ],
)
def test_bad_features(a, b, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(a, b)
