"""Grouped convolution as plain convolutions side by side."""

from typing import Any

import keras
from keras import ops

from keras_segattn.ops.convolution import conv


@keras.saving.register_keras_serializable(package="keras_segattn")
class GroupedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with `groups`, in a form that every runtime supports.

    On TensorFlow's CPU backend Keras compiles a grouped convolution with XLA, once for every input shape, and exported
    graphs do not contain the compiled function. This layer splits the channels, convolves each group and concatenates
    the results, which computes the same sums. Arguments, weights, input and output are those of `Conv2D`.

    Example:
        >>> conv2 = GroupedConv2D(256, 5, padding="same", groups=2)
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve each group of input channels with its own filters."""
        channels = 1 if self.data_format == "channels_first" else -1
        inputs = ops.cast(inputs, self.compute_dtype)
        outputs = [
            conv(
                part,
                filters,
                strides=list(self.strides),
                padding=self.padding,
                dilation_rate=self.dilation_rate,
                data_format=self.data_format,
            )
            for part, filters in zip(
                ops.split(inputs, self.groups, axis=channels), ops.split(kernel, self.groups, axis=-1), strict=True
            )
        ]
        return ops.concatenate(outputs, axis=channels)
