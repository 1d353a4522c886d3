"""A decoder of one's own, as users of TensorFlow Addons have one: a stack of Keras' cells, and three methods."""

import doctest
import inspect

import keras
import numpy as np
import pytest
from keras import ops

import keras_segattn as ks
from keras_segattn import data, export, graph
from keras_segattn.attention import RNNSearch, rnnsearch
from keras_segattn.decoding import BeamRules, Decoder, TeacherForcing
from keras_segattn.export.archive import as_float32
from keras_segattn.facts import endpoints_of
from keras_segattn.fields import Tokens
from keras_segattn.layers import (
    AdditiveAttention,
    AttentionLSTMCell,
    AttentionRNN,
    AttentionRNNCell,
    GeneralAttention,
    InputFeedingCell,
    NotEqual,
)

SIZE, WORDS = 6, 9
SOURCE = np.array([[3, 4, 5, 2], [6, 2, 0, 0]], "int32")
TARGET = np.array([[1, 5, 4, 8], [1, 3, 7, 0]], "int32")
LETTERS = data.Vocabulary("abcde")
# A few float32 steps, whose sums are in another order in graphs.
TOLERANCE = 1e-5


def documented_decoder():
    """Return the class that the docstring of `Decoder` has as its example."""
    names = {"keras": keras, "Decoder": Decoder}
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(Decoder))
    exec(next(one.source for one in examples if "class ContextDecoder" in one.source), names)  # noqa: S102
    return names["ContextDecoder"]


def stack(dropout=0.0):
    """Return a stack of Keras' cells with Luong's scaled attention, as Addons' `AttentionWrapper` made it."""
    cells = keras.layers.StackedRNNCells([keras.layers.LSTMCell(SIZE)])
    return InputFeedingCell(AttentionRNNCell(cells, GeneralAttention(scale=True), dropout=dropout), 5, activation=None)


def lstm():
    return AttentionLSTMCell(SIZE, AdditiveAttention(4, normalize=True))


def parts():
    return [keras.layers.Embedding(WORDS, SIZE, name="words"), keras.layers.Dense(WORDS, name="logits")]


def own_model(kind=Decoder, cell=stack, names=("state0", "state1"), implicit=True, **settings):
    """Return a model around a decoder, with random weights; its mask is Keras' implicit one, or an explicit one."""
    source, target = (keras.Input((None,), dtype="int32", name=side) for side in ("source", "target"))
    embedded = keras.layers.Embedding(WORDS, SIZE, mask_zero=implicit, name="source_words")(source)
    mask = None if implicit else NotEqual(0, name="mask")(source)
    annotations, h, c = keras.layers.LSTM(SIZE, return_sequences=True, return_state=True)(embedded, mask=mask)
    encoded = {"annotations": annotations, **dict(zip(names, (h, c), strict=False))}
    encoded |= {} if implicit else {"mask": mask}
    forcing = TeacherForcing(kind(cell(), parts()), name="forcing", **settings)
    model = keras.Model({"source": source, "target": target}, forcing(encoded, target), name="own")
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name != "sampling_probability":
            weight.assign(random.normal(0, 0.9, weight.shape))
    return model


