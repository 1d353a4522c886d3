"""Inception-v4 and the Inception-ResNets: sizes per stage, residual scales, variants, side classifiers."""

import re

import keras
import numpy as np
import pytest
from harness import images, randomise, without_weights

import keras_segattn as ks

# Specification, sections 1.2 and 1.3: parameters of each stage of the PyTorch models, with gamma and beta but without
# the moving statistics. Ours have beta alone.
V4 = {
    "conv2d_1a": 928,
    "conv2d_2a": 9_280,
    "conv2d_2b": 18_560,
    "mixed_3a": 55_488,
    "mixed_4a": 189_312,
    "mixed_5a": 332_160,
    **dict.fromkeys(["mixed_5b", "mixed_5c", "mixed_5d", "mixed_5e"], 317_632),
    "mixed_6a": 2_306_112,
    **dict.fromkeys([f"mixed_6{letter}" for letter in "bcdefgh"], 2_936_256),
    "mixed_7a": 2_747_392,
    **dict.fromkeys(["mixed_7b", "mixed_7c", "mixed_7d"], 4_553_088),
    "predictions": 1_537_000,
}
RESNET_V2 = {
    "conv2d_1a": 928,
    "conv2d_2a": 9_280,
    "conv2d_2b": 18_560,
    "conv2d_3b": 5_280,
    "conv2d_4a": 138_624,
    "mixed_5b": 268_320,
    **dict.fromkeys([f"block35_{i}" for i in range(1, 11)], 123_168),
    "mixed_6a": 2_664_960,
    **dict.fromkeys([f"block17_{i}" for i in range(1, 21)], 1_126_784),
    "mixed_7a": 3_880_960,
    **dict.fromkeys([f"block8_{i}" for i in range(1, 11)], 2_035_424),
    "conv2d_7b": 3_197_952,
    "predictions": 1_537_000,
}
# Section 1.4: the parts that only facenet's network has.
FACENET = {
    "conv2d_4b": 442_880,
    "block35": 387_200,
    "mixed_6a": 1_710_080,
    "block17": 6_900_480,
    "mixed_7a": 3_346_176,
    "block8": 8_003_840 + 1_600_768,
    "bottleneck": 1792 * 512 + 2 * 512,
    "predictions": 513_000,
}
STAGE = r"(conv2d_\d\w|mixed_\d\w|block\d+_\d+|bottleneck|predictions)"
TINY = {"alpha": 0.0625, "classes": 5, "input_shape": (75, 75, 3)}
SMALL_BLOCKS = {"InceptionV4": (1, 1, 1), "InceptionResNetV1": (1, 1, 1), "InceptionResNetV2": (1, 1, 2)}


def stage_parameters(model, pattern=STAGE):
    """Stage → parameters, counted as in PyTorch: with gamma, which ours lack, and without moving statistics."""
    counts = {}
    for layer in model.layers:
        if layer.weights:
            count = layer.count_params()
            if isinstance(layer, keras.layers.BatchNormalization):
                count = 2 * layer.beta.shape[0]
            stage = re.match(pattern, layer.name)[0]
            counts[stage] = counts.get(stage, 0) + count
    return counts


# Sections 1.2 and 1.3: size and channels after each stage, for images of 299 × 299.
V4_MAPS = {
    "conv2d_1a_relu": (149, 32),
    "conv2d_2b_relu": (147, 64),
    "mixed_3a": (73, 160),
    "mixed_4a": (71, 192),
    "mixed_5a": (35, 384),
    "mixed_6a": (17, 1024),
    "mixed_7a": (8, 1536),
    "mixed_7d": (8, 1536),
}
RESNET_V2_MAPS = {
    "conv2d_4a_relu": (71, 192),
    "mixed_5b": (35, 320),
    "block35_10": (35, 320),
    "mixed_6a": (17, 1088),
    "mixed_7a": (8, 2080),
    "block8_10": (8, 2080),
    "conv2d_7b_relu": (8, 1536),
}
RESNET_V1_MAPS = {"conv2d_4b_relu": (35, 256), "mixed_6a": (17, 896), "mixed_7a": (8, 1792), "block8_5": (8, 1792)}


