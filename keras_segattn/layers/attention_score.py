"""What all soft attention has in common: scores become weights, weights a mean of annotations."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
from keras import ops

# The score of padding: its weight is zero; it fits half precision, and unlike infinity never gives NaN.
LOWEST = -3e4


@dataclass(frozen=True)
class Memory:
    """What a decoder reads at every step, computed once: annotations `(B, L, D)`, their keys, their mask `(B, L)`.

    With hard attention also `drawn`, bool `(B,)`: which examples draw a location where there is noise to draw with.
    """

    annotations: Any
    keys: Any
    mask: Any = None
    drawn: Any = None

    def repeated(self, times: int) -> "Memory":
        """Every example `times` times in a row, for as many hypotheses of it."""
        if times == 1:
            return self
        tensors = (self.annotations, self.keys, self.mask, self.drawn)
        return Memory(*(None if x is None else ops.repeat(x, times, axis=0) for x in tensors))


class Seen(NamedTuple):
    """Context `(B, D)`, weights `(B, L)`, and what weighted the annotations `(B, L)`: the same if attention is soft."""

    context: Any
    weights: Any
    choice: Any


class AttentionScore(keras.layers.Layer):
    """Base of the attention functions: a subclass says what keys are and how a query scores them.

    Call arguments:
        query: `(batch, Q)`.
        annotations: `(batch, L, D)`.
        mask: bool `(batch, L)`, false for padding, or `None`.

    Output:
        dict `context` `(batch, D)`, the weighted mean of the annotations, and `weights` `(batch, L)`, which add to 1
        (to 0 where everything is padding).
    """

    needs_previous = False  # whether a step reads something of the step before, at first zeros

    def build(
        self, query_shape: tuple[int | None, ...], annotations_shape: tuple[int | None, ...], mask_shape: Any = None
    ) -> None:
        """Check the shapes; subclasses make their weights."""
        for name, shape, rank in (("query", query_shape, 2), ("annotations", annotations_shape, 3)):
            if len(shape) != rank or shape[-1] is None:
                axes = "(batch, size)" if rank == 2 else "(batch, locations, size)"
                raise ValueError(f"{name} must be {axes} with a known size, received the shape {tuple(shape)}")

    def keys(self, annotations: Any) -> Any:
        """What of the annotations does not depend on the query: computed once."""
        return annotations

    def scores(self, query: Any, keys: Any, previous: Any) -> Any:
        """Scores `(batch, L)`."""
        raise NotImplementedError

    def remember(self, annotations: Any, mask: Any = None) -> Memory:
        """Everything that does not change from one query to the next."""
        return Memory(annotations, self.keys(annotations), None if mask is None else ops.cast(mask, "bool"))

    def attend(self, query: Any, memory: Memory, previous: Any = None, noise: Any = None) -> Seen:
        """What a query gets to see."""
        weights = self.weights_of(query, memory, previous)
        choice = self.choose(weights, memory, noise)
        return Seen(ops.matmul(choice[:, None], memory.annotations)[:, 0], weights, choice)

    def weights_of(self, query: Any, memory: Memory, previous: Any) -> Any:
        """Weights `(batch, L)`."""
        return self.align(self.scores(query, memory.keys, previous), memory.mask)

    def carried(self, seen: Seen, previous: Any) -> Any:
        """What the next step is given as `previous`, `(batch, L)`: the weights."""
        return seen.weights

    def choose(self, weights: Any, memory: Memory, noise: Any) -> Any:
        """What to weight the annotations by: the weights."""
        return weights

    def align(self, scores: Any, mask: Any) -> Any:
        """Softmax over what is no padding."""
        if mask is None:
            return ops.softmax(scores, axis=-1)
        weights = ops.softmax(ops.where(mask, scores, ops.cast(LOWEST, scores.dtype)), axis=-1)
        return weights * ops.cast(mask, weights.dtype)

    def call(self, query: Any, annotations: Any, mask: Any = None) -> dict[str, Any]:
        """Attend once."""
        seen = self.attend(query, self.remember(annotations, mask))
        return {"context": seen.context, "weights": seen.weights}

    def compute_output_spec(self, query: Any, annotations: Any, mask: Any = None) -> dict[str, keras.KerasTensor]:
        """A context and a weight a location."""
        batch, locations, size = annotations.shape
        return {
            "context": keras.KerasTensor((batch, size), dtype=self.compute_dtype),
            "weights": keras.KerasTensor((batch, locations), dtype=self.compute_dtype),
        }
