"""Convolution whose filters see only some of the input channels."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_segattn.arguments import is_integer
from keras_segattn.ops.convolution import conv


@keras.saving.register_keras_serializable(package="keras_segattn")
class SparseConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with a table of connections: every filter sees a few input channels of its own.

    Only the kernel's values at connections are stored and trained, in the order of the table. The layer puts them into
    a kernel with zeros elsewhere and convolves with that. When a model is exported, the kernel is a constant, and so is
    an ordinary convolution's.

    Args:
        table: input channels that each filter sees, equally many for all filters and none twice.
        kernel_size: height and width of the kernel.
        **kwargs: the other arguments of `keras.layers.Conv2D`, except `filters` and `groups`.

    Call arguments:
        inputs: `(batch, height, width, channels)`.

    Output:
        As of `Conv2D`, with `len(table)` channels.

    Raises:
        ValueError: if the table is not as described, or names channels that the input does not have.

    Example:
        >>> SparseConv2D([(0, 1), (1, 2), (0, 2), (0, 3)], 7)(keras.ops.ones((1, 9, 9, 4))).shape
        TensorShape([1, 3, 3, 4])
    """

    def __init__(self, table: Sequence[Sequence[int]], kernel_size: int | tuple[int, int], **kwargs: Any) -> None:
        rows = [tuple(row) for row in table]
        if not rows or not rows[0] or any(len(row) != len(rows[0]) or len({*row}) != len(row) for row in rows):
            raise ValueError(f"expected as many different channels for every filter, received table {table!r}")
        if not all(is_integer(channel) and channel >= 0 for row in rows for channel in row):
            raise ValueError(f"expected numbers of channels from 0 up, received table {table!r}")
        super().__init__(len(rows), kernel_size, data_format="channels_last", **kwargs)
        self.table = [tuple(map(int, row)) for row in rows]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make one kernel value per connection and position."""
        channels, seen = input_shape[-1], max(map(max, self.table))
        if channels is None or seen >= channels:
            raise ValueError(f"layer {self.name!r} connects channel {seen}, received input of shape {input_shape}")
        super().build((*input_shape[:-1], len(self.table[0])))
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: channels})

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve with the kernel that has zeros where there is no connection."""
        inputs = ops.cast(inputs, self.compute_dtype)
        return conv(
            inputs,
            self.dense_kernel(kernel, inputs.shape[-1]),
            strides=list(self.strides),
            padding=self.padding,
            dilation_rate=self.dilation_rate,
        )

    def dense_kernel(self, kernel: Any, channels: int) -> Any:
        """Put the values of the connections, `(height, width, connections, filters)`, into a kernel of all channels."""
        size, connections = kernel.shape[:2], len(self.table[0])
        # Position of every pair of channel and filter among the connections; the last position holds a 0.
        places = np.full((channels, self.filters), connections * self.filters, "int32")
        for number, row in enumerate(self.table):
            places[list(row), number] = np.arange(connections) * self.filters + number
        values = ops.pad(ops.reshape(kernel, (*size, connections * self.filters)), ((0, 0), (0, 0), (0, 1)))
        return ops.reshape(ops.take(values, places.reshape(-1), axis=-1), (*size, channels, self.filters))

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        config = super().get_config()
        for argument in ("filters", "data_format", "groups"):
            del config[argument]
        return config | {"table": [list(row) for row in self.table]}


def random_table(filters: int, channels: int, connections: int, seed: Sequence[int] | int) -> list[tuple[int, ...]]:
    """Draw a table for `SparseConv2D`: for every filter so many different channels, in ascending order.

    Args:
        filters: number of filters.
        channels: number of input channels.
        connections: number of channels that a filter sees, at most `channels`.
        seed: seed of the draw.
    """
    generator = np.random.default_rng(seed)
    drawn = [generator.choice(channels, connections, replace=False) for _ in range(filters)]
    return [tuple(sorted(map(int, row))) for row in drawn]
