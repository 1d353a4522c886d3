"""Attention, the cells that attend and their loop, against their equations in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_segattn.layers import (
    AdditiveAttention,
    AttentionGRUCell,
    AttentionLSTMCell,
    AttentionRNN,
    DotAttention,
    GeneralAttention,
    HardAttention,
    InputFeedingCell,
    LocalAttention,
    LocationAttention,
    Maxout,
    ProjectedRNN,
    ResetBeforeGRUCell,
    UniformAttention,
)

# float32 sums of a few products.
TOLERANCE = 1e-5
BATCH, STEPS, LOCATIONS, SIZE, WIDTH, UNITS = 3, 5, 4, 6, 7, 8


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def data(seed=0):
    random = np.random.default_rng(seed)
    return {
        "sequences": random.normal(size=(BATCH, STEPS, SIZE)).astype("float32"),
        "annotations": random.normal(size=(BATCH, LOCATIONS, WIDTH)).astype("float32"),
        "annotation_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]], bool),
    }


def randomised(layer, *inputs, **named):
    layer(*inputs, **named)
    for index, weight in enumerate(layer.weights):
        weight.assign(np.random.default_rng([7, index]).normal(0, 0.7, weight.shape))
    return layer


def values(layer, without=()):
    left_out = {id(weight) for weight in without}
    own = [weight for weight in layer.weights if id(weight) not in left_out]
    return {weight.path.split("/")[-1]: np.asarray(weight, "float64") for weight in own}


def scores_of(attention, w, query, annotations, previous):
    """Scores of each kind of attention by the equations of its paper."""
    if isinstance(attention, UniformAttention):
        return np.zeros(annotations.shape[:2])
    if isinstance(attention, DotAttention):
        return np.einsum("bq,blq->bl", query, annotations)
    if isinstance(attention, GeneralAttention):
        return np.einsum("bq,dq,bld->bl", query, w["kernel"], annotations)
    keys = annotations @ w["key_kernel"] + w.get("key_bias", 0)
    if "layer1_kernel" in w:
        keys = np.tanh(keys @ w["layer1_kernel"] + w["layer1_bias"])
    hidden = keys + (query @ w["query_kernel"])[:, None]
    if isinstance(attention, LocationAttention):
        width = attention.width // 2
        padded = np.pad(previous, [(0, 0), (width, width)])
        windows = np.stack([padded[:, i : i + 2 * width + 1] for i in range(previous.shape[1])], axis=1)
        hidden = hidden + np.einsum("blk,kf->blf", windows, w["filter_kernel"][:, 0]) @ w["location_kernel"]
    return (np.tanh(hidden) @ w["score_kernel"])[..., 0] + w.get("score_bias", 0)


def weights_of(scores, mask):
    return softmax(np.where(mask, scores, -np.inf))


ATTENTIONS = [
    lambda: AdditiveAttention(5),
    lambda: AdditiveAttention(5, key_bias=True, key_layers=1, score_bias=True),
    GeneralAttention,
    UniformAttention,
    lambda: LocationAttention(5, filters=2, width=3),
]


@pytest.mark.parametrize("make", [*ATTENTIONS, DotAttention])
def test_scores_are_the_papers(make):
    x = data()
    size = WIDTH if make is DotAttention else UNITS
    query = np.random.default_rng(1).normal(size=(BATCH, size)).astype("float32")
    attention = randomised(make(), query, x["annotations"], x["annotation_mask"])
    found = attention(query, x["annotations"], x["annotation_mask"])
    previous = np.zeros((BATCH, LOCATIONS))
    weights = weights_of(
        scores_of(attention, values(attention), query, x["annotations"], previous), x["annotation_mask"]
    )
    np.testing.assert_allclose(found["weights"], weights, atol=TOLERANCE)
    np.testing.assert_allclose(
        found["context"], np.einsum("bl,bld->bd", weights, x["annotations"]), rtol=TOLERANCE, atol=TOLERANCE
    )


def test_nothing_to_attend_to_gives_nothing():
    x = data()
    mask = np.zeros((BATCH, LOCATIONS), bool)
    found = AdditiveAttention(5)(x["sequences"][:, 0], x["annotations"], mask)
    assert not np.asarray(found["weights"]).any()
    assert not np.asarray(found["context"]).any()
    with pytest.raises(ValueError, match=r"annotations must be \(batch, locations, size\)"):
        AdditiveAttention(5)(x["sequences"][:, 0], x["sequences"][:, 0])
    with pytest.raises(ValueError, match="must be of one size, received 6 and 7"):
        DotAttention()(x["sequences"][:, 0], x["annotations"])


def gru(w, x, context, h):
    z, r, c = (slice(i * UNITS, (i + 1) * UNITS) for i in range(3))
    joined, kernel = x @ w["kernel"] + context @ w["context_kernel"], w["recurrent_kernel"]
    joined[:, c] += w["bias"]
    update, reset = (sigmoid(joined[:, part] + h @ kernel[:, part]) for part in (z, r))
    return (1 - update) * h + update * np.tanh(joined[:, c] + (reset * h) @ kernel[:, c])


def lstm(w, x, context, h, c):
    joined = x @ w["kernel"] + context @ w["context_kernel"] + h @ w["recurrent_kernel"] + w["bias"]
    i, f, g, o = np.split(joined, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


@pytest.mark.parametrize("make", ATTENTIONS)
@pytest.mark.parametrize("kind", ["gru", "lstm", "scalar", "vector"])
@pytest.mark.parametrize("unroll", [False, True])
def test_the_loop_is_its_equations(make, kind, unroll):
    x = data()
    steps = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]], bool)
    attention = make()
    if kind == "gru":
        cell = AttentionGRUCell(UNITS, attention)
    else:
        cell = AttentionLSTMCell(UNITS, attention, None if kind == "lstm" else kind)
    random = np.random.default_rng(2)
    states = [random.normal(size=(BATCH, UNITS)).astype("float32") for _ in cell.state_sizes]
    rnn = randomised(AttentionRNN(cell, unroll), **x, initial_state=states, mask=steps)
    found = rnn(**x, initial_state=states, mask=steps)
    w, score = values(rnn, attention.weights), values(attention)
    annotations, mask = x["annotations"].astype("float64"), x["annotation_mask"]
    states, previous = [s.astype("float64") for s in states], np.zeros((BATCH, LOCATIONS))
    for t in range(STEPS):
        weights = weights_of(scores_of(attention, score, states[0], annotations, previous), mask)
        context = np.einsum("bl,bld->bd", weights, annotations)
        if kind in ("scalar", "vector"):
            context = context * sigmoid(states[0] @ w["selector_kernel"] + w["selector_bias"])
        new = x["sequences"][:, t], context
        new = [gru(w, *new, *states)] if kind == "gru" else lstm(w, *new, *states)
        going = steps[:, t, None]
        for name, expected in (("outputs", new[0]), ("context", context), ("weights", weights)):
            np.testing.assert_allclose(
                np.asarray(found[name])[:, t], going * expected, rtol=10 * TOLERANCE, atol=TOLERANCE
            )
        states = [np.where(going, a, b) for a, b in zip(new, states, strict=True)]
        previous = np.where(going, weights, previous)
    for state, expected in zip(found["states"], states, strict=True):
        np.testing.assert_allclose(state, expected, rtol=10 * TOLERANCE, atol=TOLERANCE)


def local_weights(attention, w, scores, query, mask, t):
    """Weights of local attention by Luong et al.'s equations 9 and 10, one example at a time."""
    rows = []
    for score, q, there in zip(scores, query, mask, strict=True):
        last, j = there.sum() - 1, np.arange(len(there))
        if attention.centre == "predictive":
            p = last * sigmoid(np.tanh(q @ w["centre_kernel"]) @ w["centre_score"])[0]
        else:
            p = min(t, last)
        row = softmax(np.where(there & (np.abs(j - p) <= attention.window), score, -np.inf))
        deviation = attention.window / 2
        rows.append(row * np.exp(-((j - p) ** 2) / (2 * deviation**2)) if attention.centre == "predictive" else row)
    return np.stack(rows)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@pytest.mark.parametrize("centre", [None, "monotonic", "predictive"])
