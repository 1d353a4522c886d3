"""Keras' own cells and stacks of cells, with attention."""

from typing import Any

import keras
from keras import ops

from keras_segattn.layers.attention_cell import AttentionCell
from keras_segattn.layers.attention_score import AttentionScore


@keras.saving.register_keras_serializable(package="keras_segattn")
class AttentionRNNCell(AttentionCell):
    """Runs a cell of Keras, or a stack of them, which receives a context behind its inputs.

        c = attention(h)    h' = cell([x, c], h)

    The query h is the state of the cell, in a stack that of the last cell. In `InputFeedingCell` this is TensorFlow
    Addons' `AttentionWrapper` around any cell.

    Args:
        cell: cell whose output is its first state, such as `keras.layers.LSTMCell`, or `keras.layers.StackedRNNCells`
            of such cells. The states of a stack are in the order of `AttentionRNN`'s `initial_state`: those of the last
            cell come first.
        attention: attention layer that computes the context.
        **kwargs: arguments of `AttentionCell`, such as `dropout`, and of `keras.layers.Layer`.

    Raises:
        TypeError: if `cell` is no cell of Keras.
        ValueError: if a cell has a dropout of its own, whose mask Keras keeps on the cell during a call.

    Example:
        >>> stack = keras.layers.StackedRNNCells([keras.layers.LSTMCell(512) for _ in range(2)])
        >>> rnn = AttentionRNN(InputFeedingCell(AttentionRNNCell(stack, GeneralAttention()), 512))
    """

    def __init__(self, cell: keras.layers.Layer, attention: AttentionScore, **kwargs: Any) -> None:
        super().__init__(attention, **kwargs)
        self.cell = cell
        for one in self.cells:
            if not isinstance(one, keras.layers.Layer) or not hasattr(one, "state_size"):
                raise TypeError(f"cell must be a cell of Keras or keras.layers.StackedRNNCells, received {one!r}")
            if getattr(one, "dropout", 0) or getattr(one, "recurrent_dropout", 0):
                raise ValueError(
                    f"expected cells without dropout, received {one.name} with it; AttentionRNNCell has an argument "
                    "dropout for the inputs"
                )
        sizes = [_sizes(one) for one in reversed(self.cells)]
        self.units = sizes[0][0]
        self.state_sizes = [size for own in sizes for size in own]

    @property
    def cells(self) -> list[keras.layers.Layer]:
        """The cells from the first to the last."""
        return list(getattr(self.cell, "cells", [self.cell]))

    def build(self, inputs_shape: tuple[int | None, ...], annotations_shape: tuple[int | None, ...]) -> None:
        """Make the weights of the attention and of the cells."""
        super().build(inputs_shape, annotations_shape)
        self.projection = int(inputs_shape[-1] or 0)
        if not self.cell.built:
            self.cell.build((inputs_shape[0], self.projection + int(annotations_shape[-1] or 0)))
            self.cell.built = True

    def project(self, inputs: Any) -> Any:
        """Return the inputs: the product with their kernel is a part of the cell."""
        return inputs

    def advance(self, projected: Any, context: Any, states: list[Any]) -> list[Any]:
        """Compute the new states of all cells, those of the last cell first."""
        x, left = ops.concatenate([projected, context], axis=-1), list(states)
        new: list[Any] = []
        for one in self.cells:
            count = len(_sizes(one))
            left, own = left[:-count], left[-count:]
            x, own = one(x, own)
            new = [*keras.tree.flatten(own), *new]
        return new

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"cell": keras.saving.serialize_keras_object(self.cell)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AttentionRNNCell":
        """Rebuild the cell with its cell and its attention."""
        parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("cell", "attention")}
        return cls(**config | parts)


def _sizes(cell: keras.layers.Layer) -> list[int]:
    """Return the sizes of the states of one cell."""
    return [cell.state_size] if isinstance(cell.state_size, int) else list(cell.state_size)
