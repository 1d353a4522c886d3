import numpy as np
import pytest

from keras_segattn.metrics import stride_frequency_power

ROWS, COLUMNS = np.indices((12, 8))


@pytest.mark.parametrize(
    ("pattern", "stride"), [((ROWS + COLUMNS) % 2, 2), (COLUMNS % 2, 2), ((ROWS % 4 == 1) * 1, 4), (ROWS % 3, 3)]
)
def test_a_pattern_of_the_stride_is_all_power(pattern, stride):
    if stride == 3:
        pattern = pattern[:, :6]
    images = 5 + np.stack([pattern, 3 * pattern])[..., None]
    assert stride_frequency_power(images, stride) == pytest.approx(1)


def test_other_patterns_are_none():
    wave = np.sin(2 * np.pi * ROWS / 12)[None, :, :, None]
    assert stride_frequency_power(wave) == pytest.approx(0, abs=1e-12)
    half = wave / np.abs(wave).max() + 0  # the pattern below has the same power
    board = (np.sqrt((half**2).mean()) * (-1.0) ** (ROWS + COLUMNS))[None, :, :, None]
    assert stride_frequency_power(half + board) == pytest.approx(0.5)


def test_white_noise_has_its_share():
    noise = np.random.default_rng(0).normal(size=(500, 12, 8, 3))
    assert stride_frequency_power(noise) == pytest.approx(3 / 95, rel=0.05)


@pytest.mark.parametrize(
    ("shape", "stride", "message"),
    [
        ((12, 8, 3), 2, "expected"),
        ((1, 12, 8, 3), 5, r"divided by a stride > 1, got \(1, 12, 8, 3\), 5"),
        ((1, 12, 8, 3), 1, "a stride > 1"),
        ((1, 12, 8, 3), 0, "stride must be a positive integer"),
        ((1, 12, 8, 3), 2, "not constant"),
    ],
)
def test_what_has_no_power_is_named(shape, stride, message):
    with pytest.raises(ValueError, match=message):
        stride_frequency_power(np.ones(shape), stride)
