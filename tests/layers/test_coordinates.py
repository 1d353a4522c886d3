"""Coordinates are float32 whatever the dtype policy: in layers of boxes and points, and in models that have them."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers as keras_layers

from keras_segattn import layers, model_card
from keras_segattn.attention.co_localisation import co_localiser
from keras_segattn.layers.coordinates import CoordinateLayer

POLICIES = ("mixed_float16", "mixed_bfloat16")
FAR = 1000.0  # pixels; bfloat16 holds multiples of 4 there, and float16 multiples of 0.5


def far_boxes(random, batch=2, count=5):
    corner = FAR + random.uniform(0, 100, (batch, count, 2))
    return np.concatenate([corner, corner + random.uniform(1, 50, (batch, count, 2))], axis=-1).astype("float32")


def called(layer, *inputs):
    return [np.asarray(x) for x in keras.tree.flatten(layer(*inputs))]


def detections(policy):
    random = np.random.default_rng(0)
    boxes, sizes = far_boxes(random), np.full((2, 2), 2 * FAR, "float32")
    # Multiples of 1/8 are exact in half precision too, so that only coordinates can differ.
    logits, deltas = random.integers(-8, 8, (2, 5, 3)) / 8, random.integers(-8, 8, (2, 5, 12)) / 8
    return layers.Detections(4, dtype=policy), (logits, deltas, boxes, np.array([5, 3]), sizes)


def proposals(policy):
    random = np.random.default_rng(0)
    maps = [random.integers(-8, 8, (2, 4, 4, channels)) / 8 for channels in (2, 8)]
    anchors = far_boxes(random, 1, 32)[0]
    return layers.Proposals(5, 8, dtype=policy), ([maps[0]], [maps[1]], [anchors], np.full((2, 2), 2 * FAR))


def refinement(policy):
    _, (logits, deltas, boxes, _, sizes) = detections(policy)
    return layers.RefineRegions(dtype=policy), (boxes, deltas, logits, sizes)


def votes(policy):
    _, (logits, _, boxes, _, _) = detections(policy)
    masks = np.random.default_rng(1).integers(0, 8, (2, 5, 7, 7)) / 8
    return layers.VoteMasks(4, dtype=policy), (logits, boxes, masks, np.ones((2, 5)), logits, boxes)


def pasting(policy):
    masks = np.random.default_rng(1).integers(0, 8, (1, 5, 7, 7)) / 8
    boxes = far_boxes(np.random.default_rng(0), 1)
    return layers.PasteMasks(dtype=policy), (masks, boxes, np.zeros((1, 4, 1200, 1)))


def joining(policy):
    return layers.CoordinateConcatenate(axis=1, dtype=policy), ([far_boxes(np.random.default_rng(0))] * 2,)


def predicting(policy):
    layer = layers.CoordinateDense(6, bias_initializer=keras.initializers.Constant(FAR + 0.3), dtype=policy)
    return layer, (np.zeros((1, 4)),)


def counting(policy):
    return layers.ImageSizes(dtype=policy), (np.zeros((1, 1001, 4, 1)),)


def marking(policy):
    return layers.AnchorGenerator((33,), stride=7, rounding=None, dtype=policy), (np.zeros((1, 2, 150, 1)),)


CASES = (detections, proposals, refinement, votes, pasting, joining, predicting, counting, marking)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.slow_on_jax
def test_no_policy_rounds_coordinates(case, policy):
    layer, inputs = case("float32")
    expected = called(layer, *inputs)
    for a, b in zip(called(case(policy)[0], *inputs), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    layer.dtype_policy = policy
    for a, b in zip(called(layer, *inputs), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_layer_of_coordinates_has_a_case():
    others = {layers.ClassMasks, layers.ValidRegions}  # without coordinates
    cases = {type(case("float32")[0]) for case in CASES}
    kinds = {kind for kind in vars(layers).values() if isinstance(kind, type) and issubclass(kind, CoordinateLayer)}
    assert kinds - others <= cases


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(POLICIES), st.sampled_from(["RoIAlign", "RoIPool", "RoIWarp"]))
@pytest.mark.slow_on_jax
def test_no_policy_rounds_the_boxes_that_are_cropped(seed, policy, kind):
    random = np.random.default_rng(seed)
    # Pixels of 0 and 1 are exact in half precision, and so are their averages to some decimals.
    picture = random.integers(0, 2, (1, 8, 1200, 1)).astype("float32")
    boxes = far_boxes(random, 1) * np.array([1, 0, 1, 0]) + np.array([0, 1, 0, 6])
    crop = getattr(layers, kind)
    expected = np.asarray(crop(3, [1.0])([picture], boxes))
    found = keras.ops.cast(crop(3, [1.0], dtype=policy)([picture], boxes), "float32")
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.slow_on_jax
def test_a_localiser_predicts_float32_parameters(policy):
    keras.config.set_dtype_policy(policy)
    model = co_localiser((16, 16, 1), 4)
    pictures = np.random.default_rng(0).uniform(size=(2, 16, 16, 1))
    model.get_layer("scale").bias.assign([0.123])
    theta = np.asarray(model(pictures)["theta"])
    np.testing.assert_allclose(theta, [[1 / (1 + np.exp(-0.123)), 0, 0]] * 2, rtol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize("policy", POLICIES)
def test_detectors_return_boxes_that_are_not_rounded(policy):
    for name in ("MaskRCNN", "MNC"):
        model = model_card(name).builder(**model_card(name).tiny | {"input_shape": (128, 608, 3)})
        pictures = np.random.default_rng(0).normal(size=(1, 128, 608, 3))
        for layer in model.layers:
            if not isinstance(layer, keras_layers.InputLayer):
                layer.dtype_policy = policy
        boxes = np.asarray(model(pictures)["boxes"])
        assert boxes.any()
        assert (
            np.asarray(keras.ops.cast(keras.ops.cast(boxes, policy.removeprefix("mixed_")), "float32")) != boxes
        ).any()
