"""The recurrent loop in which a cell attends to annotations."""

from dataclasses import replace
from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice
from keras_segattn.layers.attention_cell import AttentionCell
from keras_segattn.layers.attention_score import check_sizes
from keras_segattn.layers.projected_rnn import ProjectedRNN

# Arguments of `keras.layers.RNN` that have one value here.
FIXED = {"return_sequences", "return_state", "stateful", "zero_output_for_mask"}


@keras.saving.register_keras_serializable(package="keras_segattn")
class AttentionRNN(ProjectedRNN):
    """Runs an attention cell over sequences. Keys and projected inputs are computed once, before the loop.

    Replaces `keras.layers.RNN(cell, constants=…)`, which Keras 3 no longer has, and TensorFlow Addons'
    `AttentionWrapper`.

    Args:
        cell: an attention cell, such as `AttentionLSTMCell` or `AttentionGRUCell`.
        unroll: whether the steps become a graph without a loop, which is larger, but faster for a few steps.
        go_backwards: whether the steps run from the last to the first; the outputs are in the order of the steps.
        **kwargs: arguments of `keras.layers.Layer`. The other arguments of `keras.layers.RNN` are refused: all outputs
            and states are returned, and `stateful=True` is `initial_state=found["states"]` in the next call.

    Call arguments:
        sequences: inputs of the steps, `(batch, T, size)`.
        annotations: `(batch, L, D)`.
        annotation_mask: bool `(batch, L)`, false for padding. If it is `None`, the mask that Keras attaches to
            `annotations` is used, for example that of `keras.layers.Embedding(mask_zero=True)`; Keras passes it as
            `annotations_mask`.
        initial_state: list of the cell's states `(batch, units)`, or the only one; zeros if left out.
        mask: bool `(batch, T)`; where it is false, the step leaves the states unchanged and its outputs are zero. If it
            is `None`, the mask that Keras attaches to `sequences` is used; Keras passes it as `sequences_mask`.
        noise: float32 `(batch, T, L)` in [0, 1), the random numbers with which `HardAttention` draws.
        drawn: bool `(batch,)`, true for the examples that draw; goes together with `noise`.

    Output:
        dict `outputs` `(batch, T, units)`, the state after each step; `context` `(batch, T, D)`, the mean of the
        annotations that each step received; `weights` `(batch, T, L)`; `choices` `(batch, T, L)`, the factors of the
        annotations in that mean, equal to the weights where nothing was drawn; `states`, the list of the last states.
        Keras' mask of all but the states is that of the steps.

    Raises:
        TypeError: if the cell is not an attention cell, or an argument is one of `keras.layers.RNN` only.
        ValueError: if an argument or a shape is wrong.

    Example:
        >>> rnn = AttentionRNN(AttentionGRUCell(1000, AdditiveAttention(1000)))
        >>> rnn(keras.ops.ones((2, 5, 620)), keras.ops.ones((2, 30, 2000)))["weights"].shape
        TensorShape([2, 5, 30])
    """

    def __init__(self, cell: AttentionCell, unroll: bool = False, go_backwards: bool = False, **kwargs: Any) -> None:
        if not isinstance(cell, AttentionCell):
            raise TypeError(
                "cell must be one of keras_segattn.layers' attention cells, such as AttentionRNNCell around a cell of "
                f"Keras, received {cell!r}"
            )
        for name, value in (("unroll", unroll), ("go_backwards", go_backwards)):
            check_choice(name, value, (True, False))
        refused = sorted(FIXED & kwargs.keys())
        if refused:
            raise TypeError(
                f"AttentionRNN returns all outputs and states, and starts from initial_state; received {refused}"
            )
        super().__init__(
            cell,
            return_sequences=True,
            return_state=True,
            go_backwards=go_backwards,
            unroll=unroll,
            zero_output_for_mask=True,
            **kwargs,
        )

    @property
    def input_dtype(self) -> str:
        """Dtype of the inputs: float32 also in mixed precision, because half precision would round noise to 1."""
        return keras.backend.result_type(self.compute_dtype, "float32")

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
        sequences_mask: Any = None,
        annotations_mask: Any = None,
    ) -> dict[str, Any]:
        """Run the loop, and split its output into its parts."""
        if (noise is None) != (drawn is None):
            raise ValueError("noise and drawn go together: which examples draw, and what with")
        if self.unroll and sequences.shape[1] is None:
            raise ValueError(f"unroll=True needs a known number of steps, received the shape {tuple(sequences.shape)}")
        mask = sequences_mask if mask is None else ops.convert_to_tensor(mask)
        annotation_mask = annotations_mask if annotation_mask is None else ops.convert_to_tensor(annotation_mask)
        given = None if initial_state is None else keras.tree.flatten(initial_state)
        check_sizes(
            {
                "sequences": (sequences, "BTI"),
                "annotations": (annotations, "BLD"),
                "annotation_mask": (annotation_mask, "BL"),
                "mask": (mask, "BT"),
                "noise": (noise, "BTL"),
                "drawn": (drawn, "B"),
                **{f"initial_state[{place}]": (state, f"B{place}") for place, state in enumerate(given or [])},
            }
        )
        dtype = self.compute_dtype
        sequences, annotations = ops.cast(sequences, dtype), ops.cast(annotations, dtype)
        memory = replace(self.cell.attention.remember(annotations, annotation_mask), drawn=drawn)
        if given is None:
            batch = ops.shape(sequences)[0]
            given = [ops.zeros((batch, size), dtype) for size in self.cell.state_sizes]
        states = self.cell.start([ops.cast(state, dtype) for state in given], memory)
        inputs = self.cell.project(self.cell.drop(sequences, training))
        if noise is not None:
            inputs = ops.concatenate([ops.cast(inputs, noise.dtype), noise], axis=-1)
        width = self.cell.projection

        def step(inputs: Any, states: Any) -> tuple[Any, list[Any]]:
            projected = ops.cast(inputs[:, :width], dtype)
            seen, new = self.cell.attend_and_advance(
                projected, list(states), memory, None if noise is None else inputs[:, width:]
            )
            choice = [] if noise is None else [seen.choice]
            return ops.concatenate([new[0], seen.context, seen.weights, *choice], axis=-1), new

        _, joined, last = self.loop(step, inputs, states, mask)
        if mask is not None:  # Keras's backends disagree on the output of a masked step
            joined = ops.where(ops.cast(self.in_order(mask), "bool")[..., None], joined, 0)
        units, locations = self.cell.units, ops.shape(annotations)[1]
        seen = units + annotations.shape[-1]
        weights = joined[..., seen : seen + locations]
        return {
            "outputs": joined[..., :units],
            "context": joined[..., units:seen],
            "weights": weights,
            "choices": weights if noise is None else joined[..., seen + locations :],
            "states": list(last[: len(self.cell.state_sizes)]),
        }

    def compute_mask(self, sequences: Any, mask: Any) -> Any:
        """Return the mask of the steps for every output but the states."""
        if mask is None:
            return None
        masks: dict[str, Any] = dict.fromkeys(("outputs", "context", "weights", "choices"), self.in_order(mask))
        return masks | {"states": [None] * len(self.cell.state_sizes)}

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
        sequences_mask: Any = None,
        annotations_mask: Any = None,
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
        return {key: value for key, value in super().get_config().items() if key not in FIXED}
