import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_segattn.layers import DilatedConv2D, DilatedMaxPooling2D

# Rounding of float32 sums of some dozen products, accumulated in another order.
TOLERANCE = 1e-5


def maps(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_one_kernel_at_any_dilation(dilation):
    layer, x = DilatedConv2D(4, (3, 2), activation="tanh", bias_initializer="ones"), maps(2, 11, 9, 3)
    layer(x)
    usual = keras.layers.Conv2D(4, (3, 2), dilation_rate=dilation, activation="tanh")
    usual.build(x.shape)
    usual.set_weights(layer.get_weights())
    y = layer(x, dilation=dilation)
    assert layer(keras.Input((11, 9, 3)), dilation=dilation).shape == (None, *y.shape[1:])
    np.testing.assert_allclose(ops.convert_to_numpy(y), ops.convert_to_numpy(usual(x)), atol=TOLERANCE)


def test_missing_channels_are_zeros_before_the_others():
    layer, x = DilatedConv2D(4, 3, input_channels=5), maps(2, 6, 7, 2)
    y = layer(x)
    assert layer.kernel.shape == (3, 3, 5, 4)
    whole = np.concatenate([np.zeros((2, 6, 7, 3), "float32"), x], axis=-1)
    np.testing.assert_allclose(ops.convert_to_numpy(y), ops.convert_to_numpy(layer(whole)), atol=TOLERANCE)
    with pytest.raises(ValueError, match=r"reads 5 channels or fewer, received \(None, 6, 7, 6\)"):
        layer(keras.Input((6, 7, 6)))


def test_a_model_that_calls_it_several_times_is_rebuilt_from_its_configuration():
    layer, x = DilatedConv2D(3, 3, input_channels=5, name="conv"), keras.Input((None, None, 2))
    y = layer(x)
    cropped = keras.layers.Cropping2D(1)(x)
    model = keras.Model(x, layer(keras.layers.Concatenate()([y, cropped]), dilation=2))
    again = keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    values = maps(1, 9, 8, 2)
    np.testing.assert_array_equal(ops.convert_to_numpy(again(values)), ops.convert_to_numpy(model(values)))
    assert model.output_shape == (None, None, None, 3)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 4), st.integers(0, 4))
def test_maxima_of_every_window(pool_size, dilation, rows, columns):
    extent = dilation * (pool_size - 1) + 1
    x = maps(2, extent + rows, extent + columns, 3)
    y = ops.convert_to_numpy(DilatedMaxPooling2D(pool_size, dilation)(x))
    assert y.shape == (2, rows + 1, columns + 1, 3)
    for row in range(rows + 1):
        for column in range(columns + 1):
            window = x[:, row : row + extent : dilation, column : column + extent : dilation]
            np.testing.assert_array_equal(y[:, row, column], window.max(axis=(1, 2)))


@pytest.mark.one_backend
def test_too_small_a_map_and_bad_arguments():
    with pytest.raises(ValueError, match=r"'pool' needs a map of at least \(5, 5\) pixels, received \(None, 9, 4, 1\)"):
        DilatedMaxPooling2D(3, 2, name="pool")(keras.Input((9, 4, 1)))
    with pytest.raises(ValueError, match=r"'conv' needs a map of at least \(7, 7\) pixels"):
        DilatedConv2D(1, 3, name="conv")(keras.Input((6, 9, 1)), dilation=3)
    for make, message in (
        (lambda: DilatedMaxPooling2D(0), "pool_size must be a positive integer, received 0"),
        (lambda: DilatedMaxPooling2D(2, 0.5), "dilation must be a positive integer, received 0.5"),
        (lambda: DilatedConv2D(1, 3, 0), "input_channels must be a positive integer, received 0"),
        (lambda: DilatedConv2D(1, 3)(keras.Input((9, 9, 1)), dilation=0), "dilation must be a positive integer"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
