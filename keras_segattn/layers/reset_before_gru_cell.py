"""The gated recurrent unit as it was first published (Cho et al. 2014, arXiv 1406.1078)."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.layers.projected_rnn import ProjectedCell


@keras.saving.register_keras_serializable(package="keras_segattn")
class ResetBeforeGRUCell(ProjectedCell):
    """Gated recurrent unit with the reset gate before the recurrent product, and the update gate's sign of GroundHog.

        z = σ(x·Wz + h·Uz)    r = σ(x·Wr + h·Ur)    c = tanh(x·Wc + b + (r ⊙ h)·Uc)    h' = (1 − z) ⊙ h + z ⊙ c

    GroundHog is the library of the released RNNsearch code. The columns of the kernels are those of z, r and c, in this
    order. The cell equals `keras.layers.GRUCell(reset_after=False)` with the columns of z negated.

    Args:
        units: width of the state.
        gate_bias: whether the gates have biases too; the released code has one on c only.
        kernel_initializer, recurrent_initializer: initialisers of the kernels; each of the recurrent kernel's three
            blocks is initialised separately.

    Raises:
        ValueError: if `units` is not a positive integer.

    Example:
        >>> keras.layers.RNN(ResetBeforeGRUCell(1000))(keras.ops.ones((2, 30, 620))).shape
        TensorShape([2, 1000])
    """

    def __init__(
        self,
        units: int,
        gate_bias: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive_integer("units", units)
        check_choice("gate_bias", gate_bias, (True, False))
        self.units, self.gate_bias = units, gate_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.state_size = self.output_size = units

    def build(self, inputs_shape: tuple[int | None, ...]) -> None:
        """Make the weights."""
        self.kernel = self.add_weight(
            name="kernel", shape=(inputs_shape[-1], 3 * self.units), initializer=self.kernel_initializer
        )
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(self.units, 3 * self.units), initializer=self._blocks
        )
        biases = 3 * self.units if self.gate_bias else self.units
        self.bias = self.add_weight(name="bias", shape=(biases,), initializer="zeros")

    def _blocks(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        blocks = [self.recurrent_initializer.clone()((shape[0], self.units), dtype=dtype) for _ in range(3)]
        return ops.concatenate(blocks, axis=1)

    def project(self, inputs: Any) -> Any:
        """Compute x·W + b."""
        bias = self.bias if self.gate_bias else ops.pad(self.bias, [(2 * self.units, 0)])
        return ops.matmul(inputs, self.kernel) + bias

    def step(self, projected: Any, states: Any, training: bool) -> tuple[Any, list[Any]]:
        """Compute one step by the equations above."""
        new = self.update(projected, states[0])
        return new, [new]

    def update(self, projected: Any, state: Any) -> Any:
        """Compute the new state from projected inputs and the old state."""
        n = self.units
        gates = ops.sigmoid(projected[..., : 2 * n] + ops.matmul(state, self.recurrent_kernel[:, : 2 * n]))
        update, reset = gates[..., :n], gates[..., n:]
        candidate = ops.tanh(projected[..., 2 * n :] + ops.matmul(reset * state, self.recurrent_kernel[:, 2 * n :]))
        return state + update * (candidate - state)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {
            "units": self.units,
            "gate_bias": self.gate_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "recurrent_initializer": keras.initializers.serialize(self.recurrent_initializer),
        }
