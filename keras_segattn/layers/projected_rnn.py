"""A recurrent loop that multiplies the inputs of all steps by their kernel at once, before the loop."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras


class ProjectedCell(keras.layers.Layer):
    """Base of the cells whose input projection can be taken out of the loop: `call` is `project`, then `step`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._projected = False

    def project(self, inputs: Any) -> Any:
        """Multiply inputs `(…, size)` by their kernel."""
        raise NotImplementedError

    def step(self, projected: Any, states: Any, training: bool) -> tuple[Any, list[Any]]:
        """Compute the output and the new states from projected inputs `(batch, …)`."""
        raise NotImplementedError

    @contextlib.contextmanager
    def fed_with_projections(self) -> Iterator[None]:
        """Make `call` expect projected inputs while a loop is traced in this context."""
        self._projected = True
        try:
            yield
        finally:
            self._projected = False

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        """Run one step, on projected inputs within `fed_with_projections`, else on inputs that it projects."""
        return self.step(inputs if self._projected else self.project(inputs), states, training)


@keras.saving.register_keras_serializable(package="keras_segattn")
class ProjectedRNN(keras.layers.RNN):
    """`keras.layers.RNN` with the input projection before the loop: one large product instead of one per step.

    Arguments, call arguments and output are those of `keras.layers.RNN`; the cell must be a `ProjectedCell`, such as
    `ResetBeforeGRUCell`.

    Example:
        >>> ProjectedRNN(ResetBeforeGRUCell(1000), return_sequences=True)(keras.ops.ones((2, 30, 620))).shape
        TensorShape([2, 30, 1000])
    """

    def __init__(self, cell: ProjectedCell, **kwargs: Any) -> None:
        if not isinstance(cell, ProjectedCell):
            raise TypeError(f"cell must be a ProjectedCell, received {cell!r}")
        super().__init__(cell, **kwargs)

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        """Project the inputs of all steps, then run the loop."""
        projected = self.cell.project(sequences)
        with self.cell.fed_with_projections():
            return self.loop(projected, initial_state, mask, training)

    def loop(self, projected: Any, initial_state: Any, mask: Any, training: bool) -> Any:
        """Run Keras's loop over projected inputs."""
        return super().call(projected, initial_state=initial_state, mask=mask, training=training)

    def compute_mask(self, *_: Any) -> None:
        """Return no mask: masks that Keras passes on by itself do not survive export, so here they are arguments."""