def trainable_parameters(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def assert_maps(model, maps):
    shapes = {layer: model.get_layer(layer).output.shape[1:] for layer in maps}
    assert shapes == {layer: (size, size, channels) for layer, (size, channels) in maps.items()}


@pytest.mark.parametrize(
    ("name", "stages", "maps", "total", "trainable"),
    [
        ("InceptionV4", V4, V4_MAPS, 42_679_816, 42_648_232),
        ("InceptionResNetV2", RESNET_V2, RESNET_V2_MAPS, 55_843_464, 55_813_192),
    ],
)
def test_every_stage(name, stages, maps, total, trainable):
    with without_weights():
        model = getattr(ks, name)(input_shape=(299, 299, 3))
    assert stage_parameters(model) == stages
    assert sum(stages.values()) == total
    assert trainable_parameters(model) == trainable
    assert_maps(model, maps)


def test_version_1_and_the_parts_that_facenet_adds():
    with without_weights():
        model = ks.InceptionResNetV1(input_shape=(299, 299, 3), sixth_block=True, bottleneck=512)
    counts = stage_parameters(model, r"(conv2d_\d\w|mixed_\d\w|block\d+|bottleneck|predictions)")
    assert {stage: counts[stage] for stage in FACENET} == FACENET
    assert sum(counts.values()) == 23_995_624
    assert_maps(model, RESNET_V1_MAPS)


# Trainable parameters of variants, with 1001 classes if they have a side classifier; sections 1.2, 1.3 and 1.5.
SIDE_HEAD = {"aux_logits": True, "classes": 1001, "input_shape": (299, 299, 3)}
VARIANTS = [
    ("InceptionV4", SIDE_HEAD, 46_009_106),
    ("InceptionResNetV2", SIDE_HEAD, 59_182_258),
    pytest.param(
        "InceptionResNetV2", {"variant": "paper", "blocks": (10, 20, 10)}, 55_255_816, marks=pytest.mark.thorough
    ),
]


@pytest.mark.parametrize(("name", "options", "trainable"), VARIANTS)
def test_parameters_of_variants(name, options, trainable):
    with without_weights():
        model = getattr(ks, name)(**options)
    assert trainable_parameters(model) == trainable


def test_paper_form_has_the_stem_of_v4_and_maps_that_add_up():
    with without_weights():
        model = ks.InceptionResNetV2(variant="paper", input_shape=(299, 299, 3))
    assert trainable_parameters(model) == 32_417_496
    shapes = [model.get_layer(name).output.shape[1:] for name in ("mixed_5b", "block35_5", "block17_10", "block8_5")]
    assert shapes == [(35, 35, 384), (35, 35, 384), (17, 17, 1152), (8, 8, 2144)]
    assert [layer.name for layer in model.layers if "conv2d_7b" in layer.name] == []
    assert ks.facts_of(model).card == "InceptionResNetV2"
    assert ks.preprocessing_of(model) == ks.model_card("InceptionV4").inputs["image"]


@pytest.mark.parametrize("scale", [None, pytest.param(0.3, marks=pytest.mark.thorough), (0.1, 0.2, 0.3)])
def test_residuals_are_scaled(scale):
    """Only the sums' inputs change: out = relu(shortcut + scale · residual), in the last block without relu."""
    model = ks.InceptionResNetV2(residual_scale=scale, blocks=(1, 1, 2), **TINY)
    randomise(model)
    expected = {None: (0.17, 0.10, 0.20), 0.3: (0.3, 0.3, 0.3)}.get(scale, scale)
    cases = {"block35_1": expected[0], "block17_1": expected[1], "block8_1": expected[2], "block8_2": 1.0}
    befores = {"block35_1": "mixed_5b", "block17_1": "mixed_6a", "block8_1": "mixed_7a", "block8_2": "block8_1"}
    tensors = {name: model.get_layer(name).output for name in (*befores.values(), *cases)}
    tensors |= {f"{name}_conv": model.get_layer(f"{name}_conv").output for name in cases}
    values = {k: np.asarray(v) for k, v in keras.Model(model.input, tensors)(images((75, 75, 3))).items()}
    for name, factor in cases.items():
        total = values[befores[name]] + np.float32(factor) * values[f"{name}_conv"]
        wanted = total if name == "block8_2" else np.maximum(total, 0)
        np.testing.assert_allclose(values[name], wanted, rtol=1e-5, atol=1e-6)  # one product and one sum of float32
    assert (values["block8_2"] < 0).any()


@pytest.mark.parametrize(
    "name",
    [
        "InceptionV4",
        *(pytest.param(name, marks=pytest.mark.thorough) for name in ("InceptionResNetV1", "InceptionResNetV2")),
    ],
)
def test_side_classifier_is_a_named_output(name):
    builder = getattr(ks, name)
    plain = builder(blocks=SMALL_BLOCKS[name], **TINY)
    model = builder(blocks=SMALL_BLOCKS[name], aux_logits=True, **TINY)
    assert {key: tuple(value.shape) for key, value in model.output.items()} == {
        "logits": (None, 5),
        "aux_logits": (None, 5),
    }
    randomise(plain), randomise(model)
    x = images((75, 75, 3))
    outputs = model(x)
    np.testing.assert_array_equal(outputs["logits"], plain(x))
    assert np.ptp(np.asarray(outputs["aux_logits"])) > 0


@pytest.mark.parametrize("name", SMALL_BLOCKS)
def test_any_number_of_channels_and_minimum_size(name):
    builder, blocks = getattr(ks, name), SMALL_BLOCKS[name]
    with without_weights():
        for channels in (1, 4):
            model = builder(blocks=blocks, alpha=0.0625, classes=5, input_shape=(75, 90, channels))
            assert model.output.shape == (None, 5)
        smallest = builder(blocks=blocks, alpha=0.0625, classes=5, input_shape=(1, 1, 3), padding="same")
        assert smallest.output.shape == (None, 5)
    with pytest.raises(ValueError, match="image height must be an integer of at least 75, received 74"):
        builder(blocks=blocks, input_shape=(74, 75, 3))


@pytest.mark.thorough
@pytest.mark.parametrize(("shape", "padding"), [((75, 90, 1), "valid"), ((75, 90, 4), "valid"), ((1, 1, 3), "same")])
@pytest.mark.parametrize("name", SMALL_BLOCKS)
def test_an_image_of_minimum_size_is_classified(name, shape, padding):
    model = getattr(ks, name)(blocks=SMALL_BLOCKS[name], alpha=0.0625, classes=5, input_shape=shape, padding=padding)
    assert model(np.zeros((1, *shape), "float32")).shape == (1, 5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("InceptionV4", {"blocks": (4, 7)}, "blocks must be"),
        ("InceptionV4", {"blocks": (4, 0, 3)}, "blocks must be"),
        ("InceptionV4", {"dropout": 1.0}, "dropout must be"),
        ("InceptionV4", {"aux_logits": True, "include_top": False}, "aux_logits"),
        ("InceptionV4", {"aux_logits": "yes"}, "aux_logits must be one of"),
        ("InceptionV4", {"padding": "symmetric"}, "padding must be one of"),
        ("InceptionV4", {"aux_logits": True, "alpha": 0.0625}, "fixed image size"),
        ("InceptionResNetV2", {"residual_scale": 0}, "residual_scale must be a number above 0 and up to 1"),
        ("InceptionResNetV2", {"residual_scale": (0.1, 0.2)}, "or three of them"),
        ("InceptionResNetV1", {"residual_scale": True}, "residual_scale must be"),
        ("InceptionResNetV2", {"variant": "figure"}, "variant must be one of"),
        ("InceptionResNetV1", {"bottleneck": -1}, "bottleneck must be"),
        ("InceptionResNetV1", {"sixth_block": 1.5}, "sixth_block must be one of"),
    ],
)
def test_bad_arguments(name, options, message):
    with without_weights(), pytest.raises(ValueError, match=message):
        getattr(ks, name)(**options)
