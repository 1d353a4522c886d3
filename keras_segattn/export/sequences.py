"""The signatures of models that write sentences, for both export profiles; they share one copy of the weights."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_segattn.attention import rnnsearch, show_attend_tell
from keras_segattn.attention.vocabulary import BOS, EOS, of_words
from keras_segattn.decoding import BeamRules, beam_search
from keras_segattn.export.archive import Endpoint
from keras_segattn.layers import Memory
from keras_segattn.preprocessing import Preprocessing


def sequence_endpoints(
    model: keras.Model,
    rules: BeamRules | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    batch: int | None = None,
    source: Mapping[str, tuple[int, ...]] | None = None,
    target_length: int | None = None,
) -> dict[str, Endpoint]:
    """`decode_greedy`, `decode_beam`, `encode`, `step` and `score` of a trained sequence model.

    | signature | inputs | outputs |
    |---|---|---|
    | `encode` | the model's, but the target | what the decoder reads, and `keys` |
    | `step` | `tokens` int32 `(batch,)`, what `encode` gave, and the states of the step before: at first `state0`, … of `encode` | `log_probabilities` `(batch, V)`, `attention` `(batch, L)` and the new states |
    | `decode_greedy` | the model's, but the target | `tokens` `(batch, T)`, `log_probabilities`, `lengths` `(batch,)`, `attention` `(batch, T, L)` |
    | `decode_beam` | the model's, but the target | as `BeamSearch` |
    | `score` | the model's; `target` int32 `(batch, T)`: the sentence and its end, then 0 | `log_probabilities` `(batch, T)` of its tokens, 0 in the padding |

    Args:
        model: the model that was trained, made by `RNNSearch` or `ShowAttendTell`.
        rules: of the beam search; `decode_greedy` has its length and forbidden tokens.
        preprocessing: of a picture; with it the input `image` is uint8 RGB, and is normalised in the graph.
        batch: 1 for phones, `None` for servers.
        source: input name → shape without the batch, where the model leaves it open; open for servers.
        target_length: tokens of `score`; open for servers.

    Returns:
        Signature → endpoint, the first being the default.

    Raises:
        ValueError: if the model is another, or `preprocessing` is given to one that takes no picture.

    Example:
        >>> endpoints = sequence_endpoints(model, BeamRules(5, 50), batch=1, source={"source": (50,)}, target_length=50)
        >>> export.tflite(model, "translator.tflite", signatures=endpoints)
    """  # noqa: E501
    import tensorflow as tf

    module = show_attend_tell if "initial_memory" in {layer.name for layer in model.layers} else rnnsearch
    decoder, encoded, rules = module.decoder_of(model), module.encoded(model), of_words(rules or BeamRules())
    inputs = {name: tensor for name, tensor in model.input.items() if name != "target"}
    specs = {name: spec(tensor, batch, (source or {}).get(name), name) for name, tensor in inputs.items()}
    if preprocessing is not None:
        if "image" not in specs:
            raise ValueError(f"preprocessing is of pictures, {model.name!r} takes {sorted(specs)}")
        specs["image"] = tf.TensorSpec(specs["image"].shape, "uint8", name="image")
    encoder = keras.Model(inputs, encoded, name=f"{model.name}_encoder")

    def normalised(given: dict[str, Any]) -> dict[str, Any]:
        return given if preprocessing is None else given | {"image": preprocessing(given["image"])}

    def encode(given: dict[str, Any]) -> dict[str, Any]:
        tensors = encoder(normalised(given), training=False)
        states, memory = decoder.start(tensors, 1)
        mask = {} if memory.mask is None else {"mask": memory.mask}
        named = {f"state{number}": state for number, state in enumerate(states)}
        return {"annotations": memory.annotations, "keys": memory.keys, **mask, **named}

    def step(given: dict[str, Any]) -> dict[str, Any]:
        memory = Memory(given["annotations"], given["keys"], given.get("mask"))
        states = [given[name] for name in sorted(given) if name.startswith("state")]
        logits, attention, new = decoder.step(given["tokens"], states, memory)
        named = {f"state{number}": state for number, state in enumerate(new)}
        return {"log_probabilities": ops.log_softmax(logits, axis=-1), "attention": attention, **named}

    def search(given: dict[str, Any], searched: BeamRules) -> dict[str, Any]:
        tensors = encoder(normalised(given), training=False)
        states, memory = decoder.start(tensors, searched.beams)
        return beam_search(
            lambda tokens, states: decoder.step(tokens, states, memory),
            states,
            decoder.locations(tensors),
            searched,
            decoder.vocabulary,
            BOS,
            EOS,
        )

    greedy = BeamRules(1, rules.length, least=rules.least, forbidden=rules.forbidden)

    def decode_greedy(given: dict[str, Any]) -> dict[str, Any]:
        found = search(given, greedy)
        return {name: value[:, 0] for name, value in found.items() if name != "scores"}

    def score(given: dict[str, Any]) -> dict[str, Any]:
        given = normalised({name: ops.convert_to_tensor(value) for name, value in given.items()})
        target = given["target"]
        begun = ops.concatenate([ops.full_like(target[:, :1], BOS), target[:, :-1]], axis=1)
        logits = model(given | {"target": begun}, training=False)["logits"]
        log = ops.take_along_axis(ops.log_softmax(logits, axis=-1), target[..., None], axis=-1)[..., 0]
        return {"log_probabilities": ops.where(ops.not_equal(target, 0), log, 0.0)}

    steps = {"tokens": spec(model.input["target"], batch, (), "tokens")}
    for name, tensor in tf.function(encode).get_concrete_function(specs).structured_outputs.items():
        steps[name] = spec(tensor, batch, tuple(tensor.shape[1:]), name)
    target = (target_length,) if target_length else None
    scored = specs | {"target": spec(model.input["target"], batch, target, "target")}
    return {
        "decode_beam": Endpoint(lambda given: search(given, rules), specs),
        "decode_greedy": Endpoint(decode_greedy, specs),
        "encode": Endpoint(encode, specs),
        "step": Endpoint(step, steps),
        "score": Endpoint(score, scored),
    }


def spec(tensor: Any, batch: int | None, shape: tuple[int | None, ...] | None, name: str) -> Any:
    """The `tf.TensorSpec` of an input: the tensor's own shape where none is given."""
    import tensorflow as tf

    return tf.TensorSpec((batch, *(tensor.shape[1:] if shape is None else shape)), tensor.dtype, name=name)
