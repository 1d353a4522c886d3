"""Batch normalisation folded into the layer before it: what inference needs of the two is one affine map."""

from collections import Counter
from typing import Any

import keras
import numpy as np

from keras_segattn.weights.folding import OUTPUT_AXES, scaled_kernel


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """The model with every batch normalisation that follows a convolution or dense layer folded into it.

    `γ (w∗x + b − m) / √(v + ε) + β` is a convolution with the kernel `s w` and the bias `s (b − m) + β`, where
    `s = γ / √(v + ε)` (Ioffe & Szegedy 2015, section 3.1): the same function up to rounding, without the arithmetic.

    Args:
        model: a functional model in float32. Normalisations that follow something else, an activation or a layer
            with other consumers stay. Other kinds of models are returned as they are.

    Returns:
        A copy with weights of its own; `model` itself if there is nothing to fold.

    Example:
        >>> folded = fold_batch_norm(keras_segattn.ResNet50())
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

    folded = keras.models.clone_model(model, clone_function=clone, call_function=call)
    values = {layer.name: layer.get_weights() for layer in model.layers}
    for name, convolution in pairs.items():
        values[convolution.name] = folded_weights(convolution, model.get_layer(name))
    for layer in folded.layers:
        if layer.weights:
            layer.set_weights(values[layer.name])
    return folded


def foldable_pairs(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Name of a batch normalisation → the layer before it, where nothing else uses either."""
    by_depth = getattr(model, "_nodes_by_depth", {})  # only functional models have it
    nodes = [node for depth in by_depth.values() for node in depth]
    consumers = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    consumers.update(id(tensor) for tensor in model.outputs or ())
    calls = Counter(id(node.operation) for node in nodes)
    pairs = {}
    for node in nodes:
        layer = node.operation
        if not isinstance(layer, keras.layers.BatchNormalization) or calls[id(layer)] > 1:
            continue
        (tensor,) = node.input_tensors
        before = tensor._keras_history.operation
        linear = getattr(before, "activation", None) is keras.activations.linear
        affine = linear and isinstance(before, tuple(OUTPUT_AXES))
        if affine and calls[id(before)] == consumers[id(tensor)] == 1 and layer.axis in (-1, len(tensor.shape) - 1):
            pairs[layer.name] = before
    return pairs


def folded_weights(convolution: keras.layers.Layer, normalisation: keras.layers.BatchNormalization) -> list[np.ndarray]:
    """Kernel and bias of the two layers together, computed in float64."""
    kernel, *bias = (array.astype("float64") for array in convolution.get_weights())
    mean, variance = normalisation.moving_mean.numpy(), normalisation.moving_variance.numpy()
    scale = 1 / np.sqrt(variance.astype("float64") + normalisation.epsilon)
    if normalisation.scale:
        scale = scale * normalisation.gamma.numpy()
    offset = (bias[0] if bias else 0) - mean
    beta = normalisation.beta.numpy() if normalisation.center else 0
    return [scaled_kernel(convolution, kernel, scale).astype("float32"), (scale * offset + beta).astype("float32")]
