"""The interface between the searches and a model that predicts one token after the other."""

from typing import Any, Self

import keras
from keras import ops

from keras_segattn.layers import AttentionCell


class Decoder(keras.layers.Layer):
    """Base of the decoders, which a search calls step by step, in a loop inside the graph.

    A decoder for a network of one's own defines three methods: `build_layers`, `start` and `step`. It is registered as
    serialisable, and reads from `encoded`, a dict of tensors that has `annotations` `(batch, L, D)`: D numbers at each
    of L locations. `BeamSearch` and `SampleTokens` then write sentences with it, `sequence_endpoints` makes its
    signatures, and a `Card` whose `endpoints` are those gives the network exports and commands.

    Args:
        cell: cell of the training model's loop.
        parts: layers around that loop; the one named `logits` has one unit per token.

    Example:
        >>> @keras.saving.register_keras_serializable()
        ... class WordDecoder(Decoder):
        ...     def build_layers(self, encoded_shape):
        ...         self.parts["words"](keras.KerasTensor((None,), dtype="int32"))
        ...         self.build_cell(self.parts["words"].output_dim, encoded_shape["annotations"])
        ...         self.parts["logits"](keras.KerasTensor((None, self.cell.units)))
        ...
        ...     def start(self, encoded, hypotheses):
        ...         memory = self.cell.attention.remember(encoded["annotations"], encoded["mask"]).repeated(hypotheses)
        ...         states = [keras.ops.repeat(encoded[name], hypotheses, axis=0) for name in ("h", "c")]
        ...         return self.cell.start(states, memory), memory
        ...
        ...     def step(self, tokens, states, memory):
        ...         words = self.cell.project(self.parts["words"](tokens))
        ...         seen, states = self.cell.attend_and_advance(words, states, memory)
        ...         return self.parts["logits"](states[0]), seen.weights, states
        >>> decoder = WordDecoder(model.get_layer("loop").cell, [model.get_layer("words"), model.get_layer("logits")])
        >>> search = BeamSearch(decoder, bos=1, eos=2)
    """

    def __init__(self, cell: AttentionCell, parts: list[keras.layers.Layer], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cell = cell
        self.parts = {part.name: part for part in parts}
        self.vocabulary: int = self.parts["logits"].units

    def build_layers(self, encoded_shape: dict[str, Any]) -> None:
        """Make the weights of layers that have none yet."""
        raise NotImplementedError

    def build_cell(self, width: int, annotations_shape: tuple[int | None, ...]) -> None:
        """Make the weights of a cell for words of `width` that has none yet."""
        if not self.cell.built:
            self.cell.build((None, width), annotations_shape)
            self.cell.built = True

    def start(self, encoded: dict[str, Any], hypotheses: int) -> tuple[list[Any], Any]:
        """Return the states before the first token and the memory, each example repeated `hypotheses` times."""
        raise NotImplementedError

    def step(self, tokens: Any, states: list[Any], memory: Any) -> tuple[Any, Any, list[Any]]:
        """Return logits `(N, vocabulary)` of what follows `tokens` int32 `(N,)`, weights `(N, L)` and new states."""
        raise NotImplementedError

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