def test_luong_s_order_is_its_equations(kind, centre):
    x, mask = data(), data()["annotation_mask"]
    attention = GeneralAttention() if centre is None else LocalAttention(GeneralAttention(), centre, window=1)
    inner = AttentionGRUCell(UNITS, attention) if kind == "gru" else AttentionLSTMCell(UNITS, attention)
    rnn = AttentionRNN(InputFeedingCell(inner, 5))
    random = np.random.default_rng(2)
    states = [random.normal(size=(BATCH, UNITS)).astype("float32") for _ in inner.state_sizes]
    found = randomised(rnn, **x, initial_state=states)(**x, initial_state=states)
    score, w, fed = values(attention), values(inner, attention.weights), np.zeros((BATCH, 5))
    kernel = np.asarray(rnn.cell.kernel, "float64")
    for t in range(STEPS):
        new = (x["sequences"][:, t], fed)
        states = [gru(w, *new, *states)] if kind == "gru" else lstm(w, *new, *states)
        general = attention if centre is None else attention.attention
        scores = scores_of(general, score, states[0], x["annotations"], None)
        if centre is None:
            weights = weights_of(scores, mask)
        else:
            weights = local_weights(attention, score, scores, states[0], mask, t)
        context = np.einsum("bl,bld->bd", weights, x["annotations"])
        fed = np.tanh(np.concatenate([context, states[0]], axis=1) @ kernel)
        for name, expected in (("outputs", fed), ("context", context), ("weights", weights)):
            np.testing.assert_allclose(
                np.asarray(found[name])[:, t], expected, rtol=10 * TOLERANCE, atol=TOLERANCE, err_msg=f"{name} {t}"
            )
    assert [tuple(state.shape) for state in found["states"]] == [(BATCH, 5), *(s.shape for s in states)]
    whole = rnn(**x)["outputs"]  # every state zero
    np.testing.assert_allclose(whole, rnn(**x, initial_state=[np.zeros_like(s) for s in states])["outputs"], atol=1e-6)


