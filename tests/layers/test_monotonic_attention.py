"""Monotonic attention against the recursion of its paper, and against a walk from left to right."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_segattn.layers import (
    AdditiveAttention,
    AttentionGRUCell,
    AttentionRNN,
    DotAttention,
    GeneralAttention,
    LocalAttention,
    MonotonicAttention,
)

BATCH, LOCATIONS, STEPS = 4, 7, 5
MASK = np.arange(LOCATIONS) < np.array([7, 4, 1, 6])[:, None]
# A few dozen float32 operations, rounded in another order.
TOLERANCE = 1e-5


def layer_and_scores(seed=0, **settings):
    """Return a layer over annotations of one number each, so that the query times them are the scores."""
    random = np.random.default_rng(seed)
    annotations = random.normal(0, 2, (BATCH, LOCATIONS, 1)).astype("float32")
    queries = random.normal(0, 1.5, (STEPS, BATCH, 1)).astype("float32")
    layer = MonotonicAttention(DotAttention(), **settings)
    layer(queries[0], annotations)
    return layer, annotations, queries


def recursion(p, previous):
    """Equations 8 and 9 of the paper, location by location."""
    alpha, q = np.zeros_like(p), np.zeros(len(p))
    for j in range(p.shape[1]):
        q = q * (1 - p[:, j - 1]) * (j > 0) + previous[:, j]
        alpha[:, j] = p[:, j] * q
    return alpha


def walk(stops, place):
    """Algorithm 1 of the paper for one example: go on from the last place to the first location that stops."""
    return next((j for j in range(place, len(stops)) if stops[j]), None) if place is not None else None


def test_weights_are_the_recursion_of_the_paper_and_padding_has_none():
    layer, annotations, queries = layer_and_scores(score_bias=-0.5)
    memory = layer.remember(annotations, MASK)
    previous, expected = layer.first(memory), np.eye(LOCATIONS)[np.zeros(BATCH, int)]
    np.testing.assert_array_equal(previous, expected)
    for query in queries:
        p = 1 / (1 + np.exp(-(annotations[..., 0] * query - 0.5))) * MASK
        expected = recursion(p.astype("float64"), expected)
        previous = layer.carried(layer.attend(query, memory, previous), previous)
        np.testing.assert_allclose(previous, expected, atol=TOLERANCE)
    assert np.all(np.asarray(previous)[~MASK] == 0)


def test_hard_weights_are_a_walk_from_left_to_right():
    layer, annotations, queries = layer_and_scores(hard=True)
    memory = layer.remember(annotations, MASK)
    previous, places = layer.first(memory), [0] * BATCH
    for query in queries:
        stops = (annotations[..., 0] * query > 0) & MASK
        places = [walk(one, place) for one, place in zip(stops, places, strict=True)]
        previous = layer.attend(query, memory, previous).weights
        expected = [[float(place == j) for j in range(LOCATIONS)] for place in places]
        np.testing.assert_array_equal(previous, expected)
    assert None in places  # one of them ran past its end
    assert any(places)  # another one moved on


def test_thousands_of_certain_steps_stay_finite():
    scores = np.where(np.arange(3000) % 1000 == 999, 80.0, -80.0).astype("float32")[None, :, None]
    layer = MonotonicAttention(DotAttention())
    assert np.asarray(layer(np.ones((1, 1), "float32"), scores)["weights"]).argmax() == 999


@pytest.mark.one_backend
def test_it_learns_in_the_loop_with_noise_and_is_rebuilt_from_its_configuration():
    attention = MonotonicAttention(AdditiveAttention(3, normalize=True), score_bias=-1.0, noise=1.0)
    words, annotations = keras.Input((STEPS, 2)), keras.Input((LOCATIONS, 3))
    model = keras.Model(
        [words, annotations], AttentionRNN(AttentionGRUCell(4, attention))(words, annotations)["weights"]
    )
    random = np.random.default_rng(0)
    x = [random.normal(size=(BATCH, *tensor.shape[1:])).astype("float32") for tensor in (words, annotations)]
    again = keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again(x), model(x), atol=TOLERANCE)
    noisy = model(x, training=True)
    assert np.abs(np.asarray(noisy) - np.asarray(model(x))).max() > 1e-3
    assert np.asarray(noisy).sum(-1).max() <= 1 + TOLERANCE
    before = [np.array(weight) for weight in model.trainable_weights]
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(x, ops.zeros((BATCH, STEPS, LOCATIONS)), verbose=0)
    changed = [np.abs(new - old).max() for new, old in zip(model.trainable_weights, before, strict=True)]
    assert np.isfinite(changed).all()
    assert "score_bias" in {w.name for w, by in zip(model.trainable_weights, changed, strict=True) if by > 0}


def test_what_cannot_be_monotonic_is_refused():
    with pytest.raises(TypeError, match="does not read the step before"):
        MonotonicAttention(LocalAttention(GeneralAttention(), "monotonic"))
    with pytest.raises(ValueError, match="hard"):
        MonotonicAttention(DotAttention(), hard="parallel")
    with pytest.raises(ValueError, match="noise must be at least 0"):
        MonotonicAttention(DotAttention(), noise=-1.0)
