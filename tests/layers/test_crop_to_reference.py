import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_segattn.layers import CropToReference


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 3), st.integers(0, 3))
def test_values_for_any_size(height, width, offset, slack):
    x = np.random.default_rng(0).normal(size=(2, height + offset + slack, width + offset, 3)).astype("float32")
    reference = np.zeros((2, height, width, 1), "float32")
    y = ops.convert_to_numpy(CropToReference(offset)(x, reference))
    np.testing.assert_array_equal(y, x[:, offset : offset + height, offset : offset + width])


def test_known_and_unknown_sizes():
    crop = CropToReference(2)
    assert crop(keras.Input((9, 9, 3)), keras.Input((5, 6, 1))).shape == (None, 5, 6, 3)
    assert crop(keras.Input((None, 9, 3)), keras.Input((None, 6, 1))).shape == (None, None, 6, 3)


def test_too_small_a_map():
    with pytest.raises(ValueError, match="cannot crop 5 pixels at offset 2 from 6"):
        CropToReference(2)(keras.Input((6, 9, 3)), keras.Input((5, 6, 1)))


@pytest.mark.one_backend
@pytest.mark.parametrize("offset", [-1, 1.0, None])
def test_bad_offset(offset):
    with pytest.raises(ValueError, match="offset must be a non-negative integer, received"):
        CropToReference(offset)
