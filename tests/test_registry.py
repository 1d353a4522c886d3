"""The builder contract, for every registered model."""

import inspect
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import keras
import numpy as np
import pytest
from harness import (
    LENGTH,
    assert_kernels_begin_differently,
    convolves_empty_batches,
    double_precision,
    has,
    inputs_of,
    logits,
    loss_and_gradients,
    loss_of,
    outputs_of,
    rows,
    run,
    smooth_part,
    tame,
    tiny_model,
    without_weights,
)

import keras_segattn
from keras_segattn import facts_of, get_model, graph, list_models, model_card
from keras_segattn.facts import Facts
from keras_segattn.fields import OneHot, Picture, Tokens, Vectors
from keras_segattn.registry import Card, Paper, cards_of, register

# Arguments as keras.applications orders them.
USUAL = ["include_top", "weights", "input_tensor", "input_shape", "pooling", "classes", "classifier_activation", "name"]
# In float64, such a small step hardly crosses kinks of ReLU and max-pooling; those that it crosses cause small errors.
STEP = 1e-8
GRADIENT_TOLERANCE = 1e-4
# Rounding of sums of a few thousand float32 products, accumulated in another order.
FLOAT32_TOLERANCE = 1e-5
# bfloat16 keeps 8 bits of mantissa, which is 0.4 % per rounding, in about a dozen layers.
MIXED_TOLERANCE = 0.1


# All tests of a card run in one worker, which builds its miniature once.
@pytest.fixture(scope="module", params=[pytest.param(n, marks=pytest.mark.xdist_group(n)) for n in list_models()])
def card(request):
    return model_card(request.param)


class Miniature(NamedTuple):
    """A card's miniature with random weights, which no test may change."""

    model: keras.Model
    kernels: list[np.ndarray]  # as the builder initialised them
    x: Any
    outputs: Any


@pytest.fixture(scope="module")
def miniature(card):
    keras.utils.clear_session(free_memory=False)
    fresh = card.builder(**card.tiny)
    kernels = [np.array(weight) for weight in fresh.trainable_weights]
    model = tiny_model(card, fresh)
    x = inputs_of(model)
    return Miniature(model, kernels, x, outputs_of(model, x))


@pytest.fixture(scope="module")
def smooth(card, miniature):
    """Return model and output of the part of the miniature that is continuous."""
    changes = smooth_part(card)
    model = tiny_model(card, **changes) if changes else miniature.model
    return model, run(model, miniature.x) if changes else rows(miniature.outputs)


def relative_difference(a, b):
    return np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(b)).max()


def takes_pictures(card, *arguments):
    return has(card, *arguments) and any(isinstance(kind, Picture) for kind in card.inputs.values())


def picture_of(card):
    """Return name and kind of the picture that a card takes."""
    return next((name, kind) for name, kind in card.inputs.items() if isinstance(kind, Picture))


@pytest.mark.one_backend
@pytest.mark.every_sibling
def test_registered_names_are_public(card):
    assert getattr(keras_segattn, card.name) is card.builder
    assert card.paper.title
    assert card.paper.year > 1980


@pytest.mark.one_backend
@pytest.mark.every_sibling
def test_arguments_follow_keras_applications(card):
    names = list(inspect.signature(card.builder).parameters)
    usual = [name for name in names if name in USUAL]
    assert usual == [name for name in USUAL if name in names]
    assert "name" in names
    assert "include_top" not in names or usual[:4] == names[:4] == USUAL[:4]
    # Scores of detections are probabilities, and so are those of words.
    assert ("classifier_activation" in names) is (card.task in ("classify", "segment"))


