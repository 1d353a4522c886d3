"""Folding of normalisation and rescaling: the same function in fewer layers, and no folding where it would differ."""

import keras
import numpy as np
import pytest
from harness import images, inputs_of, randomise, run, smooth_part, tiny_model

from keras_segattn import export, list_models, model_card
from keras_segattn.export.folding import fold_affine
from keras_segattn.layers import GroupedConv2D

L = keras.layers
# Folding rounds products once more, in networks of up to a hundred layers.
FLOAT32_TOLERANCE = 1e-5


def difference(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return np.max(np.abs(a - b)) / max(1.0, np.max(np.abs(b)))


def normalisations(model):
    return [layer.name for layer in model.layers if isinstance(layer, L.BatchNormalization | L.Rescaling)]


@pytest.mark.parametrize(
    "layer",
    [
        L.Conv2D(6, 3, use_bias=False),
        L.Conv2D(6, 3, strides=2, padding="same"),
        GroupedConv2D(6, 3, groups=2),
        L.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False),
        L.DepthwiseConv2D(3),
        L.Conv2DTranspose(6, 4, strides=2, use_bias=False),
        L.Dense(6),
    ],
    ids=lambda layer: f"{type(layer).__name__}-{layer.use_bias}",
)
@pytest.mark.parametrize("parameters", [{}, {"scale": False}, {"center": False, "scale": False, "epsilon": 0.1}])
def test_folded_layer_is_the_same_function(layer, parameters):
    inputs = keras.Input((9, 8, 4))
    layer = type(layer).from_config(layer.get_config())
    model = keras.Model(inputs, L.ReLU()(L.BatchNormalization(**parameters)(layer(inputs))))
    randomise(model)
    folded = fold_affine(model)
    assert not normalisations(folded)
    assert len(folded.layers) == len(model.layers) - 1
    assert [tensor.name for tensor in folded.inputs] == [tensor.name for tensor in model.inputs]
    x = images((9, 8, 4))
    assert np.ptp(np.asarray(model(x))) > 0.1
    assert difference(folded(x), model(x)) < FLOAT32_TOLERANCE


@pytest.mark.parametrize(("scale", "offset"), [(0.17, 0.0), ([0.5, 2.0, -1.0, 3.0], 0.5)])
def test_rescaling_is_folded(scale, offset):
    inputs = keras.Input((9, 8, 3))
    model = keras.Model(inputs, L.ReLU()(L.Rescaling(scale, offset)(L.Conv2D(4, 3)(inputs))))
    randomise(model)
    folded = fold_affine(model)
    assert len(folded.layers) == len(model.layers) - 1
    assert difference(folded(images((9, 8, 3))), model(images((9, 8, 3)))) < FLOAT32_TOLERANCE


def branches(kind):
    """Build a model whose only normalisation must not be folded."""
    inputs = keras.Input((9, 8, 3))
    x = L.Conv2D(4, 3, name="conv", activation="relu" if kind == "activation" else None)(inputs)
    if kind == "pooling":
        x = L.MaxPooling2D(name="pool")(x)
    y = L.BatchNormalization(name="bn")(x, training=True if kind == "batch statistics" else None)
    if kind == "two consumers":
        y = L.Add()([x, y])
    if kind == "shared":
        y = L.Concatenate()([y, model_layer(y, "bn")(x * 2)])
    return keras.Model(inputs, {"y": y, "x": x} if kind == "output" else y)


def model_layer(tensor, name):
    layer = tensor._keras_history.operation
    assert layer.name == name
    return layer


@pytest.mark.parametrize("kind", ["activation", "pooling", "two consumers", "shared", "output", "batch statistics"])
def test_what_is_no_single_affine_map_stays(kind):
    model = branches(kind)
    randomise(model)
    assert fold_affine(model) is model


def test_preprocessing_layers_keep_their_statistics():
    normalisation = L.Normalization()
    normalisation.adapt(10 + 3 * images((9, 8, 3)))
    inputs = keras.Input((9, 8, 3))
    model = keras.Model(inputs, L.BatchNormalization()(L.Conv2D(4, 3)(normalisation(inputs))))
    folded = fold_affine(model)
    assert not normalisations(folded)
    assert difference(folded(images((9, 8, 3))), model(images((9, 8, 3)))) < FLOAT32_TOLERANCE


def test_what_cannot_be_rebuilt_is_exported_as_it_is():
    inputs = keras.Input((9, 8, 3))
    doubled = L.Lambda(lambda x: 2 * x)(inputs)
    model = keras.Model(inputs, L.BatchNormalization()(L.Conv2D(4, 3)(doubled)))
    assert fold_affine(model) is model


def test_other_models_are_returned_as_they_are():
    sequential = keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(4, 3), L.BatchNormalization()])
    assert fold_affine(sequential) is sequential


@pytest.mark.parametrize("card", [model_card(name) for name in list_models()], ids=lambda card: card.name)
def test_every_builder_folds_completely(card):
    model = tiny_model(card, **smooth_part(card))
    folded = fold_affine(model)
    assert not normalisations(folded)
    if normalisations(model):
        x = inputs_of(model)
        assert difference(run(folded, x), run(model, x)) < FLOAT32_TOLERANCE
    else:
        assert folded is model


def test_exported_graphs_hold_no_batch_norm(tmp_path):
    card = model_card("ResNet18")
    model = tiny_model(card)
    before = model.get_weights()
    saved = export.saved_model(model, tmp_path)
    assert not {"Rsqrt", "FusedBatchNormV3"} & {*saved.operators}
    assert saved.weight_bytes < sum(array.nbytes for array in before)
    lite = export.tflite(model, tmp_path / "model.tflite")
    assert set(lite.operators) <= {"PAD", "CONV_2D", "MAX_POOL_2D", "ADD", "MEAN", "RESHAPE", "FULLY_CONNECTED"}
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.thorough
def test_side_heads_are_outputs_of_both_formats(tmp_path):
    model = model_card("InceptionV4").builder(aux_logits=True, **model_card("InceptionV4").tiny)
    randomise(model)
    saved = export.saved_model(model, tmp_path)
    assert set(saved.signatures["serving_default"]["outputs"]) == {"logits", "aux_logits"}
    lite = export.tflite(model, tmp_path / "model.tflite")
    assert set(lite.signatures["serving_default"]["outputs"]) == {"logits", "aux_logits"}
