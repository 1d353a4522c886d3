"""Attention, the cells that attend and their loop, against their equations in NumPy."""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_segattn.layers import (
    AdditiveAttention,
    AttentionGRUCell,
    AttentionLSTMCell,
    AttentionRNN,
    AttentionRNNCell,
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
        return np.einsum("bq,dq,bld->bl", query, w["kernel"], annotations) * w.get("score_scale", 1)
    keys = annotations @ w["key_kernel"] + w.get("key_bias", 0)
    if "layer1_kernel" in w:
        keys = np.tanh(keys @ w["layer1_kernel"] + w["layer1_bias"])
    hidden = keys + (query @ w["query_kernel"])[:, None]
    if isinstance(attention, LocationAttention):
        width = attention.width // 2
        padded = np.pad(previous, [(0, 0), (width, width)])
        windows = np.stack([padded[:, i : i + 2 * width + 1] for i in range(previous.shape[1])], axis=1)
        hidden = hidden + np.einsum("blk,kf->blf", windows, w["filter_kernel"][:, 0]) @ w["location_kernel"]
    kernel = w["score_kernel"]
    if "score_gain" in w:
        hidden, kernel = hidden + w["hidden_bias"], w["score_gain"] * kernel / np.linalg.norm(kernel)
    return (np.tanh(hidden) @ kernel)[..., 0] + w.get("score_bias", 0)


def weights_of(scores, mask):
    return softmax(np.where(mask, scores, -np.inf))


ATTENTIONS = [
    lambda: AdditiveAttention(5),
    lambda: AdditiveAttention(5, key_bias=True, key_layers=1, score_bias=True),
    GeneralAttention,
    UniformAttention,
    lambda: LocationAttention(5, filters=2, width=3),
]


# Options of TensorFlow Addons' scores.
OPTIONS = [lambda: AdditiveAttention(5, normalize=True), lambda: GeneralAttention(scale=True)]


@pytest.mark.parametrize("make", [*ATTENTIONS, *OPTIONS, DotAttention])
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


@pytest.mark.parametrize("make", OPTIONS)
def test_options_of_scores_survive_the_config(make):
    x, query = data(), np.ones((BATCH, UNITS), "float32")
    attention = randomised(make(), query, x["annotations"])
    again = type(attention).from_config(attention.get_config())
    again(query, x["annotations"])
    again.set_weights(attention.get_weights())
    for name, value in attention(query, x["annotations"]).items():
        np.testing.assert_array_equal(again(query, x["annotations"])[name], value)


def test_options_of_scores_begin_as_in_addons():
    query, annotations = np.ones((1, UNITS), "float32"), data()["annotations"][:1]
    additive, general = (make() for make in OPTIONS)
    additive(query, annotations), general(query, annotations)
    assert float(additive.score_gain) == pytest.approx(np.sqrt(1 / 5))
    assert not np.asarray(additive.hidden_bias).any()
    assert float(general.score_scale) == 1


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
@pytest.mark.parametrize("unroll", [False, pytest.param(True, marks=pytest.mark.thorough)])
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
@pytest.mark.slow_on_jax
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


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.slow_on_jax
def test_a_loop_without_steps_or_locations(hard):
    attention = HardAttention(AdditiveAttention(3), most_probable=True) if hard else AdditiveAttention(3)
    rnn = AttentionRNN(InputFeedingCell(AttentionGRUCell(4, attention), 5))
    given = [np.full((2, size), 0.5, "float32") for size in (5, 4)]
    for steps, locations in ((0, 3), (2, 0), (0, 0)):
        found = rnn(np.ones((2, steps, 3), "float32"), np.ones((2, locations, 6), "float32"), initial_state=given)
        assert found["weights"].shape == (2, steps, locations)
        assert found["outputs"].shape == (2, steps, 5)
        assert not np.asarray(found["context"]).any()
        assert steps or all((np.asarray(a) == b).all() for a, b in zip(found["states"], given, strict=True))
    with pytest.raises(ValueError, match=r"must have at least one step, received the shape \(2, 0, 4\)"):
        ProjectedRNN(ResetBeforeGRUCell(3))(np.ones((2, 0, 4), "float32"))


SIZES = {
    "sequences": (2, 5, 3),
    "annotations": (2, 4, 6),
    "annotation_mask": (2, 4),
    "mask": (2, 5),
    "noise": (2, 5, 4),
    "drawn": (2,),
}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("annotations", (1, 4, 6)),
        ("annotation_mask", (1, 4)),
        ("annotation_mask", (2, 3)),
        ("mask", (1, 5)),
        ("mask", (2, 5, 1)),
        ("noise", (2, 1, 4)),
        ("noise", (2, 5, 1)),
        ("drawn", (1,)),
    ],
)
@pytest.mark.slow_on_jax
def test_nothing_is_broadcast_in_the_loop(name, shape):
    rnn = AttentionRNN(AttentionGRUCell(4, HardAttention(AdditiveAttention(3))))
    given = {key: np.ones(size, bool if "mask" in key or key == "drawn" else "float32") for key, size in SIZES.items()}
    rnn(**given)
    with pytest.raises(ValueError, match=name):
        rnn(**given | {name: np.ones(shape, given[name].dtype)})


