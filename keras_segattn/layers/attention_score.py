"""The base class of attention layers: scores become weights, and weights give a mean of annotations."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
from keras import ops

# The score of padding, once the highest of the other scores is 0: scores below -104 have the weight 0 in float32.
LOWEST = -1e4


@dataclass(frozen=True)
class Memory:
    """Tensors computed once and read at every step: annotations `(B, L, D)`, their keys and their mask `(B, L)`.

    With hard attention and noise, `drawn`, bool `(B,)`, says which examples draw a location.
    """

    annotations: Any
    keys: Any
    mask: Any = None
    drawn: Any = None

    def repeated(self, times: int) -> "Memory":
        """Repeat every example `times` times in a row, once for each hypothesis about it."""
        if times == 1:
            return self
        tensors = (self.annotations, self.keys, self.mask, self.drawn)
        return Memory(*(None if x is None else ops.repeat(x, times, axis=0) for x in tensors))


class Seen(NamedTuple):
    """Context `(B, D)`, weights `(B, L)` and factors of the annotations `(B, L)`: in soft attention the weights."""

    context: Any
    weights: Any
    choice: Any


def check_sizes(tensors: Mapping[str, tuple[Any, str]]) -> None:
    """Check that axes of one letter have one size in all tensors, which might be broadcast otherwise.

    Args:
        tensors: name of a tensor → the tensor, or `None`, and its axes, such as `"BLD"`. Unknown sizes fit every other.

    Raises:
        ValueError: if a tensor has another rank, or two sizes differ.
    """
    sizes: dict[str, tuple[str, int]] = {}
    for name, (tensor, axes) in tensors.items():
        if tensor is None:
            continue
        shape = tuple(tensor.shape)
        if len(shape) != len(axes):
            raise ValueError(f"{name} must have {len(axes)} axes, received the shape {shape}")
        for axis, size in zip(axes, shape, strict=True):
            first, known = sizes.setdefault(axis, (name, size)) if size is not None else (name, None)
            if known != size:
                raise ValueError(
                    f"{name} has the shape {shape}, which does not fit {tensors[first][0].shape} of {first}"
                )


class AttentionScore(keras.layers.Layer):
    """Base of the attention layers: a subclass defines the keys and how a query scores them.

    Call arguments:
        query: `(batch, Q)`.
        annotations: `(batch, L, D)`.
        mask: bool `(batch, L)`, false for padding. If it is `None`, the mask that Keras attaches to the annotations is
            used, for example that of `keras.layers.Masking`; Keras passes it as `annotations_mask`.

    Output:
        dict `context` `(batch, D)`, the weighted mean of the annotations, and `weights` `(batch, L)`, which add up to 1
        (to 0 where everything is padding).
    """

    needs_previous = False  # whether a step reads a tensor that the step before left, at the first step zeros

    def build(
        self, query_shape: tuple[int | None, ...], annotations_shape: tuple[int | None, ...], mask_shape: Any = None
    ) -> None:
        """Check the shapes; subclasses make their weights."""
        for name, shape, rank in (("query", query_shape, 2), ("annotations", annotations_shape, 3)):
            if len(shape) != rank or shape[-1] is None:
                axes = "(batch, size)" if rank == 2 else "(batch, locations, size)"
                raise ValueError(f"{name} must be {axes} with a known size, received the shape {tuple(shape)}")

    def keys(self, annotations: Any) -> Any:
        """Compute from the annotations what does not depend on the query, once for all queries."""
        return annotations

    def scores(self, query: Any, keys: Any, previous: Any) -> Any:
        """Compute the scores `(batch, L)`."""
        raise NotImplementedError

    def remember(self, annotations: Any, mask: Any = None) -> Memory:
        """Compute everything that is the same for all queries."""
        return Memory(annotations, self.keys(annotations), None if mask is None else ops.cast(mask, "bool"))

    def attend(self, query: Any, memory: Memory, previous: Any = None, noise: Any = None) -> Seen:
        """Attend with one query, and return what it sees."""
        weights = self.weights_of(query, memory, previous)
        choice = self.choose(weights, memory, noise)
        return Seen(ops.matmul(choice[:, None], memory.annotations)[:, 0], weights, choice)

    def weights_of(self, query: Any, memory: Memory, previous: Any) -> Any:
        """Compute the weights `(batch, L)`."""
        return self.align(self.scores(query, memory.keys, previous), memory.mask)

    def first(self, memory: Memory) -> Any:
        """Return the tensor `(batch, L)` that the first step receives as `previous`: zeros."""
        return ops.zeros_like(memory.annotations[..., 0])

    def carried(self, seen: Seen, previous: Any) -> Any:
        """Return the tensor `(batch, L)` that the next step receives as `previous`: the weights."""
        return seen.weights

    def choose(self, weights: Any, memory: Memory, noise: Any) -> Any:
        """Return the factors of the annotations: the weights."""
        return weights

    def align(self, scores: Any, mask: Any) -> Any:
        """Apply the softmax to the scores of all locations that are not padding."""
        if mask is None:
            return ops.softmax(scores, axis=-1)
        # Only differences from the highest score matter, so that no score can be below that of the padding.
        exact = ops.cast(scores, keras.backend.result_type(scores.dtype, "float32"))
        padded = ops.where(mask, exact, -math.inf)
        # With an initial value Keras takes the maximum in an empty batch too.
        below = exact - ops.stop_gradient(ops.max(padded, axis=-1, keepdims=True, initial=-math.inf))
        weights = ops.softmax(ops.where(mask, below, LOWEST), axis=-1) * ops.cast(mask, exact.dtype)
        return ops.cast(weights, scores.dtype)

    def call(self, query: Any, annotations: Any, mask: Any = None, annotations_mask: Any = None) -> dict[str, Any]:
        """Attend once, and return context and weights."""
        mask = annotations_mask if mask is None else ops.convert_to_tensor(mask)
        check_sizes({"query": (query, "BQ"), "annotations": (annotations, "BLD"), "mask": (mask, "BL")})
        seen = self.attend(query, self.remember(annotations, mask))
        return {"context": seen.context, "weights": seen.weights}

    def compute_mask(self, *_: Any) -> None:
        """Return no mask: the outputs have no steps."""

    def compute_output_spec(
        self, query: Any, annotations: Any, mask: Any = None, annotations_mask: Any = None
    ) -> dict[str, keras.KerasTensor]:
        """Describe the output: a context, and one weight per location."""
        batch, locations, size = annotations.shape
        return {
            "context": keras.KerasTensor((batch, size), dtype=self.compute_dtype),
            "weights": keras.KerasTensor((batch, locations), dtype=self.compute_dtype),
        }
