"""MNC's resizing of a mask to the size of the features that it gates."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_segattn.arguments import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_segattn")
class ResizeMask(keras.layers.Layer):
    """Resizes bilinearly: output pixel i reads position i · (input size ÷ output size).

    This is MaskResize of the released code. Unlike common resizing it aligns the upper left corners of the pixels, not
    their centres.

    Args:
        size: height and width of the output.

    Call arguments:
        inputs: `(batch, h, w, channels)` of known size.

    Output:
        `(batch, size, size, channels)` in the layer's compute dtype.

    Raises:
        ValueError: if the size is not a positive integer.

    Example:
        >>> ResizeMask(14)(keras.ops.ones((300, 21, 21, 1))).shape
        TensorShape([300, 14, 14, 1])
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive_integer("size", size)
        self.size = size

    def call(self, inputs: Any) -> Any:
        """Multiply by two constant matrices, one per axis."""
        inputs = ops.cast(inputs, self.compute_dtype)
        down, across = (ops.cast(_weights(n, self.size), inputs.dtype) for n in inputs.shape[1:3])
        return ops.einsum("ph,bhwc,qw->bpqc", down, inputs, across)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the output: a square of side `size`."""
        return keras.KerasTensor((inputs.shape[0], self.size, self.size, inputs.shape[-1]), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"size": self.size}


def _weights(pixels: int, size: int) -> np.ndarray:
    position = np.minimum(np.arange(size) * (pixels / size), pixels - 1)
    return np.maximum(1 - np.abs(position[:, None] - np.arange(pixels)), 0).astype("float32")
