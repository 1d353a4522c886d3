"""What the searches ask of a model that writes one token after the other."""

from typing import Any

import keras
from keras import ops


class Decoder(keras.layers.Layer):
    """Base of the decoders: what a search calls step by step, in a loop inside the graph.

    A subclass is registered as serialisable, holds the layers of its training model, and reads from `encoded`, a dict
    of tensors of which `annotations` is `(batch, L, D)`.
    """

    vocabulary: int  # how many tokens there are

    def build_layers(self, encoded_shape: dict[str, Any]) -> None:
        """Make the weights of layers that have none yet."""
        raise NotImplementedError

    def start(self, encoded: dict[str, Any], hypotheses: int) -> tuple[list[Any], Any]:
        """States before the first token and memory, each example's `hypotheses` times in a row."""
        raise NotImplementedError

    def step(self, tokens: Any, states: list[Any], memory: Any) -> tuple[Any, Any, list[Any]]:
        """Logits `(N, vocabulary)` of what follows `tokens` int32 `(N,)`, attention weights `(N, L)`, new states."""
        raise NotImplementedError

    def locations(self, encoded: dict[str, Any]) -> Any:
        """L, a number where it is known."""
        known = encoded["annotations"].shape[1]
        return ops.shape(encoded["annotations"])[1] if known is None else known

    def sizes(self, encoded: dict[str, Any]) -> tuple[int | None, int | None]:
        """Batch and L as far as they are known."""
        return encoded["annotations"].shape[:2]
