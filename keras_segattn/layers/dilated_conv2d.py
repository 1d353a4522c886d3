"""A convolution whose dilation is an argument of the call."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_positive_integer
from keras_segattn.ops.convolution import conv


@keras.saving.register_keras_serializable(package="keras_segattn")
class DilatedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` without padding whose dilation each call chooses, so that several calls share one kernel.

    A network that is applied to the maps of a strided one needs the same kernel at several dilations: over every pixel,
    the maps of stride `s` are read at pixels that are `s` apart.

    A call may also leave out the first channels, which are then zero everywhere. They are not computed. (Padding the
    channels instead would cost time, and TensorFlow's optimiser merges such a padding into a convolution that fails.)

    Args:
        filters: number of output channels.
        kernel_size: height and width of the kernel.
        input_channels: number of input channels that the kernel reads; `None` is the number in the first call.
        **kwargs: the other arguments of `keras.layers.Conv2D`, except strides, padding, groups and dilation.

    Call arguments:
        inputs: `(batch, height, width, channels)`, where channels may be fewer than `input_channels`.
        dilation: distance in pixels between the input pixels that a kernel reads.

    Output:
        `(batch, height - dilation · (kernel_size - 1), …, filters)`.

    Raises:
        ValueError: if a number is not a positive integer, the input has more channels than the kernel, or a map of
            known size is smaller than the kernel.

    Example:
        >>> conv = DilatedConv2D(50, 8, input_channels=11)
        >>> first = conv(pictures)
        >>> second = conv(concatenate([planes, pictures]), dilation=2)
    """

    def __init__(
        self, filters: int, kernel_size: int | tuple[int, int], input_channels: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(filters, kernel_size, padding="valid", data_format="channels_last", **kwargs)
        if input_channels is not None:
            check_positive_integer("input_channels", input_channels)
        self.input_channels = input_channels

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make kernel and bias."""
        super().build((*input_shape[:-1], self.input_channels or input_shape[-1]))
        self.input_spec = keras.layers.InputSpec(ndim=4)  # Keras' own asks for all channels

    def call(self, inputs: Any, dilation: int = 1) -> Any:
        """Convolve the input, whose pixels are read `dilation` apart."""
        kernel = self.kernel[:, :, -inputs.shape[-1] :]
        x = conv(ops.cast(inputs, self.compute_dtype), kernel, dilation_rate=dilation)
        if self.use_bias:
            x = ops.add(x, self.bias)
        return x if self.activation is None else self.activation(x)

    def compute_output_spec(self, inputs: Any, dilation: int = 1) -> keras.KerasTensor:
        """Describe the output; sizes known only at run time stay `None`."""
        check_positive_integer("dilation", dilation)
        if inputs.shape[-1] > self.kernel.shape[2]:
            raise ValueError(
                f"layer {self.name!r} reads {self.kernel.shape[2]} channels or fewer, received {inputs.shape}"
            )
        steps = [kernel - 1 for kernel in self.kernel_size]
        return valid_spec(self, inputs, [dilation * n for n in steps], self.filters)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        config = super().get_config()
        for fixed in ("strides", "padding", "data_format", "dilation_rate", "groups"):
            del config[fixed]
        return config | {"input_channels": self.input_channels}


def valid_spec(layer: keras.layers.Layer, inputs: Any, lost: list[int], channels: int) -> keras.KerasTensor:
    """Describe the output of a layer that slides a window over a map without padding.

    Args:
        layer: layer whose name and precision the output has.
        inputs: symbolic map `(batch, height, width, any)`.
        lost: numbers of rows and columns by which the output is smaller.
        channels: number of output channels.

    Raises:
        ValueError: if a map of known size is too small for the window.
    """
    sizes = [None if have is None else have - less for have, less in zip(inputs.shape[1:3], lost, strict=True)]
    if any(size is not None and size < 1 for size in sizes):
        least = tuple(less + 1 for less in lost)
        raise ValueError(f"layer {layer.name!r} needs a map of at least {least} pixels, received {inputs.shape}")
    return keras.KerasTensor((inputs.shape[0], *sizes, channels), dtype=layer.compute_dtype)
