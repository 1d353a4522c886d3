"""Folding of batch normalisation and rescaling into the layer before them: together they are one affine map."""

from collections import Counter
from typing import Any

import keras
import numpy as np

from keras_segattn import graph
from keras_segattn.weights.folding import OUTPUT_AXES, scaled_kernel


def fold_affine(model: keras.Model) -> keras.Model:
    """Fold every batch normalisation and rescaling that follows a convolution or dense layer into that layer.

    `s (w∗x + b) + t` is a convolution with the kernel `s w` and the bias `s b + t`; a batch normalisation has
    `s = γ / √(v + ε)` and `t = β − s m` (Ioffe & Szegedy 2015, section 3.1). The folded model is the same function up
    to rounding, with less arithmetic, and runtimes can fuse the next layer with the convolution.

    Args:
        model: functional model in float32. A layer stays if it follows an activation, another kind of layer or a layer
            whose output is used elsewhere, too, or if it normalises with the statistics of the batch.

    Returns:
        A copy with its own weights; `model` itself if there is nothing to fold, if it is no functional model, or if it
        holds a layer that cannot be rebuilt from its configuration.

    Example:
        >>> folded = fold_affine(keras_segattn.ResNet50())
    """
    pairs = foldable_pairs(model)
    if not pairs:
        return model
    convolutions = {convolution.name for convolution in pairs.values()}

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if layer.name in convolutions:
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(layer: keras.layers.Layer, *inputs: Any, **settings: Any) -> Any:
        return inputs[0] if layer.name in pairs else layer(*inputs, **settings)

    try:
        folded = keras.models.clone_model(model, clone_function=clone, call_function=call)
    except (NotImplementedError, TypeError, ValueError):  # custom layers without get_config, Lambda
        return model
    values = {layer.name: layer.get_weights() for layer in model.layers}
    for name, convolution in pairs.items():
        values[convolution.name] = folded_weights(convolution, model.get_layer(name))
    for layer in folded.layers:
        if layer.weights:
            layer.set_weights(values[layer.name])
        if hasattr(layer, "finalize_state"):  # preprocessing layers compute with values that this derives from weights
            layer.finalize_state()
    return folded


def foldable_pairs(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Return the name of each layer to fold → the layer before it, whose output nothing else uses."""
    nodes = graph.calls(model)
    consumers = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    consumers.update(id(tensor) for tensor in model.outputs or ())
    calls = Counter(id(node.operation) for node in nodes)
    pairs = {}
    for node in nodes:
        layer = node.operation
        if not isinstance(layer, keras.layers.BatchNormalization | keras.layers.Rescaling) or calls[id(layer)] > 1:
            continue
        if node.arguments.kwargs.get("training"):
            continue
        (tensor,) = node.input_tensors
        before = graph.producer(tensor)
        linear = getattr(before, "activation", None) is keras.activations.linear
        affine = linear and isinstance(before, tuple(OUTPUT_AXES))
        of_channels = getattr(layer, "axis", -1) in (-1, len(tensor.shape) - 1)
        if affine and of_channels and calls[id(before)] == consumers[id(tensor)] == 1:
            pairs[layer.name] = before
    return pairs


def folded_weights(convolution: keras.layers.Layer, layer: keras.layers.Layer) -> list[np.ndarray]:
    """Return kernel and bias of a convolution or dense layer with `layer` folded into it, computed in float64."""
    kernel, *bias = (array.astype("float64") for array in convolution.get_weights())
    scale, offset = scale_and_offset(layer)
    scale, offset = (np.broadcast_to(array, layer.output.shape[-1:]) for array in (scale, offset))
    kernel = scaled_kernel(convolution, kernel, scale)
    return [kernel.astype("float32"), (scale * (bias[0] if bias else 0) + offset).astype("float32")]


def scale_and_offset(layer: keras.layers.Layer) -> tuple[np.ndarray, np.ndarray]:
    """Return `s` and `t` of a layer that computes `s x + t`, each one value per channel or one value for all."""
    if isinstance(layer, keras.layers.Rescaling):
        return np.asarray(layer.scale, "float64"), np.asarray(layer.offset, "float64")
    values = {weight.name: weight.numpy().astype("float64") for weight in layer.weights}
    scale = values.get("gamma", 1) / np.sqrt(values["moving_variance"] + layer.epsilon)
    return scale, values.get("beta", 0) - scale * values["moving_mean"]
