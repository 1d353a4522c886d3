"""A recurrent loop that multiplies the inputs of all steps by their kernel at once, before the loop."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

Step = Callable[[Any, Any], tuple[Any, list[Any]]]


class ProjectedCell(keras.layers.Layer):
    """Base of the cells whose input projection can be taken out of the loop: `call` is `project`, then `step`."""

    def project(self, inputs: Any) -> Any:
        """Multiply inputs `(…, size)` by their kernel."""
        raise NotImplementedError

    def step(self, projected: Any, states: Any, training: bool) -> tuple[Any, list[Any]]:
        """Compute the output and the new states from projected inputs `(batch, …)`."""
        raise NotImplementedError

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        """Project the inputs, and run one step."""
        return self.step(self.project(inputs), states, training)


class Steps:
    """The step of one call in the form of a cell, as Keras' loop requires."""

    def __init__(self, step: Step, state_size: list[int]) -> None:
        self.call, self.state_size = step, state_size

    def __call__(self, inputs: Any, states: Any) -> tuple[Any, list[Any]]:
        """Run the step."""
        return self.call(inputs, states)


@keras.saving.register_keras_serializable(package="keras_segattn")
class ProjectedRNN(keras.layers.RNN):
    """`keras.layers.RNN` with the input projection before the loop: one large product instead of one per step.

    Arguments, call arguments and output are those of `keras.layers.RNN`; the cell must be a `ProjectedCell`, such as
    `ResetBeforeGRUCell`. Without the argument `mask`, the mask that Keras attaches to `sequences` is used, for example
    that of `keras.layers.Embedding(mask_zero=True)`; Keras passes it as `sequences_mask`.

    Raises:
        TypeError: if the cell is no `ProjectedCell`.
        ValueError: if there are no steps, from which Keras' loop cannot begin.

    Example:
        >>> ProjectedRNN(ResetBeforeGRUCell(1000), return_sequences=True)(keras.ops.ones((2, 30, 620))).shape
        TensorShape([2, 30, 1000])
    """

    def __init__(self, cell: ProjectedCell, **kwargs: Any) -> None:
        if not isinstance(cell, ProjectedCell):
            raise TypeError(f"cell must be a ProjectedCell, received {cell!r}")
        super().__init__(cell, **kwargs)

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
        sequences_mask: Any = None,
    ) -> Any:
        """Run the loop as `keras.layers.RNN` does."""
        if sequences.shape[1] == 0:
            raise ValueError(f"sequences must have at least one step, received the shape {tuple(sequences.shape)}")
        mask = sequences_mask if mask is None else mask
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        """Project the inputs of all steps, then run the loop over them."""

        def step(projected: Any, states: Any) -> tuple[Any, list[Any]]:
            return self.cell.step(projected, list(states), training)

        states = [ops.cast(state, self.compute_dtype) for state in initial_state]
        return self.loop(step, self.cell.project(sequences), states, mask)

    def loop(self, step: Step, inputs: Any, states: list[Any], mask: Any) -> Any:
        """Run Keras' loop over the inputs of all steps; return the last output, all outputs and the last states.

        A layer of its own holds what belongs to this call, so that calls in several threads do not meet.
        """
        if inputs.shape[1] == 0:  # Keras needs a step to learn the sizes of the outputs
            last, outputs, _ = self.loop(step, ops.pad(inputs, [(0, 0), (0, 1), (0, 0)]), states, None)
            return ops.zeros_like(last), outputs[:, :0], states
        loop = keras.layers.RNN(
            Steps(step, self.state_size),
            return_sequences=self.return_sequences,
            go_backwards=self.go_backwards,
            stateful=self.stateful,
            unroll=self.unroll,
            zero_output_for_mask=self.zero_output_for_mask,
            name=self.name,
        )
        return loop.inner_loop(inputs, states, mask)

    def in_order(self, mask: Any) -> Any:
        """Return the mask of the steps `(batch, T)` in the order of the outputs."""
        return ops.flip(mask, axis=1) if self.go_backwards else mask

    def compute_mask(self, sequences: Any, mask: Any) -> Any:
        """Return the mask of the outputs."""
        return super().compute_mask(sequences, None if mask is None else self.in_order(mask))
