import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn.weights.layout import flattened_map, to_keras

SIZES = st.tuples(*(st.integers(1, 4) for _ in range(4)))
PROPERTY = settings(max_examples=40, deadline=None)


def foreign_convolution(kernel):
    return np.einsum("hwio->oihw", kernel)


def foreign_dense(kernel):
    """Turn a dense kernel into (out, in) with the inputs flattened as channels, height, width."""
    return np.einsum("hwio->oihw", kernel).reshape(kernel.shape[-1], -1)


@given(SIZES)
@PROPERTY
def test_every_form_of_a_kernel_becomes_the_same_convolution_and_dense_kernel(shape):
    kernel = np.random.default_rng(0).standard_normal(shape)
    window, dense_shape = shape[:3], (int(np.prod(shape[:3])), shape[3])
    forms = {
        "keras convolution": (kernel, "keras"),
        "keras dense": (kernel.reshape(dense_shape), "keras"),
        "torch convolution": (foreign_convolution(kernel), "torch"),
        "torch dense": (foreign_dense(kernel), "torch"),
        "Caffe convolution": (foreign_convolution(kernel), "caffe"),
        "Caffe dense": (foreign_dense(kernel), "caffe"),
        "old Caffe dense": (foreign_dense(kernel)[None, None], "caffe"),
    }
    for name, (value, layout) in forms.items():
        convolution = to_keras(value, layout, "kernel", shape, None)
        np.testing.assert_array_equal(convolution, kernel, err_msg=name)
        dense = to_keras(value, layout, "kernel", dense_shape, window)
        np.testing.assert_array_equal(dense, kernel.reshape(dense_shape), err_msg=name)


@given(SIZES)
@PROPERTY
def test_depthwise_kernels_are_groups_of_one_channel(shape):
    kernel = np.random.default_rng(0).standard_normal(shape)
    height, width, channels, multiplier = shape
    theirs = np.einsum("hwcm->cmhw", kernel).reshape(channels * multiplier, 1, height, width)
    for layout in ("torch", "caffe"):
        np.testing.assert_array_equal(to_keras(theirs, layout, "depthwise_kernel", shape, None), kernel)
    np.testing.assert_array_equal(to_keras(kernel, "keras", "depthwise_kernel", shape, None), kernel)


@pytest.mark.parametrize(
    ("value", "layout", "leaf", "shape", "flattened"),
    [
        ((8, 3, 5, 5), "torch", "kernel", (3, 3, 3, 8), None),
        ((5, 5, 3, 8), "keras", "kernel", (5, 5, 8, 3), None),
        ((4, 18), "torch", "kernel", (3, 3, 2, 5), None),
        ((4, 2, 3, 3), "torch", "kernel", (18, 4), None),  # without a flattened map
        ((4, 2, 3, 3), "torch", "kernel", (18, 4), (9, 1, 2)),  # the same number of values, but another map
        ((18, 4), "torch", "kernel", (18, 4), None),
        ((8, 1, 3, 3), "torch", "kernel", (3, 3, 8, 1), None),  # a convolution to one channel is not depthwise
        ((1, 8, 3, 3), "torch", "depthwise_kernel", (3, 3, 8, 1), None),  # nor the reverse
        ((3, 3, 8, 1), "torch", "depthwise_kernel", (3, 3, 8, 1), None),
        ((3, 2, 4), "torch", "kernel", (4, 2, 3), None),  # one-dimensional convolutions have no rule
        ((4,), "torch", "bias", (5,), None),
        ((1, 4), "torch", "bias", (4,), None),
    ],
)
def test_other_shapes_have_no_place(value, layout, leaf, shape, flattened):
    assert to_keras(np.zeros(value), layout, leaf, shape, flattened) is None


def test_old_caffe_bias():
    assert to_keras(np.zeros((1, 1, 1, 4)), "caffe", "bias", (4,), None).shape == (4,)


def test_flattened_map_is_found_through_layers_that_keep_the_shape():
    image = keras.Input((6, 4, 3))
    x = keras.layers.Flatten()(image)
    x = keras.layers.ReLU()(keras.layers.Dropout(0.5)(x))
    first = keras.layers.Dense(5)
    second = keras.layers.Dense(5)
    second(keras.layers.Dropout(0.5)(first(x)))
    assert flattened_map(first) == (6, 4, 3)
    assert flattened_map(second) is None
    pooled = keras.layers.Dense(5)
    pooled(keras.layers.GlobalAveragePooling2D()(image))
    assert flattened_map(pooled) is None
    directly = keras.layers.Dense(5)
    directly(keras.Input((7,)))
    assert flattened_map(directly) is None
