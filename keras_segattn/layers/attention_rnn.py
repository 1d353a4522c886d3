"""The recurrent loop in which a cell attends to annotations."""

from dataclasses import replace
from typing import Any

import keras
from keras import ops

from keras_segattn.layers.attention_cell import AttentionCell
from keras_segattn.layers.projected_rnn import ProjectedRNN


@keras.saving.register_keras_serializable(package="keras_segattn")
class AttentionRNN(ProjectedRNN):
    """Runs an attention cell over sequences. Keys and projected inputs are computed once, before the loop.

    Replaces `keras.layers.RNN(cell, constants=…)`, which Keras 3 no longer has, and TensorFlow Addons'
    `AttentionWrapper`.

    Args:
        cell: an attention cell, such as `AttentionLSTMCell` or `AttentionGRUCell`.
        unroll: whether the steps become a graph without a loop, which is larger, but faster for a few steps.

    Call arguments:
        sequences: inputs of the steps, `(batch, T, size)`.
        annotations: `(batch, L, D)`.
        annotation_mask: bool `(batch, L)`, false for padding, or `None`.
        initial_state: list of the cell's states `(batch, units)`; zeros if left out.
        mask: bool `(batch, T)`; where it is false, the step leaves the states unchanged and its outputs are zero.
        noise: float32 `(batch, T, L)` in [0, 1), the random numbers with which `HardAttention` draws.
        drawn: bool `(batch,)`, true for the examples that draw; goes together with `noise`.

    Output:
        dict `outputs` `(batch, T, units)`, the state after each step; `context` `(batch, T, D)`, the mean of the
        annotations that each step received; `weights` `(batch, T, L)`; `choices` `(batch, T, L)`, the factors of the
        annotations in that mean, equal to the weights where nothing was drawn; `states`, the list of the last states.

    Raises:
        TypeError: if the cell is not an attention cell.
        ValueError: if a shape is wrong.

    Example:
        >>> rnn = AttentionRNN(AttentionGRUCell(1000, AdditiveAttention(1000)))
        >>> rnn(keras.ops.ones((2, 5, 620)), keras.ops.ones((2, 30, 2000)))["weights"].shape
        TensorShape([2, 5, 30])
    """

    def __init__(self, cell: AttentionCell, unroll: bool = False, **kwargs: Any) -> None:
        if not isinstance(cell, AttentionCell):
            raise TypeError(f"cell must be one of keras_segattn.layers' attention cells, received {cell!r}")
        super().__init__(
            cell, return_sequences=True, return_state=True, unroll=unroll, zero_output_for_mask=True, **kwargs
        )

    def build(
        self,
        sequences_shape: tuple[int | None, ...],
        annotations_shape: tuple[int | None, ...],
        **_: Any,
    ) -> None:
        """Make the cell's weights."""
        if len(sequences_shape) != 3:
            raise ValueError(f"sequences must be (batch, steps, size), received the shape {tuple(sequences_shape)}")
        if not self.cell.built:
            self.cell.build((sequences_shape[0], sequences_shape[2]), annotations_shape)
            self.cell.built = True

    def call(  # type: ignore[override]
        self,
        sequences: Any,
        annotations: Any,
        annotation_mask: Any = None,
        initial_state: Any = None,
        mask: Any = None,
        noise: Any = None,
        drawn: Any = None,
        training: bool = False,
    ) -> dict[str, Any]:
        """Run the loop, and split its output into its parts."""
        if (noise is None) != (drawn is None):
            raise ValueError("noise and drawn go together: which examples draw, and what with")
        memory = replace(self.cell.attention.remember(annotations, annotation_mask), drawn=drawn)
        if initial_state is None:
            batch = ops.shape(sequences)[0]
            initial_state = [ops.zeros((batch, size), self.compute_dtype) for size in self.cell.state_sizes]
        states = self.cell.start(list(initial_state), memory)
        projected = self.cell.project(sequences)
        if noise is not None:
            projected = ops.concatenate([projected, ops.cast(noise, projected.dtype)], axis=-1)
        with self.cell.reading(memory), self.cell.fed_with_projections():
            joined, *last = self.loop(projected, states, mask, training)
        if mask is not None:  # Keras's backends disagree on the output of a masked step
            joined = joined * ops.cast(mask, joined.dtype)[..., None]
        units, width = self.cell.units, annotations.shape[-1]
        locations = ops.shape(annotations)[1] if annotations.shape[1] is None else annotations.shape[1]
        seen = units + width
        weights = joined[..., seen : seen + locations]
        return {
            "outputs": joined[..., :units],
            "context": joined[..., units:seen],
            "weights": weights,
            "choices": weights if noise is None else joined[..., seen + locations :],
            "states": list(last[: len(self.cell.state_sizes)]),
        }

    def compute_output_spec(
        self,
        sequences: Any,
        annotations: Any,
        annotation_mask: Any = None,
        initial_state: Any = None,
        mask: Any = None,
        noise: Any = None,
        drawn: Any = None,
        training: bool = False,
    ) -> dict[str, Any]:
        """Describe the parts of the output."""
        (batch, steps, _), (_, locations, width) = sequences.shape, annotations.shape
        dtype = self.compute_dtype
        return {
            "outputs": keras.KerasTensor((batch, steps, self.cell.units), dtype=dtype),
            "context": keras.KerasTensor((batch, steps, width), dtype=dtype),
            "weights": keras.KerasTensor((batch, steps, locations), dtype=dtype),
            "choices": keras.KerasTensor((batch, steps, locations), dtype=dtype),
            "states": [keras.KerasTensor((batch, size), dtype=dtype) for size in self.cell.state_sizes],
        }

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        fixed = ("return_sequences", "return_state", "go_backwards", "stateful", "zero_output_for_mask")
        return {key: value for key, value in super().get_config().items() if key not in fixed}
