"""Uniform attention, a baseline that ignores the query."""

from typing import Any

import keras
from keras import ops

from keras_segattn.layers.attention_score import AttentionScore


@keras.saving.register_keras_serializable(package="keras_segattn")
class UniformAttention(AttentionScore):
    """Gives all annotations equal weights, as a baseline without attention.

    Call arguments and output are those of `AttentionScore`.

    Example:
        >>> UniformAttention()(keras.ops.ones((2, 512)), keras.ops.ones((2, 4, 512)))["weights"][0]
        <tf.Tensor: shape=(4,), dtype=float32, numpy=array([0.25, 0.25, 0.25, 0.25], dtype=float32)>
    """

    def scores(self, query: Any, keys: Any, previous: Any) -> Any:
        """Return the same score, 1, for all locations."""
        return ops.ones_like(keys[..., 0])

    def align(self, scores: Any, mask: Any) -> Any:
        """Return 1 over the number of locations that are not padding."""
        # Half precision counts to a few hundred only.
        there = ops.cast(scores if mask is None else mask, keras.backend.result_type(scores.dtype, "float32"))
        return ops.cast(there / ops.maximum(ops.sum(there, axis=-1, keepdims=True), 1.0), scores.dtype)
