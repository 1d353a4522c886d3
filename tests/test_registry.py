"""The builder contract, for every registered model."""

import inspect
import math

import keras
import numpy as np
import pytest
from harness import (
    assert_kernels_begin_differently,
    double_precision,
    images,
    inputs,
    logits,
    loss_and_gradients,
    outputs_of,
    run,
    smooth_part,
    tiny_model,
)

import keras_segattn
from keras_segattn import get_model, list_models, model_card
from keras_segattn.preprocessing import IMAGENET
from keras_segattn.registry import Paper, architecture_of, cards_of, preprocessing_of, register

MODELS = list_models()
# Generators take noise, and no arguments of keras.applications but `weights`.
READERS = [name for name in MODELS if "include_top" in inspect.signature(model_card(name).builder).parameters]
# In float64, so small a step crosses hardly a kink of ReLU and max-pooling; those it crosses leave a little.
STEP = 1e-7
GRADIENT_TOLERANCE = 1e-4
# Sums of a few thousand float32 products in another order.
FLOAT32_TOLERANCE = 1e-5
# bfloat16 keeps 8 bits of mantissa: 0.4 % a rounding, about a dozen layers deep.
MIXED_TOLERANCE = 0.1


@pytest.fixture(params=MODELS)
def card(request):
    return model_card(request.param)


@pytest.fixture(params=READERS)
def reader(request):
    return model_card(request.param)


def relative_difference(a, b):
    return np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(b)).max()


def test_registered_names_are_public(card):
    assert getattr(keras_segattn, card.name) is card.builder
    assert card.paper.title
    assert card.paper.year > 1980


def test_arguments_follow_keras_applications(reader):
    names = list(inspect.signature(reader.builder).parameters)
    assert names[:4] == ["include_top", "weights", "input_tensor", "input_shape"]
    common = [["classes", "classifier_activation", "name"], ["classes", "name"], ["classifier_activation", "name"]]
    kind = {"instances": 1, "generation": 2}.get(reader.family, 0)
    assert [n for n in names if n in ("classes", "classifier_activation", "name")] == common[kind]


def test_a_generator_has_arguments_of_its_own():
    generators = set(MODELS) - set(READERS)
    assert {model_card(name).family for name in generators} == {"generation"}
    for name in generators:
        parameters = inspect.signature(model_card(name).builder).parameters
        assert list(parameters)[:3] == ["weights", "input_tensor", "name"]


def test_no_argument_is_swallowed(card):
    kinds = {p.kind for p in inspect.signature(card.builder).parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds


def test_docstring_is_complete(card):
    documentation = inspect.getdoc(card.builder)
    assert "Example:" in documentation
    assert "Args:" in documentation or "Arguments" in documentation


def test_parameter_count_and_channels_are_the_published_ones(card):
    model = get_model(card.name, **({"input_shape": card.input_shape} if card.name in READERS else {}))
    assert model.count_params() == card.parameters
    assert card.name in READERS or model.input_shape == (None, *card.input_shape)
    assert {layer: model.get_layer(layer).output.shape[-1] for layer in card.taps} == {
        layer: tap.channels for layer, tap in card.taps.items()
    }


def test_no_two_kernels_begin_alike(card):
    assert_kernels_begin_differently(get_model(card.name, **card.tiny))


def test_output_shape_and_flat_model(card):
    model = tiny_model(card)
    x = inputs(card)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    outputs = outputs_of(model, x)
    assert all(np.isfinite(output).all() for output in keras.tree.flatten(outputs))
    if card.family == "instances":
        assert {"boxes", "scores", "classes", "masks", "count"} <= set(model.output)
        assert (outputs["count"] > 0).all()
        return
    y = logits(outputs)
    assert y.std() > 0
    if card.family == "generation":
        assert tuple(y.shape) == ((2, 1) if card.name in READERS else (2, *card.tiny["image_shape"]))
        return
    classes = card.tiny["classes"]
    if card.family == "attention":  # at one place or several
        assert {"logits", "theta", "transformed"} == set(model.output)
        assert (y.shape[0], y.shape[-1]) == (2, classes)
    else:
        assert tuple(y.shape) == ((2, *x.shape[1:3], classes) if card.family == "segmentation" else (2, classes))
        assert tuple(model.output_shape[1:]) == tuple(y.shape[1:])


def test_layer_names_are_deterministic(card):
    first = [layer.name for layer in card.builder(**card.tiny).layers]
    second = [layer.name for layer in card.builder(**card.tiny).layers]
    assert first == second


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="Keras sums in float32 on JAX, too coarse to difference")
def test_gradient_against_finite_differences(card):
    with double_precision():
        model = tiny_model(card, **smooth_part(card))
        x = inputs(card)
        _, gradients = loss_and_gradients(model, x)
        assert all(np.isfinite(gradient).all() for gradient in gradients)
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
        assert norm > 0
        # Along the gradient itself the directional derivative is its norm.
        start = [v.numpy() for v in model.trainable_variables]
        values = []
        for sign in (1, -1):
            for variable, value, gradient in zip(model.trainable_variables, start, gradients, strict=True):
                variable.assign(value + sign * STEP * gradient / norm)
            values.append(loss_and_gradients(model, x)[0])
    assert abs((values[0] - values[1]) / (2 * STEP) - norm) / norm < GRADIENT_TOLERANCE


