import keras
import numpy as np
import pytest
from keras import ops

from keras_segattn.layers import TransposedConv2D

# Sums of up to 36 float32 products in another order.
TOLERANCE = 1e-5


def overlap_add(x, kernel, stride, padding, output_padding):
    """Transposed convolution by definition: every pixel adds a multiple of the kernel; then the edges are cut off."""
    batch, height, width, _ = x.shape
    size, _, channels, _ = kernel.shape
    y = np.zeros((batch, (height - 1) * stride + size, (width - 1) * stride + size, channels))
    for row in range(height):
        for column in range(width):
            there = np.s_[:, row * stride : row * stride + size, column * stride : column * stride + size]
            y[there] += np.einsum("bi,hwoi->bhwo", x[:, row, column], kernel)
    cut = padding - output_padding
    return y[:, padding : y.shape[1] - cut, padding : y.shape[2] - cut]


@pytest.mark.parametrize(
    ("size", "stride", "padding", "output_padding"),
    [(5, 2, 2, 1), (5, 2, 2, 0), (4, 2, 1, 0), (4, 2, 0, 0), (3, 1, 1, 0)],
)
def test_copies_of_the_kernel_overlap_and_add(size, stride, padding, output_padding):
    layer = TransposedConv2D(3, size, stride, padding=padding, output_padding=output_padding, use_bias=False)
    x = np.random.default_rng(0).normal(size=(2, 4, 3, 2)).astype("float32")
    y = layer(x)
    expected = overlap_add(x, ops.convert_to_numpy(layer.kernel), stride, padding, output_padding)
    assert y.shape == expected.shape == layer.compute_output_shape(x.shape)
    np.testing.assert_allclose(y, expected, atol=TOLERANCE)


def test_keras_pads_a_kernel_of_five_otherwise():
    ours, keras_ = TransposedConv2D(3, 5, 2, padding=2, output_padding=1), keras.layers.Conv2DTranspose(3, 5, 2, "same")
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 2)).astype("float32")
    ours.build(x.shape)
    keras_.build(x.shape)
    keras_.set_weights(ours.get_weights())
    a, b = ops.convert_to_numpy(ours(x)), ops.convert_to_numpy(keras_(x))
    assert a.shape == b.shape == (1, 12, 12, 3)
    np.testing.assert_allclose(a[:, :-1, :-1], b[:, 1:, 1:], atol=TOLERANCE)


def test_it_is_the_gradient_of_the_convolution():
    """⟨y, conv(x)⟩ = ⟨conv'(y), x⟩ for the zero-padded convolution with the same numbers."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(1, 8, 8, 3)).astype("float32"), random.normal(size=(1, 4, 4, 2)).astype("float32")
    layer = TransposedConv2D(3, 5, 2, padding=2, output_padding=1, use_bias=False)
    transposed = layer(y)
    convolved = ops.conv(np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))), layer.kernel, 2, "valid")
    np.testing.assert_allclose(ops.sum(transposed * x), ops.sum(convolved * y), rtol=TOLERANCE * 10)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"padding": -1}, "padding must be a non-negative integer, received -1"),
        ({"padding": "same"}, "padding must be a non-negative integer, received 'same'"),
        ({"output_padding": 1}, "output_padding must be at most padding = 0, received 1"),
    ],
)
def test_bad_paddings(arguments, message):
    with pytest.raises(ValueError, match=message):
        TransposedConv2D(3, 5, 2, **arguments)


def test_serialisation():
    layer = TransposedConv2D(3, 5, 2, padding=2, output_padding=1, activation="tanh", use_bias=False)
    again = TransposedConv2D.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    image = keras.Input((None, 5, 2))
    assert again(image).shape == (None, None, 10, 3)