@pytest.mark.one_backend
@pytest.mark.every_sibling
def test_no_argument_is_swallowed(card):
    kinds = {p.kind for p in inspect.signature(card.builder).parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds


@pytest.mark.one_backend
@pytest.mark.every_sibling
def test_docstring_is_complete(card):
    documentation = inspect.getdoc(card.builder)
    assert "Example:" in documentation
    assert "Args:" in documentation or "Arguments" in documentation


@pytest.mark.one_backend
@pytest.mark.every_sibling
def test_parameter_count_channels_and_inputs_are_the_published_ones(card):
    with without_weights():
        model = card.builder(**card.published)
    assert model.count_params() == card.parameters
    assert dict(facts_of(model).inputs) == dict(card.inputs)
    assert list(facts_of(model).inputs) == list(card.inputs)
    assert {layer: model.get_layer(layer).output.shape[-1] for layer in card.taps} == {
        layer: tap.channels for layer, tap in card.taps.items()
    }


@pytest.mark.one_backend
def test_no_two_kernels_begin_alike(miniature):
    assert_kernels_begin_differently(miniature.kernels)


def test_output_shape_and_flat_model(card, miniature):
    model, outputs = miniature.model, miniature.outputs
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert all(np.isfinite(output).all() for output in keras.tree.flatten(outputs))
    assert all(
        all(size in (None, own) for size, own in zip(tensor.shape, output.shape, strict=True))
        for tensor, output in zip(model.outputs, keras.tree.flatten(outputs), strict=True)
    )
    SHAPES[card.task](card, miniature)


def detections(card, miniature):
    assert {"boxes", "scores", "classes", "count"} <= set(miniature.outputs)
    assert (miniature.outputs["count"] > 0).all()


def scores(card, miniature):
    y, read = logits(miniature.outputs), any(isinstance(kind, OneHot) for kind in card.inputs.values())
    assert y.std() > 0
    # There are scores at one place or several; a discriminator has one score, "real", even if a class is its input.
    assert (y.shape[0], y.shape[-1]) == (2, 1 if read else card.tiny.get("classes", 1))
    if isinstance(miniature.outputs, dict):
        assert {"logits", "theta", "transformed"} == set(miniature.outputs)
    else:
        assert y.ndim == 2


def score_maps(card, miniature):
    y = logits(miniature.outputs)
    assert y.std() > 0
    assert tuple(y.shape) == (2, *miniature.x.shape[1:3], card.tiny["classes"])


def sentences(card, miniature):
    written = [kind for kind in facts_of(miniature.model).inputs.values() if isinstance(kind, Tokens) and kind.target]
    y = miniature.outputs["logits"]
    assert y.std() > 0
    assert tuple(y.shape) == (2, LENGTH, written[0].size)


def pictures(card, miniature):
    usual = inspect.signature(card.builder).parameters["image_shape"].default
    assert miniature.outputs.std() > 0
    assert tuple(miniature.outputs.shape) == (2, *card.tiny.get("image_shape", usual))


SHAPES = {"detect": detections, "classify": scores, "segment": score_maps, "write": sentences, "generate": pictures}


@pytest.mark.one_backend
def test_layer_names_are_deterministic(card, miniature):
    with without_weights():
        again = card.builder(**card.tiny)
    assert [layer.name for layer in again.layers] == [layer.name for layer in miniature.model.layers]


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="Keras sums in float32 on JAX, too coarse to difference")
def test_gradient_against_finite_differences(card, miniature):
    with double_precision():
        model = tame(tiny_model(card, **smooth_part(card)))
        x = miniature.x
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
            values.append(float(loss_of(model, x)))
    assert abs((values[0] - values[1]) / (2 * STEP) - norm) / norm < GRADIENT_TOLERANCE


def test_keras_file_round_trip(card, miniature, tmp_path):
    path = tmp_path / "model.keras"
    miniature.model.save(path)
    again = keras.models.load_model(path)
    np.testing.assert_array_equal(run(again, miniature.x), rows(miniature.outputs))
    assert [c.name for c in cards_of(again)] == [c.name for c in cards_of(miniature.model)]
    assert cards_of(again)[0].name == card.name
    assert facts_of(again) == facts_of(miniature.model)