def test_a_window_past_the_end_stays_at_the_last():
    annotations = np.eye(3, dtype="float32")[None]
    rnn = AttentionRNN(AttentionGRUCell(4, LocalAttention(UniformAttention(), "monotonic", window=1)))
    weights = rnn(np.ones((1, 5, 2), "float32"), annotations)["weights"][0]
    third = [1 / 3, 1 / 3, 1 / 3]
    np.testing.assert_allclose(weights, [[0.5, 0.5, 0], third, *[[0, 0.5, 0.5]] * 3], atol=TOLERANCE)


def test_hard_attention_to_a_window():
    local = LocalAttention(UniformAttention(), "monotonic", window=1)
    rnn = AttentionRNN(AttentionGRUCell(4, HardAttention(local, most_probable=True)))
    weights = rnn(np.ones((1, 4, 2), "float32"), np.eye(6, dtype="float32")[None])["weights"][0]
    np.testing.assert_array_equal(np.asarray(weights).nonzero()[1], [0, 1, 0, 1, 2, 1, 2, 3, 2, 3, 4])


@pytest.mark.parametrize("gate_bias", [False, True])
def test_the_gated_unit_is_keras_s_with_the_update_gate_negated(gate_bias):
    x = data()["sequences"]
    ours = randomised(ProjectedRNN(ResetBeforeGRUCell(UNITS, gate_bias), return_sequences=True), x)
    theirs = keras.layers.GRU(UNITS, reset_after=False, return_sequences=True)
    theirs(x)
    kernel, recurrent, bias = ours.get_weights()
    bias = bias if gate_bias else np.concatenate([np.zeros(2 * UNITS, "float32"), bias])
    sign = np.concatenate([-np.ones(UNITS), np.ones(2 * UNITS)]).astype("float32")
    theirs.set_weights([kernel * sign, recurrent * sign, bias * sign])
    np.testing.assert_allclose(ours(x), theirs(x), rtol=TOLERANCE, atol=TOLERANCE)
    plain = keras.layers.RNN(ours.cell, return_sequences=True)
    np.testing.assert_allclose(plain(x), ours(x), rtol=TOLERANCE, atol=TOLERANCE)


def test_recurrent_kernels_are_made_of_orthogonal_blocks():
    rnn = AttentionRNN(AttentionLSTMCell(UNITS, GeneralAttention(), forget_bias=1.0))
    rnn(data()["sequences"], data()["annotations"])
    blocks = np.split(np.asarray(rnn.cell.recurrent_kernel), 4, axis=1)
    for block in blocks:
        np.testing.assert_allclose(block.T @ block, np.eye(UNITS), atol=TOLERANCE)
    assert np.abs(blocks[0] - blocks[1]).max() > 0.1
    np.testing.assert_array_equal(rnn.cell.bias, np.repeat([0, 1, 0, 0], UNITS))


def test_shapes_are_known_before_anything_runs():
    sequences, annotations = keras.Input((None, SIZE)), keras.Input((LOCATIONS, WIDTH))
    found = AttentionRNN(AttentionGRUCell(UNITS, AdditiveAttention(5)))(sequences, annotations)
    shapes = {name: tuple(value.shape) for name, value in found.items() if name != "states"}
    assert shapes == {
        "outputs": (None, None, UNITS),
        "context": (None, None, WIDTH),
        "weights": (None, None, LOCATIONS),
        "choices": (None, None, LOCATIONS),
    }


def test_maxout_takes_the_larger_of_neighbours():
    np.testing.assert_array_equal(Maxout(2)(ops.convert_to_tensor([[1.0, 3.0, -2.0, -5.0]])), [[3.0, -2.0]])
    with pytest.raises(ValueError, match="expected channels in groups of 2, received 3"):
        Maxout(2)(keras.Input((3,)))


def test_wrong_parts_are_named():
    with pytest.raises(TypeError, match="attention must be one of keras_segattn"):
        AttentionGRUCell(4, "additive")
    with pytest.raises(TypeError, match="cell must be one of keras_segattn"):
        AttentionRNN(keras.layers.GRUCell(4))
    with pytest.raises(ValueError, match="selector must be one of"):
        AttentionLSTMCell(4, GeneralAttention(), "matrix")
    with pytest.raises(ValueError, match="width must be odd, received 4"):
        LocationAttention(4, width=4)
    with pytest.raises(TypeError, match="one that does not read the step before"):
        LocalAttention(LocationAttention(4))
    with pytest.raises(ValueError, match="centre must be one of 'monotonic', 'predictive', received 'fixed'"):
        LocalAttention(GeneralAttention(), "fixed")
    with pytest.raises(TypeError, match="cell must be one of keras_segattn"):
        InputFeedingCell(keras.layers.LSTMCell(4), 4)
    with pytest.raises(ValueError, match="expected a cell without a selector, received 'scalar'"):
        InputFeedingCell(AttentionLSTMCell(4, GeneralAttention(), "scalar"), 4)
    with pytest.raises(ValueError, match="has no annotations to attend to"):
        AttentionGRUCell(4, UniformAttention()).step(None, [], False)
