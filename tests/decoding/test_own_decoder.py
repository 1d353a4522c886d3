"""A decoder of one's own, as users of TensorFlow Addons have one: a stack of Keras' cells, and three methods."""

import doctest
import inspect

import keras
import numpy as np
import pytest
from keras import ops

from keras_segattn.decoding import Decoder, sequence_endpoints
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


def documented_decoder():
    """Return the class that the docstring of `Decoder` has as its example."""
    names = {"keras": keras, "Decoder": Decoder}
    exec(doctest.DocTestParser().get_examples(inspect.getdoc(Decoder))[0].source, names)  # noqa: S102
    return names["WordDecoder"]


def stack():
    cells = keras.layers.StackedRNNCells([keras.layers.LSTMCell(SIZE)])
    return InputFeedingCell(AttentionRNNCell(cells, GeneralAttention(scale=True)), 5, activation=None)


CELLS = {"stack": stack, "lstm": lambda: AttentionLSTMCell(SIZE, AdditiveAttention(4, normalize=True))}


@pytest.mark.parametrize("name", CELLS)
def test_its_signatures_agree(name):
    source, target = (keras.Input((None,), dtype="int32", name=side) for side in ("source", "target"))
    embedded = keras.layers.Embedding(WORDS, SIZE)(source)
    mask = NotEqual(0)(source)
    encoded, h, c = keras.layers.LSTM(SIZE, return_sequences=True, return_state=True)(embedded, mask=mask)
    words = keras.layers.Embedding(WORDS, SIZE, name="words")(target)
    found = AttentionRNN(CELLS[name](), name="loop")(words, encoded, annotation_mask=mask, initial_state=[h, c])
    outputs = {"logits": keras.layers.Dense(WORDS, name="logits")(found["outputs"])}
    model = keras.Model({"source": source, "target": target}, outputs)
    parts = [model.get_layer(part) for part in ("words", "logits")]
    decoder = documented_decoder()(model.get_layer("loop").cell, parts)
    tensors = {"annotations": encoded, "mask": mask, "h": h, "c": c}
    endpoints = sequence_endpoints(model, decoder, tensors, {"beams": 2, "length": 4})
    assert list(endpoints) == ["decode_beam", "decode_greedy", "encode", "step", "score"]
    given = {"source": ops.convert_to_tensor(SOURCE)}
    best = {key: np.asarray(value) for key, value in endpoints["decode_beam"].function(given).items()}
    written = np.arange(4) < best["lengths"][:, 0, None]
    sentences = ops.convert_to_tensor(best["tokens"][:, 0] * written)
    scores = endpoints["score"].function(given | {"target": sentences})
    np.testing.assert_allclose(
        np.sum(scores["log_probabilities"], axis=1), best["log_probabilities"][:, 0], rtol=1e-4, atol=1e-5
    )
    state = endpoints["encode"].function(given)
    first = endpoints["step"].function(dict(state) | {"tokens": ops.convert_to_tensor(np.array([1, 1], "int32"))})
    np.testing.assert_allclose(first["attention"], best["attention"][:, 0, 0], atol=1e-5)
