"""Conversion of tensors from other frameworks' layouts to Keras's, and between dense layers and equal convolutions."""

import math

import keras
import numpy as np

from keras_segattn.graph import only_input, producer
from keras_segattn.weights.weight_file import Layout


def to_keras(
    value: np.ndarray, layout: Layout, leaf: str, shape: tuple[int, ...], flattened: tuple[int, ...] | None
) -> np.ndarray | None:
    """Convert a tensor of a file to the layout and shape of a Keras variable.

    Kernels of convolutions and of transposed convolutions turn from (out, in, height, width) to (height, width, in,
    out) by the same transposition, depthwise ones from (in · multiplier, 1, height, width), one group per channel, to
    (height, width, in, multiplier). A dense layer over a flattened map and a convolution as large as that map hold the
    same numbers (Long, Shelhamer and Darrell, CVPR 2015, call the step convolutionalisation): either fills the other.

    Args:
        value: tensor in the layout of its file.
        layout: layout of the file.
        leaf: name of the variable; only `"kernel"` and `"depthwise_kernel"` have a layout.
        shape: shape of the variable.
        flattened: (height, width, channels) of the map that a dense layer sees flattened, or `None`.

    Returns:
        A view or copy of the given shape, or `None` if no layout rule leads to that shape.

    Example:
        >>> to_keras(np.zeros((8, 3, 5, 5)), "torch", "kernel", (5, 5, 3, 8), None).shape
        (5, 5, 3, 8)
    """
    if leaf == "kernel" and value.ndim in (2, 4) and len(shape) in (2, 4):
        # The map under the kernel: the window of a convolution, or the map that a dense layer sees flattened.
        window = shape[:3] if len(shape) == 4 else flattened or (1, 1, shape[0])
        kernel = _as_convolution(value, layout, window, shape[-1])
        fits = kernel is not None and kernel.shape == (*window, shape[-1])
        return kernel.reshape(shape) if kernel is not None and fits else None
    if leaf == "depthwise_kernel" and layout != "keras" and len(shape) == 4:
        height, width, channels, multiplier = shape
        fits = value.shape == (channels * multiplier, 1, height, width)
        return value.reshape(channels, multiplier, height, width).transpose(2, 3, 0, 1) if fits else None
    if leaf in ("kernel", "depthwise_kernel") and layout != "keras":
        return None
    if layout == "caffe" and value.shape[:-1] == (1, 1, 1):
        value = value.reshape(-1)
    return value if value.shape == shape else None


def _as_convolution(value: np.ndarray, layout: Layout, window: tuple[int, ...], outputs: int) -> np.ndarray | None:
    """Turn a kernel of any layout into (height, width, in, out)."""
    height, width, channels = window
    if layout == "keras":
        if value.ndim == 4:
            return value
        return value.reshape(*window, -1) if len(value) == math.prod(window) else None
    if value.ndim == 4:
        convolution = value.transpose(2, 3, 1, 0)
        if layout == "torch" or value.shape[:2] != (1, 1) or convolution.shape == (*window, outputs):
            return convolution
        value = value[0, 0]  # a dense kernel with the four dimensions of old blobs
    if value.shape[1] != math.prod(window):
        return None
    return value.reshape(-1, channels, height, width).transpose(2, 3, 1, 0)


def flattened_map(layer: keras.layers.Layer) -> tuple[int, ...] | None:
    """Return (height, width, channels) of the map that reaches a dense layer through a `Flatten`, or `None`.

    There may be layers between the two that keep the shape, such as dropout.
    """
    if not isinstance(layer, keras.layers.Dense):
        return None
    tensor = only_input(layer)
    while tensor is not None:
        layer = producer(tensor)
        if isinstance(layer, keras.layers.InputLayer):
            return None
        source = only_input(layer)
        same_shape = getattr(source, "shape", None) == tensor.shape
        if isinstance(layer, keras.layers.Flatten):
            return tuple(source.shape[1:]) if source is not None and len(source.shape) == 4 else None
        tensor = source if same_shape else None
    return None