@pytest.mark.one_backend
def test_mixed_precision(card, miniature, smooth):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = tiny_model(card, **smooth_part(card))
    assert all(variable.dtype == "float32" for variable in model.trainable_variables)
    mixed = run(model, miniature.x).astype("float32")
    assert bool(relative_difference(mixed, smooth[1]) < MIXED_TOLERANCE) is ("mixed_precision" in card.claims)


# Not all cards, because Keras' `Add` fails for no maps of a single pixel, which some miniatures have.
@pytest.mark.one_backend
@pytest.mark.of_cards(
    lambda card: card.task == "detect" or any(isinstance(kind, Tokens) for kind in card.inputs.values())
)
def test_an_empty_batch_gives_an_empty_result(card, miniature):
    if takes_pictures(card) and not convolves_empty_batches():
        pytest.skip("Keras' convolution of an empty batch returns the shape of its input on this processor")
    found = outputs_of(miniature.model, keras.tree.map_structure(lambda x: x[:0], miniature.x))
    for empty, full in zip(keras.tree.flatten(found), keras.tree.flatten(miniature.outputs), strict=True):
        assert (empty.shape, empty.dtype) == ((0, *full.shape[1:]), full.dtype)


@pytest.mark.one_backend
@pytest.mark.of_cards(lambda card: takes_pictures(card, "include_top"))
def test_any_image_size_if_claimed(card, miniature, smooth):
    shape = (None, None, card.tiny["input_shape"][-1])
    if "dynamic_size" not in card.claims:
        with pytest.raises(ValueError, match="fixed image size"):
            card.builder(**{**card.tiny, "input_shape": shape})
        return
    model = tiny_model(card, input_shape=shape, **smooth_part(card))
    assert relative_difference(run(model, miniature.x), smooth[1]) < FLOAT32_TOLERANCE
    smallest = card.tiny["input_shape"][0]
    for height, width in ((smallest, smallest + 38), (smallest + 23, smallest + 6)):
        y = run(model, inputs_of(model, 1, sizes={picture_of(card)[0]: (height, width, shape[-1])}))
        assert np.isfinite(np.asarray(y)).all()
        if card.task == "segment":
            assert tuple(y.shape) == (1, height, width, card.tiny["classes"])


