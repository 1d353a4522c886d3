"""RNNsearch's decoder cell (Bahdanau, Cho & Bengio 2015, arXiv 1409.0473)."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.layers.attention_cell import AttentionCell
from keras_segattn.layers.attention_score import AttentionScore
from keras_segattn.layers.reset_before_gru_cell import ResetBeforeGRUCell


@keras.saving.register_keras_serializable(package="keras_segattn")
class AttentionGRUCell(AttentionCell):
    """A gated recurrent unit that receives a context at each step (the paper's appendix A.2.2).

        c = attention(h)    h' = GRU(x·W + b + c·C, h)

    The reset gate acts before the recurrent product. The columns of all kernels are those of the update gate z, the
    reset gate r and the candidate, in this order.

    Args:
        units: width of the state.
        attention: attention layer that computes the context.
        gate_bias: whether the gates have biases too, see `ResetBeforeGRUCell`.
        kernel_initializer, recurrent_initializer, context_initializer: initialisers of the kernels.
        **kwargs: arguments of `AttentionCell`, such as `dropout`, and of `keras.layers.Layer`.

    Raises:
        TypeError, ValueError: if an argument is wrong.

    Example:
        >>> rnn = AttentionRNN(AttentionGRUCell(1000, AdditiveAttention(1000)))
    """

    def __init__(
        self,
        units: int,
        attention: AttentionScore,
        gate_bias: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        context_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(attention, **kwargs)
        check_positive_integer("units", units)
        check_choice("gate_bias", gate_bias, (True, False))
        self.units, self.state_sizes, self.gate_bias = units, [units], gate_bias
        self.projection = 3 * units
        self.context_initializer = keras.initializers.get(context_initializer)
        self.unit = ResetBeforeGRUCell(
            units, gate_bias, kernel_initializer, recurrent_initializer, dtype=self.dtype_policy, name="unit"
        )

    def build(self, inputs_shape: tuple[int | None, ...], annotations_shape: tuple[int | None, ...]) -> None:
        """Make the weights."""
        super().build(inputs_shape, annotations_shape)
        self.unit.build(inputs_shape)
        self.unit.built = True
        shape = (annotations_shape[-1], 3 * self.units)
        self.context_kernel = self.add_weight(name="context_kernel", shape=shape, initializer=self.context_initializer)

    def project(self, inputs: Any) -> Any:
        """Compute x·W + b."""
        return self.unit.project(inputs)

    def advance(self, projected: Any, context: Any, states: list[Any]) -> list[Any]:
        """Compute the next state."""
        return [self.unit.update(projected + ops.matmul(context, self.context_kernel), states[0])]

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        unit = self.unit.get_config()
        names = ("units", "gate_bias", "kernel_initializer", "recurrent_initializer")
        return (
            super().get_config()
            | {name: unit[name] for name in names}
            | {"context_initializer": keras.initializers.serialize(self.context_initializer)}
        )
