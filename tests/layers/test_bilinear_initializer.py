import keras
import numpy as np
import pytest
from keras import ops

from keras_segattn.layers import BilinearInitializer


def test_channels_do_not_mix():
    kernel = ops.convert_to_numpy(BilinearInitializer()((4, 4, 3, 3)))
    assert kernel[:, :, 0, 1].max() == 0
    np.testing.assert_array_equal(kernel[:, :, 0, 0], kernel[:, :, 2, 2])


@pytest.mark.parametrize("factor", [2, 8])
def test_interior_equals_bilinear_resize(factor):
    x = np.random.default_rng(0).normal(size=(1, 6, 7, 2)).astype("float32")
    up = keras.layers.Conv2DTranspose(
        2, 2 * factor, factor, padding="same", use_bias=False, kernel_initializer=BilinearInitializer()
    )(x)
    resized = ops.image.resize(x, (6 * factor, 7 * factor), "bilinear")
    inner = slice(factor, -factor)
    difference = np.abs(ops.convert_to_numpy(up - resized))[:, inner, inner]
    assert difference.max() < 1e-5  # float32 rounding of sums of four products


@pytest.mark.one_backend
@pytest.mark.parametrize("shape", [(4, 5, 2, 2), (4, 4, 2, 3), (4, 4, 2)])
def test_bad_shape(shape):
    with pytest.raises(ValueError, match=r"has shape \(size, size, channels, channels\), received"):
        BilinearInitializer()(shape)


def test_serialisation():
    layer = keras.layers.Conv2DTranspose(2, 4, 2, kernel_initializer=BilinearInitializer())
    again = keras.layers.Conv2DTranspose.from_config(layer.get_config())
    assert isinstance(again.kernel_initializer, BilinearInitializer)
