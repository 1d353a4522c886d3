"""Endpoints of stored models that write sentences, and a model's search as a Keras model; both run the same graph."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

import keras
from keras import ops

from keras_segattn import graph
from keras_segattn.decoding.beam_search import BeamRules
from keras_segattn.decoding.decoder import Decoder, masked
from keras_segattn.decoding.drawing import SamplingRules
from keras_segattn.decoding.searches import BeamSearch
from keras_segattn.endpoints import Endpoint, Spec
from keras_segattn.fields import BOS, EOS, PAD
from keras_segattn.layers import Memory

Rules = TypeVar("Rules", BeamRules, SamplingRules)
# The input that holds the sentence to learn in training, and the sentence to score afterwards.
TARGET = "target"


def of_words(rules: Rules) -> Rules:
    """Return rules that also forbid the tokens for padding and for the beginning of a sentence."""
    return replace(rules, forbidden=tuple(sorted({*rules.forbidden, PAD, BOS})))


def rules_of(options: Mapping[str, Any]) -> BeamRules:
    """Return the rules of the search that a model's options hold; missing ones have their defaults."""
    known = {field.name: options[field.name] for field in fields(BeamRules) if field.name in options}
    return BeamRules(**known | {"forbidden": tuple(known.get("forbidden", ()))})


def searching(
    model: keras.Model, decoder: Decoder, encoded: dict[str, Any], rules: BeamRules | None = None, name: str = "search"
) -> keras.Model:
    """Make a model that decodes by beam search, on the layers of a trained model.

    Args:
        model: model that was trained with the input `target`.
        decoder: decoder on the layers of that model.
        encoded: tensors of the model's graph that the decoder reads.
        rules: rules of the search.
        name: name of the new model.

    Returns:
        Model from the inputs without the target to the dict that `BeamSearch` returns.

    Example:
        >>> search = searching(model, rnnsearch.decoder_of(model), rnnsearch.encoded(model), BeamRules(beams=12))
    """
    search = BeamSearch(decoder, BOS, EOS, of_words(rules or BeamRules()), name="search")
    return keras.Model(_read(model), search(encoded), name=name)


def sequence_endpoints(
    model: keras.Model, decoder: Decoder, encoded: dict[str, Any], options: Mapping[str, Any]
) -> dict[str, Endpoint]:
    """Make the endpoints `decode_beam`, `decode_greedy`, `encode`, `step` and `score` of a model that writes sentences.

    | signature | inputs | outputs |
    |---|---|---|
    | `decode_beam` | inputs of the model without the target | outputs of `BeamSearch` |
    | `decode_greedy` | inputs of the model without the target | `tokens` `(batch, T)`, `log_probabilities`, `lengths` `(batch,)`, `attention` `(batch, T, L)` |
    | `encode` | inputs of the model without the target | tensors that the decoder reads, and `keys` |
    | `step` | `tokens` int32 `(batch,)`, the outputs of `encode`, and the states of the previous step: at first `state0`, … of `encode` | `log_probabilities` `(batch, V)`, `attention` `(batch, L)` and the new states |
    | `score` | inputs of the model; `target` int32 `(batch, T)`: the sentence and its end, then 0 | `log_probabilities` `(batch, T)` of the target's tokens, 0 in the padding |

    Args:
        model: model that was trained with the input `target`.
        decoder: decoder on the layers of that model.
        encoded: tensors of the model's graph that the decoder reads.
        options: rules of the beam search by name; `decode_greedy` uses its length, least length and forbidden tokens.

    Returns:
        Signature → endpoint, the first being the default.

    Raises:
        ValueError: if the model has no input `target` or no output `logits`.
    """  # noqa: E501
    if not isinstance(model.input, dict) or TARGET not in model.input or "logits" not in (model.output or ()):
        raise ValueError(
            f"expected a model with dicts of inputs and outputs that hold {TARGET!r} and 'logits', {model.name!r} has "
            f"the inputs {model.input!r:.200} and the outputs {model.output!r:.200}"
        )
    rules = rules_of(options)
    greedy = BeamRules(1, rules.length, least=rules.least, forbidden=rules.forbidden)
    inputs = _read(model)
    sentence = (rules.length,)  # unless another shape is given, sentences are as long as those that are written
    given = {
        tensor.name: Spec((None, *tensor.shape[1:]), tensor.dtype, usual=sentence if len(tensor.shape) == 2 else None)
        for tensor in keras.tree.flatten(inputs)
    }
    encoder = keras.Model(inputs, encoded, name=f"{model.name}_encoder")
    beam, best = (searching(model, decoder, encoded, one) for one in (rules, greedy))

    def tensors(named: dict[str, Any]) -> Any:
        return keras.tree.pack_sequence_as(inputs, [named[x.name] for x in keras.tree.flatten(inputs)])

    def decode_beam(named: dict[str, Any]) -> dict[str, Any]:
        return beam(tensors(named), training=False)

    def decode_greedy(named: dict[str, Any]) -> dict[str, Any]:
        found = best(tensors(named), training=False)
        return {name: value[:, 0] for name, value in found.items() if name != "scores"}

    def encode(named: dict[str, Any]) -> dict[str, Any]:
        found = encoder(tensors(named), training=False)
        states, memory = decoder.start(masked(found, graph.mask_of(found["annotations"])), 1)
        mask = {} if memory.mask is None else {"mask": memory.mask}
        numbered = {f"state{number}": state for number, state in enumerate(states)}
        return {"annotations": memory.annotations, "keys": memory.keys, **mask, **numbered}

    def step(named: dict[str, Any]) -> dict[str, Any]:
        memory = Memory(named["annotations"], named["keys"], named.get("mask"))
        count = sum(name.startswith("state") for name in named)
        states = [named[f"state{number}"] for number in range(count)]  # sorted names would put 10 before 2
        logits, attention, new = decoder.step(named["tokens"], states, memory)
        numbered = {f"state{number}": state for number, state in enumerate(new)}
        return {"log_probabilities": ops.log_softmax(logits, axis=-1), "attention": attention, **numbered}

    def score(named: dict[str, Any]) -> dict[str, Any]:
        given = {name: ops.convert_to_tensor(value) for name, value in named.items()}
        target = given[TARGET]
        begun = ops.concatenate([ops.full_like(target[:, :1], BOS), target[:, :-1]], axis=1)
        logits = model(given | {TARGET: begun}, training=False)["logits"]
        log = ops.take_along_axis(ops.log_softmax(logits, axis=-1), target[..., None], axis=-1)[..., 0]
        return {"log_probabilities": ops.where(ops.not_equal(target, PAD), log, 0.0)}

    return {
        "decode_beam": Endpoint(decode_beam, given),
        "decode_greedy": Endpoint(decode_greedy, given),
        "encode": Endpoint(encode, given),
        "step": Endpoint(step, {"tokens": Spec((None,), "int32", like=TARGET)}, follows="encode"),
        "score": Endpoint(score, given | {TARGET: Spec((None, None), "int32", usual=sentence)}),
    }


def _read(model: keras.Model) -> Any:
    """Return the inputs of a model without its target: a tensor if there is only one, else a dict."""
    inputs = {name: tensor for name, tensor in model.input.items() if name != TARGET}
    return next(iter(inputs.values())) if len(inputs) == 1 else inputs
