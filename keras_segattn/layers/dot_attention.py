"""Multiplicative attention (Luong, Pham & Manning, EMNLP 2015, arXiv 1508.04025)."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice
from keras_segattn.layers.attention_score import AttentionScore


@keras.saving.register_keras_serializable(package="keras_segattn")
class DotAttention(AttentionScore):
    """Attention with scores s·h of annotations h for a query s (equation 7, "dot").

    Call arguments and output are those of `AttentionScore`; query and annotations must have the same width.

    Raises:
        ValueError: if the widths differ.

    Example:
        >>> DotAttention()(keras.ops.ones((2, 512)), keras.ops.ones((2, 30, 512)))["context"].shape
        TensorShape([2, 512])
    """

    def build(
        self, query_shape: tuple[int | None, ...], annotations_shape: tuple[int | None, ...], mask_shape: Any = None
    ) -> None:
        """Check that query and annotations have the same width."""
        super().build(query_shape, annotations_shape)
        if query_shape[-1] != annotations_shape[-1]:
            raise ValueError(
                f"query and annotations must be of one size, received {query_shape[-1]} and {annotations_shape[-1]}"
            )

    def scores(self, query: Any, keys: Any, previous: Any) -> Any:
        """Compute the products of the query with all keys."""
        return ops.matmul(keys, query[..., None])[..., 0]


@keras.saving.register_keras_serializable(package="keras_segattn")
class GeneralAttention(AttentionScore):
    """Attention with scores s·W·h of annotations h for a query s (equation 7, "general").

    Replaces `tfa.seq2seq.LuongAttention`. Keys W·h are computed once for all queries.

    Args:
        kernel_initializer: initialiser of W.
        scale: whether scores are multiplied by a learned number, at first 1, as with `scale=True` in TensorFlow Addons.

    Call arguments and output are those of `AttentionScore`.

    Raises:
        ValueError: if a shape is wrong.

    Example:
        >>> GeneralAttention()(keras.ops.ones((2, 500)), keras.ops.ones((2, 30, 512)))["context"].shape
        TensorShape([2, 512])
    """

    def __init__(self, kernel_initializer: Any = "glorot_uniform", scale: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice("scale", scale, (True, False))
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.scale = scale

    def build(
        self, query_shape: tuple[int | None, ...], annotations_shape: tuple[int | None, ...], mask_shape: Any = None
    ) -> None:
        """Make W `(D, Q)`."""
        super().build(query_shape, annotations_shape)
        shape = (annotations_shape[-1], query_shape[-1])
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=self.kernel_initializer)
        if self.scale:
            self.score_scale = self.add_weight(name="score_scale", shape=(), initializer="ones")

    def keys(self, annotations: Any) -> Any:
        """Compute the keys W·h."""
        return ops.matmul(annotations, self.kernel)

    def scores(self, query: Any, keys: Any, previous: Any) -> Any:
        """Compute the products of the query with all keys."""
        scores = ops.matmul(keys, query[..., None])[..., 0]
        return scores * self.score_scale if self.scale else scores

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        initializer = keras.initializers.serialize(self.kernel_initializer)
        return super().get_config() | {"kernel_initializer": initializer, "scale": self.scale}
