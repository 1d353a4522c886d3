"""A recurrent loop that multiplies its inputs by their kernel once, for all steps."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras


class ProjectedCell(keras.layers.Layer):
    """Base of the cells whose input map can be taken out of the loop: `call` is `step` after `project`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._projected = False

    def project(self, inputs: Any) -> Any:
        """Inputs `(…, size)` by their kernel."""
        raise NotImplementedError

    def step(self, projected: Any, states: Any, training: bool) -> tuple[Any, list[Any]]:
        """Output and new states from projected inputs `(batch, …)`."""
        raise NotImplementedError

    @contextlib.contextmanager
    def fed_with_projections(self) -> Iterator[None]:
        """While a loop is traced, inputs come projected."""
        self._projected = True
        try:
            yield
        finally:
            self._projected = False

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        """One step."""
        return self.step(inputs if self._projected else self.project(inputs), states, training)


@keras.saving.register_keras_serializable(package="keras_segattn")
class ProjectedRNN(keras.layers.RNN):
    """`keras.layers.RNN` with the input map before the loop: one large product instead of one a step.

    Args, call arguments, output: as `keras.layers.RNN`; the cell is a `ProjectedCell`, such as `ResetBeforeGRUCell`.

    Example:
        >>> ProjectedRNN(ResetBeforeGRUCell(1000), return_sequences=True)(keras.ops.ones((2, 30, 620))).shape
        TensorShape([2, 30, 1000])
    """

    def __init__(self, cell: ProjectedCell, **kwargs: Any) -> None:
        if not isinstance(cell, ProjectedCell):
            raise TypeError(f"cell must be a ProjectedCell, received {cell!r}")
        super().__init__(cell, **kwargs)

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        """Project, then loop."""
        projected = self.cell.project(sequences)
        with self.cell.fed_with_projections():
            return self.loop(projected, initial_state, mask, training)

    def loop(self, projected: Any, initial_state: Any, mask: Any, training: bool) -> Any:
        """Keras's loop, over inputs that are projected."""
        return super().call(projected, initial_state=initial_state, mask=mask, training=training)

    def compute_mask(self, *_: Any) -> None:
        """Masks are arguments and outputs: those that Keras hands on by itself do not survive export."""
