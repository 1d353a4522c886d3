"""Convolution that has the promised shape for an empty batch, too."""

from typing import Any

import keras
from keras import ops


def conv(
    inputs: Any,
    kernel: Any,
    *,
    strides: int | list[int] = 1,
    padding: str = "valid",
    dilation_rate: int | tuple[int, ...] = 1,
    data_format: str = "channels_last",
) -> Any:
    """Compute `keras.ops.conv`, which an empty batch leaves empty in the shape of its output.

    On some processors TensorFlow's kernel returns the shape of the input for an empty batch, so it is not called then.

    Args:
        inputs: maps `(batch, height, width, channels)`, or in the other order of `data_format`.
        kernel: weights `(height, width, channels, filters)`.
        strides: steps of the kernel.
        padding: `"valid"` or `"same"`.
        dilation_rate: distance in pixels between the input pixels that the kernel reads.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        Maps in the dtype of the inputs.

    Example:
        >>> conv(keras.ops.ones((0, 5, 5, 3)), keras.ops.ones((3, 3, 3, 8))).shape
        TensorShape([0, 3, 3, 8])
    """
    settings = {
        "strides": strides,
        "padding": padding,
        "dilation_rate": dilation_rate,
        "data_format": data_format,
    }
    if inputs.shape[0] == 0:
        maps, weights = (keras.KerasTensor(tuple(x.shape), dtype=inputs.dtype) for x in (inputs, kernel))
        return ops.zeros(ops.conv(maps, weights, **settings).shape, inputs.dtype)
    return ops.conv(inputs, kernel, **settings)
