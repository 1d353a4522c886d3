"""Show, Attend and Tell's decoder cell (Xu et al., ICML 2015, arXiv 1502.03044)."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice, check_positive_integer, is_number
from keras_segattn.layers.attention_cell import AttentionCell
from keras_segattn.layers.attention_score import AttentionScore


@keras.saving.register_keras_serializable(package="keras_segattn")
class AttentionLSTMCell(AttentionCell):
    """An LSTM that receives a context at each step (the paper's equations 1 to 3, in the form of its released code).

        z = attention(h)    z = σ(h·S + s) ⊙ z with a selector    i, f, g, o = split(x·W + h·U + z·C + b)
        c' = σ(f) ⊙ c + σ(i) ⊙ tanh(g)    h' = σ(o) ⊙ tanh(c')

    The columns of the kernels are those of i, f, g, o in this order, as in Keras and PyTorch; in the released files the
    order is i, f, o, g.

    Args:
        units: width of the state.
        attention: attention layer that computes the context.
        selector: gate on the context (the paper's β): `"scalar"`, `"vector"` or `None`.
        kernel_initializer, recurrent_initializer, context_initializer: initialisers of the kernels; each of the
            recurrent kernel's four blocks is initialised separately.
        forget_bias: initial bias of the forget gate; 0 in the released code.
        **kwargs: arguments of `AttentionCell`, such as `dropout`, and of `keras.layers.Layer`.

    Raises:
        TypeError, ValueError: if an argument is wrong.

    Example:
        >>> rnn = AttentionRNN(AttentionLSTMCell(1800, AdditiveAttention(512), selector="scalar"))
    """

    def __init__(
        self,
        units: int,
        attention: AttentionScore,
        selector: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        context_initializer: Any = "glorot_uniform",
        forget_bias: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(attention, **kwargs)
        check_positive_integer("units", units)
        check_choice("selector", selector, (None, "scalar", "vector"))
        if not is_number(forget_bias):
            raise ValueError(f"forget_bias must be a finite number, received {forget_bias!r}")
        self.units, self.state_sizes, self.selector = units, [units, units], selector
        self.projection = 4 * units
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.context_initializer = keras.initializers.get(context_initializer)
        self.forget_bias = forget_bias

    def build(self, inputs_shape: tuple[int | None, ...], annotations_shape: tuple[int | None, ...]) -> None:
        """Make the weights."""
        super().build(inputs_shape, annotations_shape)
        gates, width = 4 * self.units, annotations_shape[-1]
        self.kernel = self.add_weight(
            name="kernel", shape=(inputs_shape[-1], gates), initializer=self.kernel_initializer
        )
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(self.units, gates), initializer=self._blocks
        )
        self.context_kernel = self.add_weight(
            name="context_kernel", shape=(width, gates), initializer=self.context_initializer
        )
        self.bias = self.add_weight(name="bias", shape=(gates,), initializer=self._biases)
        if self.selector:
            size = 1 if self.selector == "scalar" else width
            self.selector_kernel = self.add_weight(
                name="selector_kernel", shape=(self.units, size), initializer=self.kernel_initializer
            )
            self.selector_bias = self.add_weight(name="selector_bias", shape=(size,), initializer="zeros")

    def _blocks(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        blocks = [self.recurrent_initializer.clone()((shape[0], self.units), dtype=dtype) for _ in range(4)]
        return ops.concatenate(blocks, axis=1)

    def _biases(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        forget = ops.full((self.units,), self.forget_bias, dtype=dtype)
        return ops.pad(forget, [(self.units, shape[0] - 2 * self.units)])

    def project(self, inputs: Any) -> Any:
        """Compute x·W + b."""
        return ops.matmul(inputs, self.kernel) + self.bias

    def gated(self, context: Any, states: list[Any]) -> Any:
        """Compute β ⊙ z, the context through the selector, if there is one."""
        if self.selector is None:
            return context
        return context * ops.sigmoid(ops.matmul(states[0], self.selector_kernel) + self.selector_bias)

    def advance(self, projected: Any, context: Any, states: list[Any]) -> list[Any]:
        """Compute the next h and c."""
        h, c = states
        joined = projected + ops.matmul(h, self.recurrent_kernel) + ops.matmul(context, self.context_kernel)
        i, f, g, o = ops.split(joined, 4, axis=-1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        return [ops.sigmoid(o) * ops.tanh(c), c]

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        names = ("units", "selector", "forget_bias")
        initializers = ("kernel_initializer", "recurrent_initializer", "context_initializer")
        return (
            super().get_config()
            | {name: getattr(self, name) for name in names}
            | {name: keras.initializers.serialize(getattr(self, name)) for name in initializers}
        )
