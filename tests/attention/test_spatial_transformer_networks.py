"""The networks of Jaderberg et al. (2015): their initial transformations, sizes and inputs of their parts."""

from dataclasses import replace

import numpy as np
import pytest
from harness import images, without_weights
from keras import ops

from keras_segattn import (
    SpatialTransformerHouseNumbers,
    SpatialTransformerInception,
    SpatialTransformerNetwork,
    model_card,
    preprocessing_of,
)
from keras_segattn.ops.transformations import TRANSFORMATIONS

# Tolerance for positions of up to 64 pixels in float32.
TOLERANCE = 1e-4
# Number of parameters, by hand: 5×5 convolutions, then layers of 3072, 3072 and 5×11 units (appendix A.5).
CONVOLUTIONS = sum(25 * a * b + b for a, b in ((3, 48), (48, 64), (64, 128), (128, 160), (160, 192), *[(192, 192)] * 3))
HEAD = 4 * 4 * 192 * 3072 + 3072 + 3072 * 3072 + 3072 + 5 * (3072 * 11 + 11)


def share_weights(model, baseline):
    for layer in baseline.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())


@pytest.mark.parametrize(
    ("transform", "classifier"),
    [
        *((transform, "fcn") for transform in TRANSFORMATIONS),
        ("affine", "cnn"),
        *(pytest.param(name, "cnn", marks=pytest.mark.thorough) for name in TRANSFORMATIONS if name != "affine"),
    ],
)
def test_a_digit_network_begins_as_its_baseline(transform, classifier):
    sizes = {"classifier": classifier, "units": 8, "filters": (4, 4)}
    baseline = SpatialTransformerNetwork(transform=None, **sizes)
    model = SpatialTransformerNetwork(transform=transform, **sizes)
    share_weights(model, baseline)
    x = images((28, 28, 1))
    found = model(x)
    np.testing.assert_allclose(found["transformed"], x, atol=TOLERANCE)
    np.testing.assert_allclose(found["logits"], baseline(x), atol=TOLERANCE)
    np.testing.assert_array_equal(found["theta"], [TRANSFORMATIONS[transform].identity] * 2)


def test_parallel_transformers_give_their_pictures_as_channels():
    model = SpatialTransformerNetwork(
        input_shape=(42, 42, 2), transform="attention", transformers=2, output_size=(56, 56), pool=2, units=8
    )
    x = images((42, 42, 2))
    theta = np.array([1, 0, 0, 0.5, 0.2, -0.1], "float32")
    model.get_layer("st_theta").bias.assign(theta)
    found = model(x)["transformed"]
    assert found.shape == (2, 28, 28, 4)
    layer = model.get_layer("st")
    alone = type(layer)("attention", output_size=56)
    for number in range(2):
        picture = alone(x, ops.tile(theta[None, 3 * number : 3 * number + 3], (2, 1)))
        expected = ops.average_pool(picture, 2)
        np.testing.assert_allclose(found[..., 2 * number : 2 * number + 2], expected, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("transformers", "localisation"),
    [
        (None, 0),
        # The localisation has two 5×5 convolutions of 32 filters, pooling between, then layers of 32, 32 and 6 units.
        ("single", 25 * 3 * 32 + 32 + 25 * 32 * 32 + 32 + (32 * 32 * 32 * 32 + 32) + (32 * 32 + 32) + (32 * 6 + 6)),
        # Layers of 32, 32 and 6 units see the maps before each of the first four convolutions.
        (
            "multi",
            sum(
                (side * side * channels * 32 + 32) + (32 * 32 + 32) + (32 * 6 + 6)
                for side, channels in ((64, 3), (32, 48), (32, 64), (16, 128))
            ),
        ),
    ],
)
def test_house_numbers_have_the_parameters_of_the_appendix(transformers, localisation):
    with without_weights():
        model = SpatialTransformerHouseNumbers(transformers=transformers)
    assert model.count_params() == CONVOLUTIONS + HEAD + localisation


@pytest.mark.parametrize("transformers", [pytest.param("single", marks=pytest.mark.thorough), "multi"])
def test_house_numbers_begin_as_their_baseline(transformers):
    sizes = {"input_shape": (32, 32, 3), "alpha": 0.1, "units": (8,)}
    baseline = SpatialTransformerHouseNumbers(transformers=None, **sizes)
    model = SpatialTransformerHouseNumbers(transformers=transformers, **sizes)
    share_weights(model, baseline)
    x = images((32, 32, 3))
    assert baseline(x).shape == (2, 5, 11)
    np.testing.assert_allclose(model(x)["logits"], baseline(x), atol=TOLERANCE)


@pytest.mark.parametrize("transformers", [2, 4])
def test_birds_are_first_cropped_side_by_side(transformers):
    model = SpatialTransformerInception(
        input_shape=(64, 64, 3),
        classes=5,
        transformers=transformers,
        crop_size=32,
        backbone="squeezenet1_1",
        backbone_arguments={"alpha": 0.125},
    )
    x = images((64, 64, 3))
    found = model(x)
    crops = np.asarray(found["transformed"])
    assert crops.shape == (2, transformers, 32, 32, 3)
    if transformers == 4:
        for crop, row, column in ((0, 0, 0), (1, 0, -1), (2, -1, 0), (3, -1, -1)):
            np.testing.assert_allclose(crops[:, crop, row, column], x[:, row, column], atol=TOLERANCE)
    else:
        np.testing.assert_allclose(np.asarray(found["theta"]), [[-0.5, 0, 0.5, 0]] * 2)
    assert preprocessing_of(model) == replace(model_card("squeezenet1_1").inputs["image"], size=(224, 224))
    names = [layer.name for layer in model.layers]
    assert {"localisation_conv1", "part1_conv1", f"part{transformers}_conv1"} <= set(names)


def test_birds_begin_with_the_weights_of_a_backbone(tmp_path):
    backbone = model_card("squeezenet1_1").builder(include_top=False, alpha=0.125)
    path = tmp_path / "backbone.weights.h5"
    backbone.save_weights(path)
    model = SpatialTransformerInception(
        input_shape=(64, 64, 3),
        crop_size=32,
        backbone="squeezenet1_1",
        backbone_weights=str(path),
        backbone_arguments={"alpha": 0.125},
    )
    for name in ("localisation_conv1", "part1_conv1", "part2_conv1"):
        np.testing.assert_array_equal(model.get_layer(name).kernel, backbone.get_layer("conv1").kernel)


@pytest.mark.parametrize(
    ("builder", "arguments", "message"),
    [
        (SpatialTransformerNetwork, {"transform": "shear"}, "transform must be one of None, 'affine'"),
        (SpatialTransformerNetwork, {"classifier": "rnn"}, "classifier must be one of 'fcn', 'cnn'"),
        (SpatialTransformerNetwork, {"transformers": 0}, "transformers must be a positive integer"),
        (SpatialTransformerNetwork, {"input_shape": (20, 28, 1)}, "image height must be an integer of at least 28"),
        (SpatialTransformerHouseNumbers, {"transformers": "double"}, "transformers must be one of None, 'single'"),
        (SpatialTransformerHouseNumbers, {"units": (0,)}, "units must be a positive integer"),
        (SpatialTransformerInception, {"transformers": 3}, "transformers must be one of 2, 4"),
        (SpatialTransformerInception, {"backbone": "resnet7"}, "unknown model 'resnet7'"),
    ],
)
def test_bad_arguments_are_named(builder, arguments, message):
    with pytest.raises(ValueError, match=message):
        builder(**arguments)
