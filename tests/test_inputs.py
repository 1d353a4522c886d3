"""Inputs of builders, and the stamps behind them."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_segattn.fields import Noise, Picture, Tokens
from keras_segattn.inputs import Stamp, check_vocabulary, image_input, noise_input, source_input, stamped, token_input


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8"])
def test_a_stamp_is_the_identity_whatever_the_precision(dtype):
    keras.config.set_dtype_policy("mixed_bfloat16")
    x = keras.Input((3,), dtype=dtype)
    stamp = Stamp("Any", Noise())
    y = stamp(x)
    assert (y.shape, y.dtype) == (x.shape, dtype)
    values = np.arange(6).reshape(2, 3).astype(dtype)
    found = keras.ops.convert_to_numpy(stamp(values))
    assert found.dtype == dtype or keras.backend.backend() == "jax"  # JAX has no float64 by default
    np.testing.assert_array_equal(found, values)
    assert stamp.weights == []


@pytest.mark.parametrize("field", [None, Picture("BGR", mean=(1.0, 2.0, 3.0)), Tokens("source", 9)])
def test_a_stamp_is_the_same_after_its_configuration(field):
    again = Stamp.from_config(Stamp("Any", field, name="any_image").get_config())
    assert (again.card, again.field, again.name) == ("Any", field, "any_image")


def test_stamps_are_named_by_card_and_input():
    x = image_input(None, (4, 5, 1), "Some", Picture())
    assert x._keras_history.operation.name == "some_image"
    assert x._keras_history.operation.field.channels == "grey"
    assert source_input(x).name == "image"


def test_token_inputs_have_any_length():
    x = token_input("target", "Some", 9, target=True)
    assert (x.shape, x.dtype) == ((None, None), "int32")
    assert x._keras_history.operation.field == Tokens("target", 9, target=True)


def test_noise_is_new_or_given():
    assert source_input(noise_input(None, (2, 3), "Some", Noise())).name == "z"
    ours = keras.Input((2, 3), name="ours")
    assert source_input(noise_input(ours, (2, 3), "Some", Noise())) is ours
    for wrong in (np.zeros((1, 2, 3)), keras.Input((3, 2))):
        with pytest.raises(ValueError, match=r"must be a symbolic Keras tensor of \(batch, 2, 3\)"):
            noise_input(wrong, (2, 3), "Some", Noise())


def test_source_of_a_tensor_to_build_on():
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    x = stamped(layers.Dense(4)(first), "Some", "image", None)
    assert source_input(first) is first
    assert source_input(x) is first
    assert source_input(layers.Add()([x, second])) == [first, second]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_tensor": keras.KerasTensor((1, 4, 4, 3)), "input_shape": (4, 4, 3)}, "not both"),
        ({"input_tensor": np.zeros((1, 4, 4, 3))}, "must be a symbolic Keras tensor, received ndarray"),
        ({"input_shape": (4, 4)}, r"expected an image of \(height, width, channels\), received \(4, 4\)"),
        ({"input_shape": (4, 3, 3), "minimum": 4}, "image width must be an integer of at least 4, received 3"),
        ({"input_shape": (True, 4, 3)}, "image height must be an integer of at least 1, received True"),
        ({"input_shape": (4, 4, None)}, "image channels must be an integer of at least 1, received None"),
    ],
)
def test_bad_images_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        image_input(**{"input_tensor": None, "input_shape": None} | arguments, card="Some", picture=None)


def test_a_vocabulary_holds_the_special_tokens():
    check_vocabulary("size", 3)
    with pytest.raises(ValueError, match="size must hold padding, begin and end of sentence, received 2 tokens"):
        check_vocabulary("size", 2)
    with pytest.raises(ValueError, match=r"size must be a positive integer, received 2\.5"):
        check_vocabulary("size", 2.5)