def test_keras_file_round_trip(card, tmp_path):
    model = tiny_model(card)
    x = inputs(card)
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.models.load_model(path)
    np.testing.assert_array_equal(run(again, x), run(model, x))
    assert [c.name for c in cards_of(again)] == [c.name for c in cards_of(model)]
    assert cards_of(again)[0].name == architecture_of(again).name == card.name
    if card.name not in READERS:
        with pytest.raises(ValueError, match="holds no registered architecture"):
            preprocessing_of(again)
        return
    backbone = model_card(card.tiny["backbone"]) if card.preprocessing is None else card
    assert preprocessing_of(again) == backbone.preprocessing


def test_mixed_precision(card):
    x = inputs(card)
    exact = run(tiny_model(card, **smooth_part(card)), x)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = tiny_model(card, **smooth_part(card))
    assert all(variable.dtype == "float32" for variable in model.trainable_variables)
    mixed = run(model, x).astype("float32")
    assert bool(relative_difference(mixed, exact) < MIXED_TOLERANCE) is ("mixed_precision" in card.capabilities)


def test_any_image_size_if_claimed(reader):
    shape = (None, None, 3)
    if "dynamic_size" not in reader.capabilities:
        with pytest.raises(ValueError, match="fixed image size"):
            reader.builder(**{**reader.tiny, "input_shape": shape})
        return
    model = tiny_model(reader, input_shape=shape, **smooth_part(reader))
    fixed = tiny_model(reader, **smooth_part(reader))
    x = images(reader.tiny["input_shape"])
    assert relative_difference(run(model, x), run(fixed, x)) < FLOAT32_TOLERANCE
    smallest = x.shape[1]
    for height, width in ((smallest, smallest + 38), (smallest + 23, smallest + 6)):
        y = run(model, images((height, width, 3), batch=1))
        assert np.isfinite(np.asarray(y)).all()
        if reader.family == "segmentation":
            assert tuple(y.shape) == (1, height, width, reader.tiny["classes"])


@pytest.mark.parametrize("size", [(71, 90)])
def test_taps_have_the_declared_stride(card, size):
    if not card.taps:
        assert card.family != "classification", f"{card.name} is a trunk and must declare taps"
        return
    trunk = card.builder(include_top=False, input_shape=(*size, 3), alpha=card.tiny["alpha"], **card.aligned)
    for layer, tap in card.taps.items():
        shape = trunk.get_layer(layer).output.shape
        assert tuple(shape[1:3]) == tuple(-(-n // tap.stride) for n in size)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 0}, "classes must be a positive integer, received 0"),
        ({"classes": 2.5}, "classes must be a positive integer, received 2.5"),
        ({"alpha": -1}, "alpha must be a positive width multiplier, received -1"),
        ({"alpha": math.inf}, "alpha must be a positive width multiplier, received inf"),
        ({"include_top": "yes"}, "include_top must be one of True, False, received 'yes'"),
        ({"classifier_activation": "relu6"}, "classifier_activation must be one of"),
        ({"input_shape": (80, 80)}, r"expected an image of \(height, width, channels\), received \(80, 80\)"),
        ({"input_shape": (80, 0, 3)}, "image width must be an integer of at least"),
        ({"input_shape": (80, 80, None)}, "image channels must be an integer of at least 1, received None"),
        ({"weights": "imagenet21k"}, "imagenet21k"),
        ({"weights": [0.0]}, r"weights must be None, a name or a path, received \[0.0\]"),
    ],
)
def test_bad_arguments_are_named(card, changes, message):
    if not changes.keys() <= inspect.signature(card.builder).parameters.keys():
        pytest.skip(f"{card.name} has no {', '.join(changes)}")
    with pytest.raises((TypeError, ValueError, FileNotFoundError, keras_segattn.weights.WeightsError), match=message):
        card.builder(**{**card.tiny, **changes})


