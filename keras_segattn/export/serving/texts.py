"""Signatures that take and give texts: the tokenisation of `predict`, in the graph of a served model."""

from typing import Any

import numpy as np
import tensorflow as tf

from keras_segattn.data import graph_text
from keras_segattn.data.vocabulary import Vocabulary
from keras_segattn.endpoints import Endpoint, Spec
from keras_segattn.export.preparation import Prepared
from keras_segattn.export.serving.requests import required
from keras_segattn.facts import Facts
from keras_segattn.fields import EOS, PAD, UNK, Tokens

# Signature that takes texts instead of the ids of their tokens, and the output that holds sentences as texts.
TEXT, SENTENCES = "text", "sentences"
# Most characters of all texts of a request: some are composed one by one, about 10,000 per second.
LARGEST_TEXT = 100_000


def reads_texts(prepared: Prepared, endpoint: Endpoint) -> bool:
    """Return whether all inputs of an endpoint are sentences, and the facts hold their vocabularies."""
    kinds = [prepared.kind(name, spec) for name, spec in endpoint.inputs.items()]
    known = prepared.facts.vocabularies
    return all(isinstance(kind, Tokens) and not kind.target and kind.vocabulary in known for kind in kinds)


def from_texts(prepared: Prepared, endpoint: Endpoint) -> Endpoint:
    """Return the endpoint with texts as inputs, strings `(batch,)` in UTF-8, and with sentences as a further output.

    The texts become tokens as in `load(…).predict`. Texts without a token, texts that are too long for a model of fixed
    length, and strings that are not UTF-8 are refused.
    """

    def call(inputs: dict[str, Any]) -> dict[str, Any]:
        ids = {name: padded_ids(prepared, name, spec, inputs[name]) for name, spec in endpoint.inputs.items()}
        return with_sentences(prepared.facts, endpoint.function(ids))

    return Endpoint(call, {name: Spec((None,), "string") for name in endpoint.inputs})


def padded_ids(prepared: Prepared, name: str, spec: Spec, texts: Any) -> Any:
    """Read texts as ids `(batch, length)`, each with the end of the sentence, then padding."""
    kind = prepared.kind(name, spec)
    if not isinstance(kind, Tokens):
        raise TypeError(f"expected tokens, received {kind!r}")
    characters = tf.reduce_sum(tf.strings.length(texts, unit="UTF8_CHAR"))
    (texts,) = required([texts], (characters <= LARGEST_TEXT, f"{name} must hold at most {LARGEST_TEXT} characters"))
    ids = graph_text.token_ids(texts, kind, prepared.facts.vocabularies[kind.vocabulary])
    lengths, length = ids.row_lengths(), spec.shape[1]
    conditions = [(tf.reduce_all(lengths > 0), f"expected a text as {name}, received one without a word")]
    if length is not None:
        conditions.append((tf.reduce_all(lengths < length), f"{name} must have at most {length - 1} tokens"))
    ended = tf.concat([ids, tf.fill([ids.nrows(), 1], EOS)], axis=1)
    (dense,) = required([ended.to_tensor(PAD, shape=(None, length))], *conditions)
    return tf.cast(dense, spec.dtype)


def with_sentences(facts: Facts, outputs: dict[str, Any]) -> dict[str, Any]:
    """Add the tokens that a model wrote as `sentences`, if the facts hold their vocabulary."""
    targets = [kind.vocabulary for kind in facts.inputs.values() if isinstance(kind, Tokens) and kind.target]
    words = facts.vocabularies.get(targets[0]) if targets and "tokens" in outputs else None
    return outputs if words is None else outputs | {SENTENCES: graph_text.sentences(outputs["tokens"], words)}


def texts_of(ids: np.ndarray, kind: Tokens, facts: Facts) -> np.ndarray:
    """Write ids `(batch, T)` as texts that are read as these ids, an array `(batch,)` of `bytes`."""
    known = Vocabulary(facts.vocabularies[kind.vocabulary][UNK + 1 :])
    between = " " if kind.unit == "word" else ""
    # The unknown token is not spelt, as a text of letters would be read as those.
    words = [[token if known.encode([token]) != [UNK] else "?" for token in known.decode(row.tolist())] for row in ids]
    return np.array([(between.join(row) or "?").encode() for row in words], dtype=object)
