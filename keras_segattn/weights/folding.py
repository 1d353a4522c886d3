"""Folding of scales and biases that a file has and the model lacks into a batch normalisation.

With mean m and variance v, batch normalisation of a convolution w∗x + b scaled by γ is
`γ (w∗x + b − m) / √(v + ε) + β = ((γ w)∗x − γ (m − b)) / √(v + ε) + β`. So a network without γ, such as TF-slim's
Inceptions, can take over a file with γ exactly, and a convolution without bias the file of one with a bias.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_segattn.graph import only_input, producer

# Kind of layer → the axes of its kernel that hold the output channels.
OUTPUT_AXES: dict[Any, tuple[int, ...]] = {
    keras.layers.DepthwiseConv2D: (2, 3),
    keras.layers.Conv2DTranspose: (2,),
    keras.layers.Conv2D: (3,),
    keras.layers.Dense: (1,),
}


def fold(
    layer: keras.layers.BatchNormalization,
    gamma: np.ndarray | None,
    bias: np.ndarray | None,
    value_of: Callable[[keras.Variable], np.ndarray],
    replace: Callable[[keras.Variable, np.ndarray], None],
) -> None:
    """Fold a scale and a bias into the moving mean and the kernel before it.

    Args:
        layer: batch normalisation whose own values are already converted.
        gamma: scale `(channels,)` that `layer` lacks, or `None`.
        bias: bias `(channels,)` that the convolution before `layer` lacks, or `None`.
        value_of: function that returns a variable's value as read from the file.
        replace: function that takes a variable and its folded value.
    """
    mean = value_of(layer.moving_mean)
    if bias is not None:
        mean = mean - bias
    if gamma is not None:
        mean = mean * gamma
        convolution: Any = convolution_before(layer)
        replace(convolution.kernel, scaled_kernel(convolution, value_of(convolution.kernel), gamma))
    replace(layer.moving_mean, mean)


def convolution_before(layer: keras.layers.Layer) -> keras.layers.Layer | None:
    """Return the layer whose output a batch normalisation normalises, or `None` if the model does not say."""
    source = only_input(layer)
    return None if source is None else producer(source)


def scaled_kernel(layer: keras.layers.Layer, kernel: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Multiply each output channel of a layer's kernel by one of the factors `(channels,)`."""
    axes = next(axes for kind, axes in OUTPUT_AXES.items() if isinstance(layer, kind))
    return kernel * factors.reshape([size if axis in axes else 1 for axis, size in enumerate(kernel.shape)])
