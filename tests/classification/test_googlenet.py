"""GoogLeNet: sizes of its maps, its variants, its side classifiers."""

import numpy as np
import pytest
from harness import images, randomise, without_weights

import keras_segattn as ks
from keras_segattn.layers import LocalResponseNormalization

# Szegedy et al. 2015, table 1: size and channels after each inception module, for images of 224 × 224.
TABLE = {
    "3a": (28, 256),
    "3b": (28, 480),
    "4a": (14, 512),
    "4b": (14, 512),
    "4c": (14, 512),
    "4d": (14, 528),
    "4e": (14, 832),
    "5a": (7, 832),
    "5b": (7, 1024),
}
HEADS = ("aux1_logits", "aux2_logits")


def norms(model):
    return [layer.name for layer in model.layers if isinstance(layer, LocalResponseNormalization)]


@pytest.mark.parametrize(("variant", "parameters"), [("paper", 6_998_552), ("no_lrn", 6_998_552)])
def test_table_1(variant, parameters):
    with without_weights():
        model = ks.GoogLeNet(variant=variant, input_shape=(224, 224, 3))
    shapes = {module: model.get_layer(f"inception_{module}").output.shape[1:] for module in TABLE}
    assert shapes == {module: (size, size, channels) for module, (size, channels) in TABLE.items()}
    assert model.count_params() == parameters
    assert norms(model) == (["norm1", "norm2"] if variant == "paper" else [])


def test_torchvision_form_counts_as_there():
    """It has as many trainable parameters as `torchvision.models.googlenet` with its side classifiers."""
    with without_weights():
        model = ks.GoogLeNet(variant="torchvision", aux_logits=True, input_shape=(224, 224, 3))
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 13_004_888
    assert norms(model) == []


@pytest.mark.parametrize("variant", ["paper", pytest.param("no_lrn", marks=pytest.mark.thorough), "torchvision"])
def test_side_heads_are_named_outputs(variant):
    options = {"variant": variant, "alpha": 0.125, "classes": 5, "input_shape": (64, 64, 3)}
    plain, model = ks.GoogLeNet(**options), ks.GoogLeNet(aux_logits=True, **options)
    assert {key: tuple(value.shape) for key, value in model.output.items()} == dict.fromkeys(
        ("logits", *HEADS), (None, 5)
    )
    randomise(plain), randomise(model)
    outputs = model(images((64, 64, 3)))
    np.testing.assert_array_equal(outputs["logits"], plain(images((64, 64, 3))))
    assert all(np.ptp(np.asarray(outputs[head])) > 0 for head in HEADS)


@pytest.mark.parametrize(("variant", "smallest"), [("paper", 31), ("torchvision", 15)])
def test_minimum_size_and_any_channels(variant, smallest):
    options = {"variant": variant, "alpha": 0.125, "classes": 5}
    with without_weights():
        assert ks.GoogLeNet(input_shape=(smallest, smallest, 1), **options).output.shape == (None, 5)
        assert ks.GoogLeNet(padding="same", input_shape=(1, 1, 4), **options).output.shape == (None, 5)
    with pytest.raises(ValueError, match=f"at least {smallest}, received {smallest - 1}"):
        ks.GoogLeNet(input_shape=(smallest, smallest - 1, 3), **options)


@pytest.mark.thorough
@pytest.mark.parametrize(("variant", "smallest"), [("paper", 31), ("torchvision", 15)])
def test_an_image_of_minimum_size_is_classified(variant, smallest):
    model = ks.GoogLeNet(variant=variant, alpha=0.125, classes=5, input_shape=(smallest, smallest, 1))
    assert model(np.zeros((1, smallest, smallest, 1), "float32")).shape == (1, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "v2"}, "variant must be one of"),
        ({"dropout": -0.1}, "dropout must be"),
        ({"aux_logits": True}, "aux_logits needs a fixed image size"),
        ({"aux_logits": True, "include_top": False}, "need include_top=True"),
    ],
)
def test_bad_arguments(options, message):
    with without_weights(), pytest.raises(ValueError, match=message):
        ks.GoogLeNet(**options)