@pytest.mark.parametrize(("annotations", "mask"), [((1, 4, 6), (1, 4)), ((2, 4, 6), (1, 4)), ((2, 4, 6), (2, 3))])
def test_nothing_is_broadcast_in_an_attention(annotations, mask):
    with pytest.raises(ValueError, match="which does not fit"):
        AdditiveAttention(3)(np.ones((2, 4), "float32"), np.ones(annotations, "float32"), np.ones(mask, bool))


@pytest.mark.parametrize(
    "states", [[(1, 4)], [(2, 3)], [(2, 4), (2, 4)], [(2, 4, 1)]], ids=["batch", "size", "two", "rank"]
)
def test_initial_states_are_those_of_the_cell(states):
    rnn = AttentionRNN(AttentionGRUCell(4, AdditiveAttention(3)))
    steps, annotations = np.ones((2, 5, 3), "float32"), np.ones((2, 4, 6), "float32")
    with pytest.raises(ValueError, match=r"initial_state\[0\]|expects states of the sizes \[4\]"):
        rnn(steps, annotations, initial_state=[np.ones(shape, "float32") for shape in states])
    only = np.ones((2, 4), "float32")
    one, listed = (rnn(steps, annotations, initial_state=given)["outputs"] for given in (only, [only]))
    np.testing.assert_array_equal(one, listed)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AdditiveAttention(3, key_bias="yes"),
        lambda: AdditiveAttention(3, score_bias=2),
        lambda: HardAttention(AdditiveAttention(3), most_probable="no"),
        lambda: AttentionRNN(AttentionGRUCell(3, AdditiveAttention(3)), unroll="no"),
        lambda: AttentionRNN(AttentionGRUCell(3, AdditiveAttention(3)), go_backwards=None),
        lambda: AttentionLSTMCell(3, AdditiveAttention(3), forget_bias=float("nan")),
    ],
)
def test_settings_that_would_be_read_as_truth_values_are_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()


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
    with pytest.raises(TypeError, match="cell must be a cell of Keras"):
        InputFeedingCell(keras.layers.Dense(4), 4)
    with pytest.raises(ValueError, match="AttentionGRUCell has an attention of its own"):
        InputFeedingCell(AttentionGRUCell(4, UniformAttention()), 4, attention=GeneralAttention())
    with pytest.raises(ValueError, match="expected a cell without a selector, received 'scalar'"):
        InputFeedingCell(AttentionLSTMCell(4, GeneralAttention(), "scalar"), 4)
    with pytest.raises(ValueError, match="has no annotations to attend to"):
        AttentionGRUCell(4, UniformAttention()).step(None, [], False)


