"""Keras' implicit masks reach every layer of attention and recurrence, as explicit masks do."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_segattn.attention import RNNSearch, rnnsearch
from keras_segattn.decoding import BeamRules, BeamSearch, SampleTokens, SamplingRules
from keras_segattn.layers import (
    AddBias,
    AdditiveAttention,
    AttentionGRUCell,
    AttentionLSTMCell,
    AttentionRNN,
    DotAttention,
    Earlier,
    GeneralAttention,
    HardAttention,
    InputFeedingCell,
    Later,
    LocalAttention,
    LocationAttention,
    Maxout,
    ProjectedRNN,
    ResetBeforeGRUCell,
    Reverse,
    UniformAttention,
    ZeroWhereNot,
)

SIZE = 4
# The mask is on the left, on the right and in between.
MASK = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 1, 0]], bool)
STEPS = np.array([[1, 1, 0], [0, 1, 1], [1, 1, 1]], bool)

ATTENTIONS = {
    "additive": lambda: AdditiveAttention(3),
    "dot": DotAttention,
    "general": GeneralAttention,
    "uniform": UniformAttention,
    "location": lambda: LocationAttention(3, filters=2, width=3),
    "monotonic": lambda: LocalAttention(GeneralAttention(), "monotonic", window=1),
    "predictive": lambda: LocalAttention(GeneralAttention(), window=2),
    "hard": lambda: HardAttention(AdditiveAttention(3), most_probable=True),
}


@pytest.fixture(autouse=True)
def _no_lost_mask():
    """Fail if Keras warns that a layer destroys a mask."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


class MaskOf(keras.layers.Layer):
    """Returns the mask that Keras passes on with a tensor."""

    supports_masking = True

    def call(self, inputs, mask=None):
        return mask if mask is not None else ops.zeros_like(inputs)


def mask_of(tensor):
    return np.asarray(MaskOf()(tensor))


def vectors(mask, seed=0):
    """Return random vectors with zeros where the mask is false, and the same with Keras' mask attached."""
    plain = np.random.default_rng(seed).normal(size=(*mask.shape, SIZE)).astype("float32") * mask[..., None]
    return plain, keras.layers.Masking()(plain)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_gets_the_mask_of_its_annotations(name):
    query = np.ones((3, SIZE), "float32")
    plain, masked = vectors(MASK)
    attention = ATTENTIONS[name]()
    implicit, explicit = attention(query, masked), attention(query, plain, mask=MASK)
    np.testing.assert_array_equal(implicit["weights"], explicit["weights"])
    assert not np.asarray(implicit["weights"])[~MASK].any()
    other = np.ones_like(MASK)
    wins = attention(query, masked, mask=other)
    np.testing.assert_array_equal(wins["weights"], attention(query, plain, mask=other)["weights"])


@pytest.mark.parametrize("name", ATTENTIONS)
def test_padding_anywhere_is_as_if_it_were_not_there(name):
    query = np.ones((3, SIZE), "float32")
    plain, masked = vectors(MASK)
    attention = ATTENTIONS[name]()
    weights = np.asarray(attention(query, masked)["weights"])
    for row, mask, found in zip(plain, MASK, weights, strict=True):
        alone = np.asarray(attention(query[:1], row[mask][None])["weights"])
        np.testing.assert_allclose(found[mask], alone[0], atol=1e-6)


CELLS = {
    "gru": lambda: AttentionGRUCell(SIZE, AdditiveAttention(3)),
    "lstm-monotonic": lambda: AttentionLSTMCell(SIZE, LocalAttention(GeneralAttention(), "monotonic", window=1)),
    "luong": lambda: InputFeedingCell(AttentionGRUCell(SIZE, GeneralAttention()), 3),
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.slow_on_jax
def test_the_attention_loop_gets_both_masks(name, go_backwards):
    (annotations, masked), (steps, masked_steps) = vectors(MASK), vectors(STEPS, 1)
    rnn = AttentionRNN(CELLS[name](), go_backwards=go_backwards)
    implicit = rnn(masked_steps, masked)
    explicit = rnn(steps, annotations, annotation_mask=MASK, mask=STEPS)
    for part in ("outputs", "context", "weights", "choices"):
        np.testing.assert_array_equal(implicit[part], explicit[part])
        order = STEPS[:, ::-1] if go_backwards else STEPS
        np.testing.assert_array_equal(mask_of(implicit[part]), order)
        assert not np.asarray(implicit[part])[~order].any()
    for ours, theirs in zip(implicit["states"], explicit["states"], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.asarray(implicit["weights"])[~np.broadcast_to(MASK[:, None], implicit["weights"].shape)].any()
    # A masked step copies the state: the last states are those of the steps that count alone.
    for row, mask in enumerate(STEPS):
        alone = rnn(steps[row : row + 1, mask], annotations[row : row + 1], annotation_mask=MASK[row : row + 1])
        for state, expected in zip(implicit["states"], alone["states"], strict=True):
            np.testing.assert_allclose(state[row], expected[0], atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"go_backwards": True}, {"zero_output_for_mask": True}, {"unroll": True}])
