"""Additive attention (Bahdanau, Cho & Bengio 2015, arXiv 1409.0473)."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice, check_positive_integer, is_integer
from keras_segattn.layers.attention_score import AttentionScore


def matmul_in_loop(x: Any, kernel: Any) -> Any:
    """Multiply `(B, L, n)` by `(n, m)` on rows: XLA cannot differentiate `ops.matmul`'s own reshapes within a loop."""
    batch, locations, size = ops.shape(x)
    rows = ops.matmul(ops.reshape(x, (-1, size)), kernel)
    return ops.reshape(rows, (batch, locations, kernel.shape[-1]))


@keras.saving.register_keras_serializable(package="keras_segattn")
class AdditiveAttention(AttentionScore):
    """Attention with scores v·tanh(s·W + h·U) of annotations h for a query s (the paper's appendix A.1.2).

    Replaces `tfa.seq2seq.BahdanauAttention`. Keys h·U are computed once for all queries. With `normalize`, scores are
    g·v/‖v‖·tanh(s·W + h·U + b) with a learned number g and a learned bias b (Salimans & Kingma 2016, arXiv 1602.07868).

    Args:
        units: width of the hidden layer, to which W and U map.
        key_bias: whether keys have a bias.
        key_layers: number of further layers tanh(keys·W + b) on the keys (the released code of Show, Attend and Tell
            has one).
        score_bias: whether one learned number is added to all scores. It does not change the attention weights, but
            released files contain it.
        query_initializer, key_initializer, layer_initializer, score_initializer: initialisers of the kernels.
        normalize: whether v is normalised by its length, as with `normalize=True` in TensorFlow Addons. At first, g is
            1/√units, and b is zero.

    Call arguments and output are those of `AttentionScore`.

    Raises:
        ValueError: if an argument or a shape is wrong.

    Example:
        >>> attention = AdditiveAttention(1000)
        >>> attention(keras.ops.ones((2, 1000)), keras.ops.ones((2, 30, 2000)))["weights"].shape
        TensorShape([2, 30])
    """

    def __init__(
        self,
        units: int,
        key_bias: bool = False,
        key_layers: int = 0,
        score_bias: bool = False,
        query_initializer: Any = "glorot_uniform",
        key_initializer: Any = "glorot_uniform",
        layer_initializer: Any = "glorot_uniform",
        score_initializer: Any = "glorot_uniform",
        normalize: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive_integer("units", units)
        if not is_integer(key_layers) or key_layers < 0:
            raise ValueError(f"key_layers must be an integer from 0, received {key_layers!r}")
        for name, value in (("key_bias", key_bias), ("score_bias", score_bias), ("normalize", normalize)):
            check_choice(name, value, (True, False))
        self.normalize = normalize
        self.units, self.key_bias, self.key_layers, self.score_bias = units, key_bias, key_layers, score_bias
        self.query_initializer = keras.initializers.get(query_initializer)
        self.key_initializer = keras.initializers.get(key_initializer)
        self.layer_initializer = keras.initializers.get(layer_initializer)
        self.score_initializer = keras.initializers.get(score_initializer)

    def build(
        self, query_shape: tuple[int | None, ...], annotations_shape: tuple[int | None, ...], mask_shape: Any = None
    ) -> None:
        """Make the weights."""
        super().build(query_shape, annotations_shape)
        self.query_kernel = self.add_weight(
            name="query_kernel", shape=(query_shape[-1], self.units), initializer=self.query_initializer
        )
        self.key_kernel = self.add_weight(
            name="key_kernel", shape=(annotations_shape[-1], self.units), initializer=self.key_initializer
        )
        self.bias = self._bias("key_bias", (self.units,)) if self.key_bias else None
        self.deeper = []
        for number in range(1, self.key_layers + 1):
            kernel = self.add_weight(
                name=f"layer{number}_kernel", shape=(self.units, self.units), initializer=self.layer_initializer
            )
            self.deeper.append((kernel, self._bias(f"layer{number}_bias", (self.units,))))
        self.score_kernel = self.add_weight(
            name="score_kernel", shape=(self.units, 1), initializer=self.score_initializer
        )
        self.offset = self._bias("score_bias", (1,)) if self.score_bias else None
        if self.normalize:
            gain = keras.initializers.Constant(self.units**-0.5)
            self.score_gain = self.add_weight(name="score_gain", shape=(), initializer=gain)
            self.hidden_bias = self._bias("hidden_bias", (self.units,))

    def _bias(self, name: str, shape: tuple[int, ...]) -> Any:
        return self.add_weight(name=name, shape=shape, initializer="zeros")

    def keys(self, annotations: Any) -> Any:
        """Compute the keys h·U, and apply the further layers to them."""
        keys = ops.matmul(annotations, self.key_kernel)
        if self.bias is not None:
            keys = keys + self.bias
        for kernel, bias in self.deeper:
            keys = ops.tanh(ops.matmul(keys, kernel) + bias)
        return keys

    def scores(self, query: Any, keys: Any, previous: Any) -> Any:
        """Compute the scores v·tanh(s·W + keys)."""
        return self._scored(ops.matmul(query, self.query_kernel)[:, None] + keys)

    def _scored(self, hidden: Any) -> Any:
        kernel = self.score_kernel
        if self.normalize:
            hidden = hidden + self.hidden_bias
            kernel = self.score_gain * ops.normalize(kernel, axis=0)
        scores = matmul_in_loop(ops.tanh(hidden), kernel)[..., 0]
        return scores if self.offset is None else scores + self.offset

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        names = ("units", "key_bias", "key_layers", "score_bias", "normalize")
        initializers = ("query_initializer", "key_initializer", "layer_initializer", "score_initializer")
        return (
            super().get_config()
            | {name: getattr(self, name) for name in names}
            | {name: keras.initializers.serialize(getattr(self, name)) for name in initializers}
        )
