"""Max pooling at every pixel."""

from functools import reduce
from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_positive_integer
from keras_segattn.layers.dilated_conv2d import valid_spec


@keras.saving.register_keras_serializable(package="keras_segattn")
class DilatedMaxPooling2D(keras.layers.Layer):
    """Max pooling with stride 1, without padding, over pixels that are `dilation` apart.

    Rows are pooled first, then columns, by maxima of shifted maps. Runtimes have no dilated pooling, and this needs
    `2 · (pool_size - 1)` comparisons per pixel instead of `pool_size²`.

    Args:
        pool_size: height and width of the window, in pixels that are read.
        dilation: distance between them.

    Call arguments:
        inputs: `(batch, height, width, channels)`.

    Output:
        `(batch, height - dilation · (pool_size - 1), …, channels)`.

    Raises:
        ValueError: if an argument is not a positive integer, or a map of known size is smaller than the window.

    Example:
        >>> DilatedMaxPooling2D(2, dilation=4)(keras.ops.ones((1, 9, 9, 3))).shape
        TensorShape([1, 5, 5, 3])
    """

    def __init__(self, pool_size: int, dilation: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive_integer("pool_size", pool_size)
        check_positive_integer("dilation", dilation)
        self.pool_size, self.dilation = pool_size, dilation

    def call(self, inputs: Any) -> Any:
        """Compute the maxima of rows, then of columns."""
        x = ops.cast(inputs, self.compute_dtype)
        starts = [i * self.dilation for i in range(self.pool_size)]
        # The end is counted from the border, as the size may be known only at run time.
        parts = [slice(start, start - starts[-1] or None) for start in starts]
        x = reduce(ops.maximum, [x[:, part] for part in parts])
        return reduce(ops.maximum, [x[:, :, part] for part in parts])

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the output; sizes known only at run time stay `None`."""
        return valid_spec(self, inputs, [self.dilation * (self.pool_size - 1)] * 2, inputs.shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"pool_size": self.pool_size, "dilation": self.dilation}