def test_misspelt_argument_is_not_swallowed(card):
    with pytest.raises(TypeError, match="clases"):
        card.builder(**card.tiny, clases=3)


def test_input_tensor_and_input_channels(reader):
    shape = reader.tiny["input_shape"]
    image = keras.Input((*shape[:2], 4), name="multispectral")
    arguments = {k: v for k, v in reader.tiny.items() if k != "input_shape"}
    model = reader.builder(**arguments, input_tensor=image)
    assert model.input_shape == (None, *shape[:2], 4)
    with pytest.raises(ValueError, match="not both"):
        reader.builder(**reader.tiny, input_tensor=image)
    with pytest.raises(ValueError, match="must be a symbolic Keras tensor, received ndarray"):
        reader.builder(**arguments, input_tensor=np.zeros((1, *shape), "float32"))


def test_classifier_activation(reader):
    if reader.family in ("instances", "generation"):
        pytest.skip("detections are probabilities, and a discriminator has no classes")
    model = tiny_model(reader, classifier_activation="softmax")
    total = logits(outputs_of(model, images(reader.tiny["input_shape"]))).sum(axis=-1)
    np.testing.assert_allclose(total, 1, rtol=FLOAT32_TOLERANCE)


def test_names_are_forgiving_but_unknown_ones_are_not():
    assert model_card("fcn-8s") is model_card("FCN8s")
    with pytest.raises(ValueError, match="unknown model 'FCN4s'; expected one of AlexNet"):
        get_model("FCN4s")
    with pytest.raises(ValueError, match="unknown model None; expected one of AlexNet"):
        get_model(None)


def test_registering_twice_or_an_unknown_capability_fails():
    paper = Paper("title", "authors", "venue", 2000)
    facts = {
        "family": "segmentation",
        "paper": paper,
        "input_shape": (8, 8, 3),
        "parameters": 0,
        "taps": {},
        "tiny": {},
        "landmarks": {"image"},
    }
    with pytest.raises(ValueError, match="'FCN8s' is already registered"):
        register(**facts, capabilities=set())(keras_segattn.FCN8s)
    with pytest.raises(ValueError, match=r"unknown capabilities \['telepathy'\]"):
        register(**facts, capabilities={"telepathy"})


@pytest.mark.parametrize(
    ("name", "options", "mean"),
    [
        ("AlexNet", {"variant": "torchvision"}, IMAGENET.mean),
        ("GoogLeNet", {"variant": "torchvision"}, (127.5,) * 3),
        ("EfficientNetLite0", {"padding": "symmetric"}, IMAGENET.mean),
        ("InceptionResNetV2", {"variant": "paper"}, (127.5,) * 3),
    ],
)
def test_other_forms_have_the_preprocessing_of_their_weights(name, options, mean):
    model = get_model(name, alpha=0.0625, **options)
    assert architecture_of(model).name == name
    assert preprocessing_of(model).mean == mean
    assert preprocessing_of(get_model(name, alpha=0.0625)) == model_card(name).preprocessing


def test_foreign_model_has_no_known_preprocessing():
    image = keras.Input((4, 4, 3))
    with pytest.raises(ValueError, match="holds no registered architecture"):
        preprocessing_of(keras.Model(image, keras.layers.Conv2D(1, 1)(image), name="foreign"))


@pytest.mark.parametrize("backbone", ["squeezenet1_1", "caffenet"])
@pytest.mark.parametrize("name", ["FCN32s", "FCN16s", "FCN8s"])
def test_an_fcn_is_recognised_on_any_backbone(name, backbone):
    model = get_model(name, backbone=backbone, alpha=0.0625)
    assert architecture_of(model).name == name
    assert preprocessing_of(model) == model_card(backbone).preprocessing
    image = keras.Input((4, 4, 3))
    assert architecture_of(keras.Model(image, keras.layers.Conv2D(1, 1)(image))) is None