MODELS = {
    "a stack of cells": {},
    "its states from zero": {"names": ()},
    "three methods of one's own": {"kind": documented_decoder, "cell": lstm, "names": ("h", "c"), "implicit": False},
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.slow_on_jax
def test_its_signatures_agree(name):
    settings = dict(MODELS[name])
    if "kind" in settings:
        settings["kind"] = settings["kind"]()
    model = own_model(**settings)
    facts = ks.facts_of(model, options={"beams": 2, "length": 4})
    assert facts.task == "write"
    assert facts.inputs == {"source": Tokens("source", WORDS), "target": Tokens("target", WORDS, target=True)}
    endpoints = endpoints_of(model, facts)
    assert list(endpoints) == ["decode_beam", "decode_greedy", "encode", "step", "score"]
    given = {"source": ops.convert_to_tensor(SOURCE)}
    best = {key: np.asarray(value) for key, value in endpoints["decode_beam"].function(given).items()}
    assert best["attention"][1, :, :, 2:].max() == 0  # the padding
    written = np.arange(4) < best["lengths"][:, 0, None]
    sentences = ops.convert_to_tensor(best["tokens"][:, 0] * written)
    scores = endpoints["score"].function(given | {"target": sentences})
    np.testing.assert_allclose(
        np.sum(scores["log_probabilities"], axis=1), best["log_probabilities"][:, 0], rtol=1e-4, atol=TOLERANCE
    )
    state = endpoints["encode"].function(given)
    first = endpoints["step"].function(dict(state) | {"tokens": ops.convert_to_tensor(np.array([1, 1], "int32"))})
    np.testing.assert_allclose(first["attention"], best["attention"][:, 0, 0], atol=TOLERANCE)


def speller():
    """Return a model that reads and writes letters, and its facts."""
    model = own_model()
    facts = ks.facts_of(model, vocabularies={"source": LETTERS, "target": LETTERS}, options=BeamRules(2, 5))
    return model, facts


def assert_same(found, expected):
    assert any(sentence.tokens for sentence in expected.sentences)
    assert [one.tokens for one in found.sentences] == [one.tokens for one in expected.sentences]
    scores = [[one.score for one in written.sentences] for written in (found, expected)]
    np.testing.assert_allclose(*scores, atol=1e-4)


@pytest.mark.one_backend
@pytest.mark.thorough
def test_files_translate_alike(tmp_path):
    model, facts = speller()
    expected = ks.load(model, facts=facts).predict("abc")
    ks.save(model, tmp_path / "own.keras", facts=facts)
    served = export.saved_model(model, tmp_path, facts=facts)
    assert {"decode_beam", "decode_greedy", "encode", "step", "score", "text"} < set(served.signatures)
    for path in (tmp_path / "own.keras", served.path):
        assert_same(ks.load(path).predict("abc"), expected)


@pytest.mark.one_backend
@pytest.mark.thorough
def test_the_command_opens_what_servers_get(tmp_path, segattn):
    """Every run opens and verifies a translator of this package in the same way (`test_saved_sequences.py`)."""
    model, facts = speller()
    served = export.saved_model(model, tmp_path, facts=facts)
    best = " ".join(ks.load(model, facts=facts).predict("abc").sentences[0].tokens)
    assert best in segattn("predict", tmp_path / "own", "abc").out
    segattn("verify", served.path)


@pytest.mark.one_backend
@pytest.mark.thorough
def test_phones_and_the_command_translate_alike(tmp_path, segattn):
    model, facts = speller()
    expected = ks.load(model, facts=facts).predict("abc")
    ks.save(model, tmp_path / "own.keras", facts=facts)
    segattn("export", tmp_path / "own.keras", "-o", tmp_path / "own.tflite", "--size", "source=6")
    assert_same(ks.load(tmp_path / "own.tflite").predict("abc"), expected)
    assert " ".join(expected.sentences[0].tokens) in segattn("predict", tmp_path / "own.keras", "abc").out


def test_it_gives_the_logits_of_the_loop_that_trained_its_layers():
    model = RNNSearch(WORDS, WORDS, units=6, embedding=5, maxout=4, alignment=7, initialization="scaled")
    target = model.input["target"]
    outputs = TeacherForcing(rnnsearch.decoder_of(model))(rnnsearch.encoded(model), target)
    forced = keras.Model(model.input, outputs)
    for name, expected in model({"source": SOURCE, "target": TARGET}).items():
        np.testing.assert_allclose(forced({"source": SOURCE, "target": TARGET})[name], expected, atol=TOLERANCE)
    facts = ks.facts_of(forced)
    assert (facts.card, facts.task) == (None, "write")
    assert facts.inputs == ks.facts_of(model).inputs


def test_attention_rnn_is_the_same_loop():
    cell, (words, logits) = stack(), parts()
    annotations = np.random.default_rng(0).normal(size=(2, 4, SIZE)).astype("float32")
    found = AttentionRNN(cell)(words(TARGET), annotations)
    forced = TeacherForcing(Decoder(cell, [words, logits]))({"annotations": annotations}, TARGET)
    np.testing.assert_allclose(forced["logits"], logits(found["outputs"]), atol=TOLERANCE)
    np.testing.assert_allclose(forced["attention"], found["weights"], atol=TOLERANCE)


def sampled_by_hand(model, probability, seed):
    """Return the tokens that scheduled sampling reads and its logits, by a plain loop over the same random numbers."""
    tensors = graph.arguments_of(model, model.get_layer("forcing"))["encoded"]
    encoder = keras.Model(model.input["source"], tensors)
    decoder = model.get_layer("forcing").decoder
    encoded = encoder(SOURCE)
    states, memory = decoder.start(encoded | {"mask": ops.convert_to_tensor(SOURCE != 0)}, 1)
    noise = np.asarray(keras.random.uniform((2, *TARGET.shape), seed=keras.random.SeedGenerator(seed)))
    read, logits = [TARGET[:, 0]], []
    for step in range(TARGET.shape[1]):
        scores, _, states = decoder.step(ops.convert_to_tensor(read[-1]), states, memory)
        logits.append(np.asarray(scores))
        if step + 1 < TARGET.shape[1]:
            shares = np.asarray(ops.softmax(scores))
            order = np.argsort(-shares, axis=1, kind="stable")
            reached = np.cumsum(np.take_along_axis(shares, order, axis=1), axis=1)
            place = (reached <= noise[1, :, step, None]).sum(axis=1)
            drawn = order[np.arange(len(order)), place]
            read.append(np.where(noise[0, :, step + 1] < probability, drawn, TARGET[:, step + 1]).astype("int32"))
    return np.stack(read, axis=1), np.stack(logits, axis=1)


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_scheduled_sampling_reads_tokens_drawn_from_the_predictions(probability):
    model = own_model(sampling_probability=probability, seed=3)
    inputs = {"source": SOURCE, "target": TARGET}
    read, expected = sampled_by_hand(model, probability, seed=3)
    drawn = (read != TARGET)[:, 1:]
    assert drawn.any() == (probability > 0)
    with_draws = model(inputs, training=True)["logits"]
    np.testing.assert_allclose(with_draws, expected, atol=TOLERANCE)
    # As in Addons, a draw has no gradient: the tokens are as good as given.
    forced = model(inputs | {"target": read}, training=False)["logits"]
    np.testing.assert_allclose(with_draws, forced, atol=TOLERANCE)
    if probability == 1:
        assert np.abs(np.asarray(forced) - np.asarray(model(inputs, training=False)["logits"])).max() > 0.1


@pytest.mark.one_backend  # TensorFlow's gradient tape
def test_gradients_of_scheduled_sampling_are_those_of_the_tokens_that_it_read():
    import tensorflow as tf

    model = own_model(sampling_probability=1.0, seed=3)
    read, _ = sampled_by_hand(model, 1.0, seed=3)
    found = []
    for target, training in ((TARGET, True), (read, False)):
        with tf.GradientTape() as tape:
            outputs = model({"source": SOURCE, "target": target}, training=training)
            loss = tf.reduce_sum(outputs["logits"] ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        found.append([np.asarray(tf.convert_to_tensor(one)) for one in gradients])
    for ours, expected in zip(*found, strict=True):
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.thorough
def test_the_probability_is_scheduled_by_a_callback_and_stored(tmp_path):
    model = own_model(sampling_probability=0.0, cell=lambda: stack(dropout=0.3))
    forcing = model.get_layer("forcing")
    model.compile("adam", {"logits": ks.losses.SequenceCrossEntropy()}, jit_compile=False)
    batches = data.SequenceBatches([([4, 5], [5, 4, 6]), ([6], [7])], 2)
    raised = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, _: forcing.sampling_probability.assign(0.25 * epoch)
    )
    losses = model.fit(batches, epochs=2, callbacks=[raised], verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    ks.save(model, tmp_path / "own.keras")
    again = keras.saving.load_model(tmp_path / "own.keras", compile=False)
    assert float(again.get_layer("forcing").sampling_probability) == 0.25
    inputs = {"source": SOURCE, "target": TARGET}
    np.testing.assert_allclose(again(inputs)["logits"], model(inputs)["logits"], atol=TOLERANCE)


@pytest.mark.one_backend
def test_models_of_16_bits_are_exported_in_32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = own_model()
    copied = as_float32(model)
    inside = copied.get_layer("forcing").decoder
    assert {layer.compute_dtype for layer in (inside.cell, *inside.parts.values())} == {"float32"}
    inputs = {"source": SOURCE, "target": TARGET}
    assert np.abs(np.asarray(copied(inputs)["logits"]) - np.asarray(model(inputs)["logits"])).max() < 0.2


def test_what_cannot_be_decoded_is_refused():
    cell, (words, logits) = lstm(), parts()
    with pytest.raises(TypeError, match="attention cells, such as AttentionRNNCell"):
        Decoder(keras.layers.LSTMCell(4), [words, logits])
    with pytest.raises(ValueError, match=r"'logits' must be a Dense layer, received \['words'\]"):
        Decoder(cell, [words])
    with pytest.raises(ValueError, match=r"expected one keras\.layers\.Embedding among the parts"):
        Decoder(cell, [logits]).build_layers({"annotations": (None, 4, 3)})
    decoder = Decoder(cell, [words, logits])
    for probability in (-0.1, 1.5, "high", True):
        with pytest.raises(ValueError, match="sampling_probability must be a number from 0 to 1"):
            TeacherForcing(decoder, probability)
    with pytest.raises(ValueError, match="target must be ids"):
        TeacherForcing(decoder)({"annotations": np.zeros((2, 4, 3), "float32")}, np.zeros((2, 4, 1), "int32"))
    annotations, words_in = keras.Input((4, 3)), keras.Input((None,), dtype="int32", name="words_in")
    model = keras.Model([annotations, words_in], TeacherForcing(decoder)({"annotations": annotations}, words_in))
    with pytest.raises(ValueError, match="hold 'target' and 'logits'"):
        endpoints_of(model, ks.facts_of(model))