@pytest.mark.one_backend
@pytest.mark.parametrize("size", [(71, 90)])
@pytest.mark.of_cards(lambda card: has(card, "pooling"))
def test_taps_have_the_declared_stride(card, size):
    assert card.taps, f"{card.name} is a backbone and must declare taps"
    with without_weights():
        backbone = card.builder(include_top=False, input_shape=(*size, 3), alpha=card.tiny["alpha"], **card.aligned)
    for layer, tap in card.taps.items():
        shape = backbone.get_layer(layer).output.shape
        assert tuple(shape[1:3]) == tuple(-(-n // tap.stride) for n in size)


@pytest.mark.one_backend
@pytest.mark.of_cards(lambda card, changes: has(card, *changes))
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
    refused = (TypeError, ValueError, FileNotFoundError, keras_segattn.weights.WeightsError)
    with without_weights(), pytest.raises(refused, match=message):
        card.builder(**{**card.tiny, **changes})


@pytest.mark.one_backend
@pytest.mark.every_sibling
def test_misspelt_argument_is_not_swallowed(card):
    with pytest.raises(TypeError, match="clases"):
        card.builder(**card.tiny, clases=3)


@pytest.mark.one_backend
@pytest.mark.of_cards(lambda card: takes_pictures(card, "input_tensor"))
def test_input_tensor_and_input_channels(card):
    shape = card.tiny["input_shape"]
    image = keras.Input((*shape[:2], 4), name="multispectral")
    arguments = {k: v for k, v in card.tiny.items() if k != "input_shape"} | {"input_tensor": image}
    if inspect.signature(card.builder).parameters["input_shape"].default is not None:
        arguments["input_shape"] = None
    with without_weights():
        model = card.builder(**arguments)
    assert {tensor.name: tuple(tensor.shape) for tensor in model.inputs}["multispectral"] == (None, *shape[:2], 4)
    assert facts_of(model).inputs["multispectral"].channels == "other"
    with pytest.raises(ValueError, match="not both"):
        card.builder(**arguments | {"input_shape": shape})
    with pytest.raises(ValueError, match="must be a symbolic Keras tensor, received ndarray"):
        card.builder(**arguments | {"input_tensor": np.zeros((1, *shape), "float32")})


@pytest.mark.one_backend
@pytest.mark.of_cards(lambda card: has(card, "input_tensor") and not takes_pictures(card))
def test_other_input_tensor(card, miniature):
    name, kind = next(iter(facts_of(miniature.model).inputs.items()))
    ours = keras.Input(miniature.model.inputs[0].shape[1:], name="ours")
    with without_weights():
        model = card.builder(**card.tiny, input_tensor=ours)
    assert facts_of(model).inputs == {"ours": kind}
    with pytest.raises(ValueError, match=r"input_tensor must be a symbolic Keras tensor of \(batch, "):
        card.builder(**card.tiny, input_tensor=keras.Input((1, 2, 3), name=name))


@pytest.mark.one_backend
@pytest.mark.of_cards(lambda card: has(card, "classifier_activation"))
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_classifier_activation(card, miniature, activation):
    scored = logits(miniature.model.output)
    if scored.shape[-1] == 1 and activation == "softmax":  # it would be 1 everywhere
        with pytest.raises(
            ValueError, match="classifier_activation must be one of None, 'sigmoid', received 'softmax'"
        ):
            card.builder(**card.tiny, classifier_activation=activation)
        return
    with without_weights():
        model = card.builder(**card.tiny, classifier_activation=activation)
    assert graph.final_activation(logits(model.output)) == activation
    assert graph.final_activation(scored) is None
    assert facts_of(model).options["activation"] == activation
    assert logits(model.output).shape == scored.shape


@pytest.mark.one_backend
def test_names_are_forgiving_but_unknown_ones_are_not(card):
    assert model_card(f"-{card.name.upper()}_") is card
    listed = f"expected one of {list_models()[0]}, "
    with pytest.raises(ValueError, match=f"unknown model '{card.name}x'; {listed}.*; did you mean '{card.name}'?"):
        get_model(f"{card.name}x")
    with pytest.raises(ValueError, match=f"unknown model None; {listed}"):
        get_model(None)


@pytest.mark.one_backend
def test_registering_twice_or_an_unknown_claim_fails(card):
    with pytest.raises(ValueError, match=f"'{card.name}' is already registered"):
        register(card)(card.builder)
    paper = Paper("title", "authors", "venue", 2000)
    with pytest.raises(ValueError, match=r"unknown claims \['telepathy'\]"):
        register(Card(paper=paper, task="classify", inputs={}, parameters=0, tiny={}, claims={"telepathy"}))


@pytest.mark.one_backend
def test_families_are_folders(card):
    assert f"keras_segattn.{card.family}." in card.builder.__module__
    assert card.name in list_models(card.family)
    with pytest.raises(ValueError, match="unknown family 'furniture'"):
        list_models("furniture")


def other_backbones(card):
    """Build the card's model on the two smallest backbones that it accepts whose normalisation is not the usual one."""
    usual = inspect.signature(card.builder).parameters["backbone"].default
    names = (usual, card.tiny.get("backbone", usual))
    seen = [model_card(name).inputs["image"].mean for name in names if name]
    backbones = sorted((c for name in list_models() if (c := model_card(name)).taps), key=lambda c: c.parameters)
    found = []
    for backbone in backbones:
        if len(found) < 2 and backbone.inputs["image"].mean not in seen:
            try:
                with without_weights():
                    found.append((backbone, card.builder(**{**card.tiny, "backbone": backbone.name})))
            except ValueError:  # not every backbone suits every head
                continue
            seen.append(backbone.inputs["image"].mean)
    return found


def variants(card):
    """Yield models that the card's builder makes, and the kinds of inputs that each must have."""
    parameters = inspect.signature(card.builder).parameters
    with without_weights():
        usual = facts_of(card.builder(**card.tiny)).inputs
        for argument, value in (("include_top", False), ("transform", None)):
            if argument in parameters:
                yield card.builder(**{**card.tiny, argument: value}), usual
        backbone = parameters.get("backbone")
        # By default, `None` is a network of the model's own.
        if backbone and backbone.default is not None and type(None) in get_args(backbone.annotation):
            shapes = {"input_shape": (6, 4)}  # a map that was computed elsewhere
            bare = card.builder(**{**card.tiny, **shapes, "backbone": None})
            rest = {name: kind for name, kind in usual.items() if not isinstance(kind, Picture)}
            strange = {tensor.name for tensor in bare.inputs} - set(rest)
            yield bare, dict.fromkeys(strange, Vectors()) | rest
    if "backbone" in parameters:
        name, published = picture_of(card)
        built = other_backbones(card)
        # Each has the normalisation of its backbone, or all have the published one, whatever the backbone.
        own = all(facts_of(model).inputs[name] == published for _, model in built)
        for backbone, model in built:
            kind = replace(backbone.inputs["image"], size=published.size, fit=published.fit)
            yield model, usual | {name: published if own else kind}


def copied(model):
    """Copy the model by its configuration, as in a `.keras` file, and by `keras.models.clone_model`."""
    stored = json.dumps(keras.saving.serialize_keras_object(model))
    return [keras.saving.deserialize_keras_object(json.loads(stored)), keras.models.clone_model(model)]


@pytest.mark.one_backend
def test_every_variant_is_recognised(card, miniature):
    found = list(variants(card))
    assert "backbone" not in inspect.signature(card.builder).parameters or len(found) > 2
    found.append((miniature.model, facts_of(miniature.model).inputs))
    with without_weights():
        copies = [(copy, kinds) for model, kinds in found[-3:] for copy in copied(model)]
    for model, kinds in found + copies:
        facts = facts_of(model)
        assert (facts.card, facts.task) == (card.name, card.task)
        assert dict(facts.inputs) == dict(kinds)


@pytest.mark.one_backend
def test_facts_survive_json(miniature):
    facts = facts_of(miniature.model)
    assert Facts.from_json(facts.to_json()) == facts


@pytest.mark.thorough
@pytest.mark.one_backend
def test_models_are_recognised_whatever_is_imported_first(tmp_path):
    configurations, expected = {}, {}
    with without_weights():
        for name in list_models():
            model = get_model(name, **model_card(name).tiny)
            configurations[name] = keras.saving.serialize_keras_object(model)
            expected[name] = json.loads(facts_of(model).to_json())
    (tmp_path / "models.json").write_text(json.dumps(configurations))
    # With the command's name, importing the package loads no architecture; they are then loaded in reverse order.
    code = """
        import sys
        sys.argv = ["segattn"]
        from importlib import import_module
        import json
        import keras
        import keras_segattn
        from keras_segattn.facts import facts_of
        from keras_segattn.registry import list_models
        assert not list_models()
        for family in reversed(keras_segattn.FAMILIES):
            import_module("keras_segattn." + family)
        with open("models.json") as file, keras.StatelessScope(initialize_variables=False):
            models = {n: keras.saving.deserialize_keras_object(m) for n, m in json.load(file).items()}
        facts = {name: json.loads(facts_of(model).to_json()) for name, model in models.items()}
        print(json.dumps({"order": list_models(), "facts": facts}))
    """
    root = str(Path(keras_segattn.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", inspect.cleandoc(code)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert sorted(found["order"]) == sorted(list_models())
    assert found["order"] != list_models()
    assert found["facts"] == expected