def attention_loop():
    """Return a loop, and the function that runs it on data of a seed."""
    rnn = AttentionRNN(AttentionGRUCell(UNITS, AdditiveAttention(5)))
    return rnn, lambda seed: rnn(data(seed)["sequences"], data(seed)["annotations"])["outputs"]


def projected_loop():
    """Return a loop, and the function that runs it on data of a seed."""
    rnn = ProjectedRNN(ResetBeforeGRUCell(UNITS), return_sequences=True)
    return rnn, lambda seed: rnn(data(seed)["sequences"])


LOOPS = [attention_loop, projected_loop]


@pytest.mark.parametrize("make", LOOPS)
@pytest.mark.slow_on_jax
def test_calls_in_several_threads_do_not_meet(make):
    _, call = make()
    expected = [np.asarray(call(seed)) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(call, [seed for seed in range(4) for _ in range(3)]))
    for number, value in enumerate(found):
        np.testing.assert_allclose(value, expected[number // 3], atol=TOLERANCE)


@pytest.mark.parametrize("make", LOOPS)
def test_a_call_leaves_nothing_on_a_layer(make, monkeypatch):
    layer, call = make()
    call(0)
    own = {id(part) for part in layer._flatten_layers()}
    written, usual = [], keras.layers.Layer.__setattr__

    def write(part, attribute, value):
        # Keras notes at each call that a layer was called and is built.
        if id(part) in own and attribute not in ("_called", "built"):
            written.append(attribute)
        usual(part, attribute, value)

    monkeypatch.setattr(keras.layers.Layer, "__setattr__", write)
    call(1)
    assert written == []


# Scores of any size: the products of large vectors are far below and above those of trained networks.
SCORES = st.lists(
    st.sampled_from([0.0, -1e4, -3e4, -7e4, 1e4, -1e9, 1e9, -1e30, 1e30, -12.5, 3.0]), min_size=5, max_size=5
)


@pytest.mark.parametrize("kind", [DotAttention, lambda: LocalAttention(DotAttention(), "monotonic", window=9)])
@given(scores=SCORES, mask=st.lists(st.booleans(), min_size=5, max_size=5))
@settings(max_examples=15, deadline=None)
def test_masks_are_exact_whatever_the_scores(kind, scores, mask):
    mask = np.array([mask, [False] * 5])
    exact = np.array(scores, "float32").astype("float64")[mask[0]]
    found = kind()(np.ones((2, 1), "float32"), np.array([scores, scores], "float32")[..., None], mask=mask)
    weights = np.asarray(found["weights"])
    np.testing.assert_allclose(weights[0, mask[0]], softmax(exact) if mask[0].any() else exact, atol=TOLERANCE)
    assert not weights[~mask].any()


@pytest.mark.one_backend
def test_gradients_of_masked_scores_are_finite():
    import tensorflow as tf

    keys = tf.Variable(np.array([[[-7e4], [3.0]], [[1e30], [5.0]]], "float32"))
    with tf.GradientTape() as tape:
        weights = DotAttention()(np.ones((2, 1), "float32"), keys, mask=[[True, False], [False, False]])["weights"]
        value = ops.sum(ops.square(weights))
    np.testing.assert_array_equal(tape.gradient(value, keys), np.zeros((2, 2, 1)))


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_hard_attention_draws_by_its_weights_in_any_precision(policy):
    keras.config.set_dtype_policy(policy)
    batch, locations = 4000, 200
    annotations = np.zeros((batch, locations, 1), "float32")
    annotations[:, 0] = 9.5
    rnn = AttentionRNN(AttentionGRUCell(1, HardAttention(DotAttention())))
    mask = np.arange(locations) < locations - 50
    noise = np.random.default_rng(0).random((batch, 1, locations)).astype("float32")
    noise[:, :, -1] = np.nextafter(1, 0, dtype="float32")  # in half precision this is 1
    found = rnn(
        np.ones((batch, 1, 1), "float32"),
        annotations,
        annotation_mask=np.broadcast_to(mask, (batch, locations)),
        initial_state=[np.ones((batch, 1), "float32")],
        noise=noise,
        drawn=np.ones(batch, bool),
    )
    choices = np.asarray(ops.cast(found["choices"], "float32"))[:, 0]
    np.testing.assert_array_equal(choices.sum(axis=1), 1)
    assert not choices[:, ~mask].any()
    share = np.exp(9.5) / (np.exp(9.5) + mask.sum() - 1)
    # Four standard deviations of the share of the batch.
    assert choices[:, 0].mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / batch))


