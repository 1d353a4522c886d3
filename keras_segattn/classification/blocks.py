"""The block that most backbones repeat: convolution, batch normalisation, activation."""

from typing import Any

from keras import layers

from keras_segattn.arguments import is_integer, scaled


def conv_bn(
    x: Any,
    filters: int | None,
    kernel: int | tuple[int, int],
    stride: int = 1,
    padding: str = "same",
    *,
    name: str,
    alpha: float = 1.0,
    activation: str | None = "relu",
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    scale: bool = True,
) -> Any:
    """Apply convolution without bias, batch normalisation and activation: `NAME_conv`, `NAME_bn` and `NAME_relu`.

    Args:
        x: map `(batch, height, width, channels)`.
        filters: output channels before the width multiplier; `None` makes the convolution depthwise.
        kernel: height and width of the window.
        stride: stride of the window.
        padding: `"same"` as TensorFlow does, `"valid"`, or `"symmetric"`: half a window of zeros on every side, as
            PyTorch and Caffe do, which differs from `"same"` where a stride meets an even size.
        name: stem of the layer names.
        alpha: width multiplier.
        activation: `"relu"`, `"relu6"` or `None`.
        momentum: momentum of the moving statistics.
        epsilon: number that is added to the variance.
        scale: whether the normalisation learns a scale (gamma); TF-slim's networks leave it out.
    """
    height, width = (kernel, kernel) if is_integer(kernel) else kernel
    if padding == "symmetric":
        padding = "same"
        if stride > 1 and max(height, width) > 1:
            x = layers.ZeroPadding2D((height // 2, width // 2), name=f"{name}_pad")(x)
            padding = "valid"
    if filters is None:
        x = layers.DepthwiseConv2D(
            kernel, stride, padding, use_bias=False, depthwise_initializer="he_normal", name=f"{name}_conv"
        )(x)
    else:
        x = layers.Conv2D(
            scaled(filters, alpha),
            kernel,
            stride,
            padding,
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{name}_conv",
        )(x)
    x = layers.BatchNormalization(momentum=momentum, epsilon=epsilon, scale=scale, name=f"{name}_bn")(x)
    return x if activation is None else layers.Activation(activation, name=f"{name}_relu")(x)
