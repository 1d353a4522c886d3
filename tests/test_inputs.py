"""Inputs of builders, and the stamps behind them."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_segattn import list_models, model_card
from keras_segattn.attention import co_localiser
from keras_segattn.data.crops import crops
from keras_segattn.fields import Noise, Picture, Tokens
from keras_segattn.inputs import Stamp, check_vocabulary, image_input, noise_input, source_input, stamped, token_input
from keras_segattn.layers import GroupedConv2D, TransposedConv2D


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


@pytest.fixture
def channels_first():
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


@pytest.mark.every_sibling
@pytest.mark.parametrize("card", list_models())
def test_channels_first_is_refused_in_one_sentence(card, channels_first):
    """Networks of images would have other layers; tokens and features have no channels."""
    card = model_card(card)
    if (
        not any(isinstance(kind, Picture | Noise) for kind in card.inputs.values())
        or card.tiny.get("backbone", 0) is None
    ):
        return
    with pytest.raises(ValueError, match=r"image_data_format is 'channels_first': call keras\.config\.set_image_data_"):
        card.builder(**card.tiny)


def test_a_localiser_is_not_built_with_channels_first(channels_first):
    with pytest.raises(ValueError, match="image_data_format is 'channels_first'"):
        co_localiser()


def test_layers_do_not_depend_on_the_format_of_images(channels_first):
    x = np.random.default_rng(0).random((1, 5, 6, 4), "float32")
    grouped = GroupedConv2D(4, 3, groups=2, data_format="channels_last")
    assert grouped(x).shape == (1, 3, 4, 4)
    last = np.asarray(grouped(x))
    split = [
        keras.ops.conv(x[..., i : i + 2], grouped.kernel[..., i : i + 2], data_format="channels_last") for i in (0, 2)
    ]
    np.testing.assert_allclose(last, np.concatenate(split, -1), atol=1e-6)
    assert TransposedConv2D(3, 3)(x).shape == (1, 7, 8, 3)
    assert crops(np.zeros((8, 9, 3), "uint8"), 4).shape == (1, 4, 4, 3)


def test_a_vocabulary_holds_the_special_tokens():
    check_vocabulary("size", 3)
    with pytest.raises(ValueError, match="size must hold padding, begin and end of sentence, received 2 tokens"):
        check_vocabulary("size", 2)
    with pytest.raises(ValueError, match=r"size must be a positive integer, received 2\.5"):
        check_vocabulary("size", 2.5)