@pytest.mark.parametrize("state", [False, True])
def test_the_projected_loop_is_keras_s_loop_with_a_mask(settings, state):
    steps, masked = vectors(STEPS)
    start = {"initial_state": [np.ones((3, SIZE), "float32")]} if state else {}
    ours = ProjectedRNN(ResetBeforeGRUCell(SIZE), return_sequences=True, return_state=True, **settings)
    outputs, last = ours(masked, **start)
    theirs = keras.layers.RNN(ours.cell, return_sequences=True, return_state=True, **settings)
    for found, expected in zip((outputs, last), theirs(steps, mask=STEPS, **start), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(mask_of(outputs), STEPS[:, ::-1] if settings.get("go_backwards") else STEPS)
    assert ProjectedRNN(ours.cell)(masked).shape == (3, SIZE)  # without a sequence there is no mask


@pytest.mark.parametrize(
    ("layer", "mask"),
    [
        (AddBias(), STEPS),
        (Maxout(2), STEPS),
        (Reverse(), STEPS[:, ::-1]),
        (Later(), STEPS),
        (lambda x: Earlier()(x, ops.zeros((3, SIZE))), STEPS),
        (lambda x: ZeroWhereNot()(x, ops.ones(STEPS.shape, "bool")), STEPS),
    ],
    ids=["AddBias", "Maxout", "Reverse", "Later", "Earlier", "ZeroWhereNot"],
)
def test_layers_between_loops_pass_masks_on(layer, mask):
    np.testing.assert_array_equal(mask_of(layer(vectors(STEPS)[1])), mask)


@pytest.mark.parametrize(
    "arguments",
    [{"stateful": True}, {"return_sequences": True, "go_backwards": True}, {"return_state": True, "unroll": True}],
    ids=str,
)
def test_arguments_of_keras_s_loop_survive_the_config(arguments):
    steps, _ = vectors(STEPS)
    rnn = ProjectedRNN(ResetBeforeGRUCell(SIZE), **arguments)
    plain = keras.layers.RNN(rnn.cell, **arguments)
    for _ in range(2):  # a second batch, which goes on where the first one ended if the loop is stateful
        outputs = rnn(steps)
        for found, expected in zip(keras.tree.flatten(outputs), keras.tree.flatten(plain(steps)), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-6)
    again = ProjectedRNN.from_config(rnn.get_config())
    assert all(getattr(again, name) == value for name, value in arguments.items())


@pytest.mark.parametrize("kind", ["beams", "draws"])
@pytest.mark.slow_on_jax
def test_searches_get_the_mask_of_the_annotations(kind):
    source = np.array([[4, 5, 2, 0, 0], [4, 5, 6, 7, 2]], "int32")
    model = RNNSearch(9, 8, units=6, embedding=4, maxout=3, alignment=5, initialization="scaled")
    tensors = keras.Model(model.input["source"], rnnsearch.encoded(model))(source)
    decoder, noise = rnnsearch.decoder_of(model), (np.full((2, 4), 0.5, "float32"),)
    if kind == "beams":
        search, noise = BeamSearch(decoder, 1, 2, BeamRules(2, 4)), ()
    else:
        search = SampleTokens(decoder, 1, 2, SamplingRules(4))
    mask = ops.not_equal(source, 0)
    plain = {name: ops.copy(tensors[name]) for name in ("annotations", "state")}
    explicit = search(plain | {"mask": mask}, *noise)
    state = plain.pop("state")
    masked = {"annotations": keras.layers.Masking()(plain["annotations"] * ops.cast(mask, "float32")[..., None])}
    implicit = search(masked | {"state": state}, *noise)
    np.testing.assert_allclose(implicit["attention"], explicit["attention"], atol=1e-6)


def test_masks_of_embeddings_reach_the_loop_in_a_stored_model(tmp_path):
    source, target = (keras.Input((None,), dtype="int32", name=name) for name in ("source", "target"))
    annotations = keras.layers.Embedding(9, SIZE, mask_zero=True)(source)
    words = keras.layers.Embedding(9, SIZE, mask_zero=True)(target)
    found = AttentionRNN(AttentionGRUCell(SIZE, AdditiveAttention(3)))(words, annotations)
    model = keras.Model([source, target], [found["outputs"], found["weights"]])
    ids = [np.array([[3, 4, 0, 0], [3, 4, 5, 6]]), np.array([[2, 0], [2, 3]])]
    outputs, weights = map(np.asarray, model(ids))
    assert not weights[0, :, 2:].any()
    assert not outputs[0, 1].any()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for found, expected in zip(again.predict_on_batch(ids), (outputs, weights), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
