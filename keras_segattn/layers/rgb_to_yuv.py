"""Conversion of colours to a luminance and two chrominances."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_segattn.ops.dtypes import at_least_float32

# ITU-R BT.601: Y = 0.299 R + 0.587 G + 0.114 B, U = 0.492 (B - Y), V = 0.877 (R - Y); one column per result.
LUMINANCE = np.array([0.299, 0.587, 0.114])
YUV = np.stack([LUMINANCE, 0.492 * (np.eye(3)[2] - LUMINANCE), 0.877 * (np.eye(3)[0] - LUMINANCE)], axis=1)


@keras.saving.register_keras_serializable(package="keras_segattn")
class RGBToYUV(keras.layers.Layer):
    """Converts RGB to YUV (ITU-R BT.601), in float32 at least, whatever the dtype policy.

    Call arguments:
        inputs: `(batch, height, width, 3)`, in any units; grey has chrominances of 0 also after a shift of all
            intensities.

    Output:
        Y, U and V in the units of the input, `(batch, height, width, 3)`, float32, or float64 if the input is.

    Raises:
        ValueError: if the input does not have three channels.

    Example:
        >>> luminance = RGBToYUV()(images)[..., :1]
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**({"autocast": False} | kwargs))

    def call(self, inputs: Any) -> Any:
        """Multiply every pixel by a matrix."""
        x = at_least_float32(inputs)
        return ops.matmul(x, ops.cast(YUV, x.dtype))

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the output, which has the shape of the input."""
        if inputs.shape[-1] != 3:
            raise ValueError(f"expected pictures of 3 channels, received shape {tuple(inputs.shape)}")
        return keras.KerasTensor(inputs.shape, keras.backend.result_type("float32", inputs.dtype))
