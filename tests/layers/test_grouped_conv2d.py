import keras
import numpy as np
import pytest
from keras import ops

from keras_segattn.layers import GroupedConv2D


@pytest.mark.parametrize(("groups", "strides", "padding"), [(2, 1, "same"), (4, 2, "valid"), (1, 1, "same")])
def test_equals_a_convolution_with_a_block_diagonal_kernel(groups, strides, padding):
    x = np.random.default_rng(0).normal(size=(2, 9, 8, 8)).astype("float32")
    layer = GroupedConv2D(12, 3, strides, padding=padding, groups=groups)
    y = layer(x)
    kernel, bias = layer.get_weights()
    dense = np.zeros((3, 3, 8, 12), "float32")
    for group in range(groups):
        inputs, outputs = np.split(np.arange(8), groups)[group], np.split(np.arange(12), groups)[group]
        dense[:, :, inputs[:, None], outputs] = kernel[:, :, :, outputs]
    expected = ops.conv(x, dense, strides, padding) + bias
    np.testing.assert_allclose(ops.convert_to_numpy(y), ops.convert_to_numpy(expected), atol=1e-5)  # float32 sums


@pytest.mark.one_backend
def test_channels_must_divide():
    with pytest.raises(ValueError, match="evenly divisible by the number of groups"):
        GroupedConv2D(3, 1, groups=2)


def test_serialisation():
    layer = GroupedConv2D(4, 3, groups=2, name="conv2")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert isinstance(again, GroupedConv2D)
    assert again.groups == 2
