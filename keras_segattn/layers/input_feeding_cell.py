"""Input feeding: each step receives the last attention (Luong, Pham & Manning, EMNLP 2015, arXiv 1508.04025)."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.layers.attention_cell import AttentionCell
from keras_segattn.layers.attention_rnn_cell import AttentionRNNCell
from keras_segattn.layers.attention_score import AttentionScore, Memory, Seen
from keras_segattn.layers.dot_attention import GeneralAttention


@keras.saving.register_keras_serializable(package="keras_segattn")
class InputFeedingCell(AttentionCell):
    """Runs another cell in Luong's order: update the state, attend with the new state, compute the output from both.

        h' = cell(x, h̃, h)    c = attention(h')    h̃' = tanh([c, h']·W)

    The next step receives the vector h̃ in the place of the cell's context, which is called input feeding (sections 3.1
    and 3.3). Replaces `tfa.seq2seq.AttentionWrapper`.

    Args:
        cell: `AttentionLSTMCell`, `AttentionGRUCell` or `AttentionRNNCell`, whose attention is used; or a cell of Keras
            or a stack of them, which becomes an `AttentionRNNCell`.
        units: width of h̃, which is both the output of the loop and the first of its states; h̃ starts as zeros.
        kernel_initializer: initialiser of W.
        attention: attention layer for a cell of Keras; `None` is `GeneralAttention()`, the paper's "general". Any other
            cell has its own.
        activation: name of the activation of h̃: `"tanh"`, the paper's, or `None` for none, as TensorFlow Addons'
            `attention_layer_size` makes it.

    Raises:
        TypeError, ValueError: if an argument is wrong.

    Example:
        >>> rnn = AttentionRNN(InputFeedingCell(AttentionLSTMCell(1000, GeneralAttention()), 1000))
        >>> found = rnn(words, annotations, initial_state=[h, c])
        >>> stack = keras.layers.StackedRNNCells([keras.layers.LSTMCell(512) for _ in range(2)])
        >>> wrapper = InputFeedingCell(stack, 512, attention=GeneralAttention(scale=True), activation=None)
    """

    def __init__(
        self,
        cell: AttentionCell | keras.layers.Layer,
        units: int,
        kernel_initializer: Any = "glorot_uniform",
        activation: str | None = "tanh",
        attention: AttentionScore | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(cell, AttentionCell):
            cell = AttentionRNNCell(cell, GeneralAttention() if attention is None else attention)
        elif attention is not None:
            raise ValueError(f"{type(cell).__name__} has an attention of its own, received attention={attention!r}")
        if getattr(cell, "selector", None) is not None:
            raise ValueError(f"expected a cell without a selector, received {cell.selector!r}")
        super().__init__(cell.attention, **kwargs)
        check_positive_integer("units", units)
        self.cell, self.units, self.state_sizes = cell, units, [units, *cell.state_sizes]
        check_choice("activation", activation, ("tanh", None))
        self.activation = activation
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, inputs_shape: tuple[int | None, ...], annotations_shape: tuple[int | None, ...]) -> None:
        """Make the weights of the attention for the annotations, of the cell for h̃ as its context, and W."""
        if not self.attention.built:
            self.attention.build((inputs_shape[0], self.cell.units), annotations_shape)
            self.attention.built = True
        if not self.cell.built:
            self.cell.build(inputs_shape, (inputs_shape[0], None, self.units))
            self.cell.built = True
        self.projection = self.cell.projection
        self.kernel = self.add_weight(
            name="kernel",
            shape=(int(annotations_shape[-1] or 0) + self.cell.units, self.units),
            initializer=self.kernel_initializer,
        )

    def drop(self, sequences: Any, training: bool | None = None) -> Any:
        """Apply the dropout of the inner cell, then the cell's own."""
        return super().drop(self.cell.drop(sequences, training), training)

    def project(self, inputs: Any) -> Any:
        """Project the inputs as the inner cell does."""
        return self.cell.project(inputs)

    def attend_and_advance(
        self, projected: Any, states: list[Any], memory: Memory, noise: Any = None
    ) -> tuple[Seen, list[Any]]:
        """Update the inner cell, attend with its new state, and return what was seen and the new states."""
        fed, *inner = self.own(states)
        inner = self.cell.advance(projected, fed, inner)
        previous = self.previous(states)
        seen = self.attention.attend(inner[0], memory, previous, noise)
        out = ops.matmul(ops.concatenate([seen.context, inner[0]], axis=-1), self.kernel)
        out = ops.tanh(out) if self.activation == "tanh" else out
        return seen, [out, *inner, *self.carried(seen, previous)]

    def start(self, states: list[Any], memory: Memory) -> list[Any]:
        """Return the states before the first step. If only the inner cell's states are given, h̃ starts as zeros."""
        if len(states) == len(self.cell.state_sizes):
            first = ops.zeros_like(states[0][:, :1])
            states = [ops.repeat(first, self.units, axis=1), *states]
        return super().start(states, memory)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        config = super().get_config()
        del config["attention"]
        return config | {
            "cell": keras.saving.serialize_keras_object(self.cell),
            "units": self.units,
            "activation": self.activation,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "InputFeedingCell":
        """Rebuild the cell with its inner cell."""
        return cls(**config | {"cell": keras.saving.deserialize_keras_object(config["cell"])})
