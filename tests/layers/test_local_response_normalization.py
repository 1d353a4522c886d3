import numpy as np
import pytest
from keras import ops

from keras_segattn.layers import LocalResponseNormalization


def naive(x, size, alpha, beta, bias):
    y = np.empty_like(x)
    for channel in range(x.shape[-1]):
        window = x[..., max(0, channel - size // 2) : channel + size // 2 + 1]
        y[..., channel] = x[..., channel] / (bias + alpha / size * (window**2).sum(-1)) ** beta
    return y


@pytest.mark.parametrize(("size", "channels"), [(5, 8), (3, 2), (5, 1), (1, 4)])
def test_against_the_formula(size, channels):
    x = np.random.default_rng(0).normal(0, 30, size=(2, 3, 4, channels))
    y = ops.convert_to_numpy(LocalResponseNormalization(size, 1e-2, 0.75, 2.0)(x.astype("float32")))
    np.testing.assert_allclose(y, naive(x, size, 1e-2, 0.75, 2.0), rtol=1e-5)  # float32 power


def test_float16_does_not_overflow():
    x = np.full((1, 1, 1, 5), 300.0, "float16")  # its square is beyond float16
    y = LocalResponseNormalization(dtype="float16")(x)
    assert np.isfinite(ops.convert_to_numpy(y)).all()


@pytest.mark.one_backend
@pytest.mark.parametrize("size", [0, 2])
def test_bad_size(size):
    with pytest.raises(ValueError, match="size must be odd and positive"):
        LocalResponseNormalization(size)


@pytest.mark.parity
def test_against_torch():
    import torch

    x = np.random.default_rng(0).normal(0, 30, size=(2, 7, 5, 11)).astype("float32")
    theirs = torch.nn.LocalResponseNorm(5, 1e-2, 0.75, 2.0)(torch.from_numpy(x.transpose(0, 3, 1, 2)))
    ours = ops.convert_to_numpy(LocalResponseNormalization(5, 1e-2, 0.75, 2.0)(x))
    np.testing.assert_allclose(ours, theirs.numpy().transpose(0, 2, 3, 1), rtol=1e-5)  # float32 power