@pytest.mark.parametrize("most_probable", [False, True])
def test_nothing_but_padding_is_never_drawn(most_probable):
    x = data()
    rnn = AttentionRNN(AttentionGRUCell(UNITS, HardAttention(AdditiveAttention(5), most_probable)))
    mask, noise = np.zeros((BATCH, LOCATIONS), bool), np.full((BATCH, STEPS, LOCATIONS), 0.5, "float32")
    found = rnn(x["sequences"], x["annotations"], annotation_mask=mask, noise=noise, drawn=np.ones(BATCH, bool))
    for part in ("weights", "choices", "context"):
        assert not np.asarray(found[part]).any()


def test_windows_are_placed_exactly_in_half_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    annotations = np.zeros((1, 600, 1), "float32")
    local = LocalAttention(UniformAttention(), "monotonic", window=1)
    local(np.ones((1, 1), "float32"), annotations)
    memory = local.remember(ops.cast(annotations, "bfloat16"))
    previous = local.first(memory)
    for _ in range(2):
        previous = local.carried(None, previous + 255)
    seen = local.attend(ops.ones((1, 1), "bfloat16"), memory, previous)
    np.testing.assert_array_equal(np.asarray(ops.cast(seen.weights, "float32"))[0].nonzero()[0], [511, 512, 513])


@pytest.mark.parametrize("unroll", [False, True])
def test_go_backwards_runs_the_steps_from_the_last(unroll):
    x = data()
    rnn = AttentionRNN(AttentionGRUCell(UNITS, AdditiveAttention(5)), unroll, go_backwards=True)
    found = rnn(x["sequences"], x["annotations"])
    forward = AttentionRNN(rnn.cell)(x["sequences"][:, ::-1], x["annotations"])
    np.testing.assert_allclose(found["outputs"], forward["outputs"], atol=TOLERANCE)
    again = AttentionRNN.from_config(rnn.get_config())
    again(x["sequences"], x["annotations"])
    again.set_weights(rnn.get_weights())
    np.testing.assert_allclose(again(x["sequences"], x["annotations"])["outputs"], found["outputs"], atol=TOLERANCE)


