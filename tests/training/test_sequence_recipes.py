"""Tests of the recipes of models that write sentences: their numbers, their updates, and training with them."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_segattn.attention import RNNSearch, ShowAttendTell
from keras_segattn.data import CaptionBatches, SequenceBatches
from keras_segattn.training import SEQUENCE_RECIPES, CheckpointError, SequenceRecipe, train_sequences


def rates(optimizer, updates):
    rate = optimizer._learning_rate
    return [float(rate(step)) if callable(rate) else float(optimizer.learning_rate) for step in updates]


def test_schedules():
    luong = SEQUENCE_RECIPES["luong"].make_optimizer(epochs=10, steps=10)
    np.testing.assert_allclose(rates(luong, [0, 50, 51, 61, 99]), [1, 1, 0.5, 0.25, 2**-5])
    assert rates(SEQUENCE_RECIPES["luong"].make_optimizer(epochs=3, steps=10), [0]) == [1.0]
    cosine = SEQUENCE_RECIPES["adam-cosine"].make_optimizer(epochs=10, steps=100)
    np.testing.assert_allclose(rates(cosine, [0, 200, 400, 700, 1000]), [0, 5e-4, 1e-3, 5e-4, 0], atol=1e-9)
    assert rates(SEQUENCE_RECIPES["adam-cosine"].make_optimizer(epochs=1, steps=3), [2]) == pytest.approx([1e-3])


def test_adadelta_is_the_paper_s():
    """Compare two updates with Zeiler's rule (ρ 0.95, ε 1e-6), with the norm of the gradient clipped to 1."""
    optimizer = SEQUENCE_RECIPES["rnnsearch"].make_optimizer(epochs=1, steps=2)
    variable = keras.Variable([0.0, 0.0])
    expected, squares, steps = np.zeros(2), np.zeros(2), np.zeros(2)
    for gradient in ([3.0, 4.0], [0.0, 0.1]):
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        g = np.array(gradient) / max(1.0, np.linalg.norm(gradient))
        squares = 0.95 * squares + 0.05 * g**2
        step = -np.sqrt(steps + 1e-6) / np.sqrt(squares + 1e-6) * g
        steps = 0.95 * steps + 0.05 * step**2
        expected = expected + step
    np.testing.assert_allclose(variable, expected, rtol=1e-4)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("name", [pytest.param("rnnsearch", marks=pytest.mark.thorough), "show-attend-tell"])
def test_a_training_by_the_papers(name):
    recipe = SEQUENCE_RECIPES[name]
    if recipe.doubly_stochastic:
        model = ShowAttendTell(9, backbone=None, input_shape=(4, 6), units=8, embedding=5)
        pictures = np.random.default_rng(0).normal(size=(8, 4, 6)).astype("float32")
        batches = CaptionBatches([[[4, 5, 6]]] * 8, pictures.__getitem__, batch_size=4, name="annotations")
    else:
        model = RNNSearch(11, 9, units=8, embedding=6, maxout=5, alignment=7)
        batches = SequenceBatches([([4, 5, 6], [7, 8])] * 8, batch_size=4)
    recipe.compile(model, epochs=2, steps=len(batches))
    before = [weight.numpy() for weight in model.trainable_weights]
    history = model.fit(batches, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert ("attention_loss" in history) == bool(recipe.doubly_stochastic)
    moved = [np.abs(new.numpy() - old).max() > 0 for new, old in zip(model.trainable_weights, before, strict=True)]
    assert np.mean(moved) > 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adamw"}, "optimizer must be one of 'adadelta', 'adam', 'sgd', received 'adamw'"),
        ({"schedule": "linear"}, "schedule must be one of"),
        ({"learning_rate": 0.0}, "expected learning_rate > 0"),
        ({"doubly_stochastic": -1.0}, "doubly_stochastic >= 0, received 0.1 and -1.0"),
        ({"clip_norm": 0.0}, "expected clip_norm > 0 or None, received 0.0"),
        ({"warmup": 5}, "warmup is a number of updates of a cosine schedule, received 5 with 'constant'"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SequenceRecipe("sgd", 0.1), **changes)


def test_wrong_models_and_counts_are_named():
    inputs = keras.Input((3,))
    other = keras.Model(inputs, keras.layers.Dense(2)(inputs), name="other")
    with pytest.raises(ValueError, match=r"a model that gives \['logits'\], 'other' lacks \['logits'\]"):
        SEQUENCE_RECIPES["rnnsearch"].compile(other, 1, 1)
    with pytest.raises(ValueError, match="steps must be a positive integer, received 0"):
        SEQUENCE_RECIPES["rnnsearch"].make_optimizer(1, 0)


@pytest.mark.usefixtures("eagerly")
def test_a_training_does_not_go_on_in_another_order(tmp_path):
    def train(epochs, **order):
        source, target = (keras.Input((None,), dtype="int32", name=name) for name in ("source", "target"))
        subjects = keras.layers.GlobalAveragePooling1D(keepdims=True)(keras.layers.Embedding(9, 3)(source))
        words = keras.layers.Add()([keras.layers.Embedding(9, 3)(target), subjects])
        outputs = {"logits": keras.layers.Dense(9, name="logits")(words)}
        model = keras.Model({"source": source, "target": target}, outputs)
        pairs = [([4 + i % 5, 5], [4, 5 + i % 4]) for i in range(8)]
        batches = SequenceBatches(pairs, **{"batch_size": 4, "shuffle": True} | order)
        train_sequences(model, batches, epochs=epochs, recipe="rnnsearch", run_dir=tmp_path, progress=False)

    train(1)
    for order, message in (
        ({"seed": 1}, r"train_data\.seed: 0 in the file, 1 now"),
        ({"shuffle": False}, r"train_data\.shuffle: 1 in the file, 0 now"),
        ({"batch_size": 5}, r"train_data\.batch_size: 4 in the file, 5 now"),
    ):
        with pytest.raises(CheckpointError, match=message):
            train(2, **order)
