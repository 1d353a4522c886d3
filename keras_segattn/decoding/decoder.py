"""The interface between the loops that run a decoder and a model that predicts one token after the other."""

from typing import Any, Self

import keras
from keras import ops

from keras_segattn.layers import AttentionCell


@keras.saving.register_keras_serializable(package="keras_segattn")
class Decoder(keras.layers.Layer):
    """A decoder of tokens, which `TeacherForcing`, `BeamSearch` or `SampleTokens` calls step by step.

    As it is, it embeds a token, runs an attention cell with it, and computes logits from the cell's output, as
    TensorFlow Addons' `BasicDecoder` does around an `AttentionWrapper`. It reads `encoded`, a dict of tensors:
    `annotations` `(batch, L, D)`, D numbers at each of L locations; `mask` bool `(batch, L)`, false for padding, if
    there is any; and the first states of the cell as `state0`, `state1`, …, which are zeros if all are left out.

    A decoder that computes anything else is a subclass, registered as serialisable, which overrides up to three
    methods: `build_layers`, `start` and `step`. Its `start` may read further tensors of `encoded`.

    Args:
        cell: cell of the loop, such as `layers.AttentionRNNCell` around any cell of Keras.
        parts: layers around the cell; the one named `logits` has one unit per token. Here, the only other one is a
            `keras.layers.Embedding`.

    Example:
        >>> parts = [keras.layers.Embedding(8000, 256), keras.layers.Dense(8000, name="logits")]
        >>> decoder = Decoder(AttentionLSTMCell(512, GeneralAttention()), parts)
        >>> encoded = {"annotations": annotations, "state0": h, "state1": c}
        >>> model = keras.Model({"source": source, "target": target}, TeacherForcing(decoder)(encoded, target))
        >>> @keras.saving.register_keras_serializable()
        ... class ContextDecoder(Decoder):  # predicts from the context, too
        ...     def build_layers(self, encoded_shape):
        ...         self.build_cell(self.embedding.output_dim, encoded_shape["annotations"])
        ...         self.embedding(keras.KerasTensor((None,), dtype="int32"))
        ...         self.parts["logits"](keras.KerasTensor((None, self.cell.units + encoded_shape["annotations"][-1])))
        ...
        ...     def start(self, encoded, hypotheses):
        ...         memory = self.cell.attention.remember(encoded["annotations"], encoded["mask"]).repeated(hypotheses)
        ...         states = [keras.ops.repeat(encoded[name], hypotheses, axis=0) for name in ("h", "c")]
        ...         return self.cell.start(states, memory), memory
        ...
        ...     def step(self, tokens, states, memory):
        ...         words = self.cell.project(self.embedding(tokens))
        ...         seen, states = self.cell.attend_and_advance(words, states, memory)
        ...         both = keras.ops.concatenate([states[0], seen.context], axis=-1)
        ...         return self.parts["logits"](both), seen.weights, states
    """

    def __init__(self, cell: AttentionCell, parts: list[keras.layers.Layer], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(cell, AttentionCell):
            raise TypeError(
                "cell must be one of keras_segattn.layers' attention cells, such as AttentionRNNCell around a cell of "
                f"Keras, received {cell!r}"
            )
        self.cell = cell
        self.parts = {part.name: part for part in parts}
        if len(self.parts) < len(parts) or not hasattr(self.parts.get("logits"), "units"):
            names = [part.name for part in parts]
            raise ValueError(f"parts must have different names, and 'logits' must be a Dense layer, received {names}")
        self.vocabulary: int = self.parts["logits"].units

    @property
    def embedding(self) -> keras.layers.Embedding:
        """The only part that is a `keras.layers.Embedding`.

        Raises:
            ValueError: if there is none, or several.
        """
        found = [part for part in self.parts.values() if isinstance(part, keras.layers.Embedding)]
        if len(found) != 1:
            raise ValueError(f"expected one keras.layers.Embedding among the parts, received {list(self.parts)}")
        return found[0]

    def build_layers(self, encoded_shape: dict[str, Any]) -> None:
        """Make the weights of layers that have none yet."""
        self.build_cell(self.embedding.output_dim, encoded_shape["annotations"])
        self.embedding(keras.KerasTensor((None,), dtype="int32"))
        self.parts["logits"](keras.KerasTensor((None, self.cell.units)))

    def build_cell(self, width: int, annotations_shape: tuple[int | None, ...]) -> None:
        """Make the weights of a cell for words of `width` that has none yet."""
        if not self.cell.built:
            self.cell.build((None, width), annotations_shape)
            self.cell.built = True

    def start(self, encoded: dict[str, Any], hypotheses: int) -> tuple[list[Any], Any]:
        """Return the states before the first token and the memory, each example repeated `hypotheses` times."""
        memory = self.cell.attention.remember(encoded["annotations"], encoded.get("mask")).repeated(hypotheses)
        given = sum(name.startswith("state") for name in encoded)
        states = [ops.repeat(encoded[f"state{number}"], hypotheses, axis=0) for number in range(given)]
        if not states:
            batch = ops.shape(memory.annotations)[0]
            states = [ops.zeros((batch, size), memory.annotations.dtype) for size in self.cell.state_sizes]
        return self.cell.start(states, memory), memory

    def step(self, tokens: Any, states: list[Any], memory: Any) -> tuple[Any, Any, list[Any]]:
        """Return logits `(N, vocabulary)` of what follows `tokens` int32 `(N,)`, weights `(N, L)` and new states."""
        words = self.cell.drop(self.embedding(tokens)[:, None])[:, 0]
        seen, states = self.cell.attend_and_advance(self.cell.project(words), states, memory)
        return self.parts["logits"](states[0]), seen.weights, states

    def locations(self, encoded: dict[str, Any]) -> Any:
        """Return L, as a number if it is known, else as a tensor."""
        known = encoded["annotations"].shape[1]
        return ops.shape(encoded["annotations"])[1] if known is None else known

    def sizes(self, encoded: dict[str, Any]) -> tuple[int | None, int | None]:
        """Return batch size and L, `None` where they are not known."""
        return encoded["annotations"].shape[:2]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild the layer."""
        cell = keras.saving.serialize_keras_object(self.cell)
        parts = [keras.saving.serialize_keras_object(part) for part in self.parts.values()]
        return super().get_config() | {"cell": cell, "parts": parts}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Restore the decoder with its layers."""
        cell = keras.saving.deserialize_keras_object(config["cell"])
        parts = [keras.saving.deserialize_keras_object(part) for part in config["parts"]]
        return cls(**config | {"cell": cell, "parts": parts})


class DecoderLoop(keras.layers.Layer):
    """Base of the layers that run a decoder over the tokens of a sentence.

    Args:
        decoder: decoder that predicts the next token.
        **kwargs: arguments of `keras.layers.Layer`; the layer computes in float32 unless `dtype` says otherwise.
    """

    def __init__(self, decoder: Decoder, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float32"} | kwargs))
        if not isinstance(decoder, Decoder):
            raise TypeError(f"decoder must be a keras_segattn.decoding.Decoder, received {decoder!r}")
        self.decoder = decoder

    def compute_mask(self, *_: Any) -> None:
        """Return no mask: where sentences end is known from the tokens."""

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild the layer."""
        return super().get_config() | {"decoder": keras.saving.serialize_keras_object(self.decoder)}


def masked(encoded: dict[str, Any], mask: Any) -> dict[str, Any]:
    """Add the mask that Keras attaches to the annotations, unless `encoded` has a mask or Keras attached none."""
    return encoded if mask is None else {"mask": mask} | encoded