@pytest.mark.parametrize("name", ["return_sequences", "return_state", "stateful", "zero_output_for_mask", "time_major"])
def test_other_arguments_of_keras_s_loop_are_refused_by_name(name):
    with pytest.raises((TypeError, ValueError), match=name):
        AttentionRNN(AttentionGRUCell(4, UniformAttention()), **{name: True})


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "make",
    [
        lambda: AdditiveAttention(5),
        pytest.param(lambda: LocationAttention(5, filters=2, width=3), marks=pytest.mark.thorough),
    ],
)
def test_xla_differentiates_the_loop_for_open_sizes(make):
    import tensorflow as tf

    x = data()
    rnn = AttentionRNN(AttentionGRUCell(UNITS, make()))
    rnn(x["sequences"], x["annotations"])

    def gradient(sequences, annotations):
        with tf.GradientTape() as tape:
            value = ops.sum(ops.square(rnn(sequences, annotations)["outputs"]))
        return tape.gradient(value, [weight.value for weight in rnn.trainable_weights])

    open_sizes = [tf.TensorSpec((None, None, size)) for size in (SIZE, WIDTH)]
    compiled = tf.function(gradient, open_sizes, jit_compile=True)(x["sequences"], x["annotations"])
    for found, expected in zip(compiled, gradient(x["sequences"], x["annotations"]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


KERAS_CELLS = {
    "lstm": lambda: keras.layers.LSTMCell(UNITS),
    "gru": lambda: keras.layers.GRUCell(UNITS),
    "stack": lambda: keras.layers.StackedRNNCells([keras.layers.LSTMCell(5), keras.layers.GRUCell(UNITS)]),
}


@pytest.mark.parametrize("name", KERAS_CELLS)
@pytest.mark.parametrize("feeding", [False, True])
@pytest.mark.slow_on_jax
def test_any_cell_of_keras_attends(name, feeding):
    x, attention = data(), GeneralAttention()
    if feeding:
        cell = InputFeedingCell(KERAS_CELLS[name](), 5, attention=attention, activation=None)
        rnn, inner = AttentionRNN(cell), cell.cell
    else:
        inner = AttentionRNNCell(KERAS_CELLS[name](), attention)
        rnn = AttentionRNN(inner)
    found = rnn(**x)
    states = [[np.zeros((BATCH, size), "float32") for size in np.ravel(cell.state_size)] for cell in inner.cells]
    fed = np.zeros((BATCH, 5), "float32")
    for t in range(STEPS):
        seen = attention(states[-1][0], x["annotations"], x["annotation_mask"])
        out = np.concatenate([x["sequences"][:, t], fed if feeding else seen["context"]], axis=1)
        for number, cell in enumerate(inner.cells):
            out, states[number] = cell(out, states[number])
        if feeding:
            seen = attention(states[-1][0], x["annotations"], x["annotation_mask"])
            out = fed = np.concatenate([seen["context"], states[-1][0]], axis=1) @ np.asarray(rnn.cell.kernel)
        np.testing.assert_allclose(np.asarray(found["outputs"])[:, t], out, atol=TOLERANCE)
        np.testing.assert_allclose(np.asarray(found["weights"])[:, t], seen["weights"], atol=TOLERANCE)
    again = AttentionRNN.from_config(rnn.get_config())
    again(**x)
    again.set_weights(rnn.get_weights())
    np.testing.assert_allclose(again(**x)["outputs"], found["outputs"], atol=TOLERANCE)


def test_cells_of_keras_that_cannot_attend_are_refused():
    with pytest.raises(ValueError, match="expected cells without dropout, received dropped with it"):
        AttentionRNNCell(keras.layers.LSTMCell(4, dropout=0.1, name="dropped"), UniformAttention())
    with pytest.raises(TypeError, match="cell must be a cell of Keras"):
        AttentionRNNCell(keras.layers.Dense(4), UniformAttention())


@pytest.mark.parametrize("feeding", [False, True])
def test_dropout_in_a_cell_drops_the_same_inputs_at_all_steps(feeding):
    cell = AttentionLSTMCell(UNITS, UniformAttention(), dropout=0.5)
    rnn = AttentionRNN(InputFeedingCell(cell, 5) if feeding else cell)
    ones, annotations = np.ones((64, STEPS, SIZE), "float32"), np.ones((64, LOCATIONS, WIDTH), "float32")
    calm = rnn(ones, annotations)["outputs"]
    np.testing.assert_array_equal(calm, rnn(ones, annotations, training=False)["outputs"])
    assert np.abs(rnn(ones, annotations, training=True)["outputs"] - calm).max() > 1e-3
    dropped = np.asarray(rnn.cell.drop(ones, True))
    assert set(np.unique(dropped)) == {0, 2}
    assert (dropped == dropped[:, :1]).all()
    # Four standard deviations of the share of the inputs that is dropped.
    assert (dropped[:, 0] == 0).mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(64 * SIZE))
    again = AttentionRNN.from_config(rnn.get_config())
    assert (again.cell.cell if feeding else again.cell).dropout == 0.5
    with pytest.raises(ValueError, match="dropout must be a rate"):
        AttentionLSTMCell(UNITS, UniformAttention(), dropout=1.0)
