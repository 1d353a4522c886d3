"""Helpers for tests of every registered builder. `test_registry.py` runs such tests over the whole registry."""

import contextlib
import functools
import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_segattn import graph, list_models, model_card
from keras_segattn.facts import facts_of
from keras_segattn.fields import Picture, Tokens
from keras_segattn.inputs import Stamp
from keras_segattn.registry import Card

# Number of tokens of a sentence, and side of a picture, if the model leaves the size open.
LENGTH, SIDE = 5, 64
# Name of the argument by which layers move boxes, and the scale of its weights that keeps boxes inside the picture.
DELTAS, SMALL_DELTAS = "deltas", 1e-3
# The same for the scores by which layers rank boxes: saturated scores are equal, and rounding decides their order.
SCORES, SMALL_SCORES = "logits", 1e-2
# Standard deviation of pictures that are prepared without division, about as in photographs.
DEVIATION = 64.0


def representatives() -> set[str]:
    """Name the last card of each module for each task: its siblings differ only in the number of layers or channels."""
    cards = [model_card(name) for name in list_models()]
    return {*{(card.builder.__module__, card.task): card.name for card in cards}.values()}


REPRESENTATIVES = representatives()
# Cards whose tests for each card take long, and the card with the same kinds of layers that guards them in every run;
# `make thorough` runs them all. Captioners are exported by `test_saved_sequences.py`, too.
GUARDED = {
    "MNC": "MaskRCNN",
    "ShowAttendTell": "RNNSearch",
    "FCNAlexNet": "FCN8s",
    "CaffeNet": "SqueezeNet1_1",
    "VGG19": "SqueezeNet1_1",
    "GoogLeNet": "SqueezeNet1_1",
    "ResNet152": "EfficientNetLite0",
    "InceptionResNetV1": "EfficientNetLite0",
    "InceptionResNetV2": "EfficientNetLite0",
    "InceptionV4": "EfficientNetLite0",
    "DCGANGenerator": "ConditionalDCGANGenerator",
    "GRANGenerator": "ConditionalDCGANGenerator",
    "DCGANDiscriminator": "ConditionalDCGANDiscriminator",
    "GRANDiscriminator": "ConditionalDCGANDiscriminator",
    "SpatialTransformerHouseNumbers": "SpatialTransformerNetwork",
    "SpatialTransformerInception": "SpatialTransformerNetwork",
}


@functools.cache
def convolves_empty_batches() -> bool:
    """Return whether Keras' convolution of an empty batch has the right shape, which depends on the processor."""
    return keras.ops.conv(ops.zeros((0, 2, 2, 3)), ops.zeros((1, 1, 3, 4))).shape[-1] == 4


@contextlib.contextmanager
def without_weights() -> Iterator[None]:
    """Build models without allocating weights, which is enough for names, shapes and counts of models of any size."""
    with keras.StatelessScope(initialize_variables=False):
        yield


def has(card: Card, *arguments: str) -> bool:
    """Whether the card's builder has all these arguments."""
    return set(arguments) <= set(inspect.signature(card.builder).parameters)


def tiny_model(card: Card, model: keras.Model | None = None, **changes) -> keras.Model:
    """Return the card's miniature with random weights everywhere, as scores of zero would hide mistakes after them.

    Args:
        card: card of the builder.
        model: the miniature, if it is built already.
        changes: arguments of the builder that differ from the miniature's.
    """
    model = model or card.builder(**{**card.tiny, **changes})
    randomise(model)
    return model


def tame(model: keras.Model) -> keras.Model:
    """Divide the first kernels of a model by the deviation of its pictures, if these have plain intensities.

    Random kernels expect inputs near 1; pixels of ±100 saturate all later layers, and make huge numbers, whose rounding
    errors are large.
    """
    for layer in first_layers(model):
        layer.kernel.assign(ops.divide(layer.kernel, DEVIATION))
    return model


def first_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers with a kernel that directly read pictures of plain intensities (`std` of 1)."""
    found: dict[str, keras.layers.Layer] = {}
    for tensor in model.inputs:
        stamps = [layer for layer in graph.downstream(model, tensor) if isinstance(layer, Stamp)]
        kinds = [stamp.field for stamp in stamps if stamp.field is not None]
        if not kinds or not isinstance(kinds[0], Picture) or set(kinds[0].std) != {1.0}:
            continue
        waiting = [tensor]
        while waiting:
            source = waiting.pop()
            for node in graph.calls(model):
                if any(one is source for one in node.input_tensors):
                    if hasattr(node.operation, "kernel"):
                        found[node.operation.name] = node.operation
                    else:
                        waiting += node.output_tensors
    return list(found.values())


def assert_kernels_begin_differently(weights: list[Any]) -> None:
    """Assert that no two kernels are equal, as they are if layers share an initialiser."""
    kernels = [np.asarray(weight) for weight in weights]
    kernels = [kernel for kernel in kernels if kernel.ndim > 1 and kernel.size > 1 and np.ptp(kernel) > 0]
    assert kernels
    for index, kernel in enumerate(kernels):
        assert not any(np.array_equal(kernel, other) for other in kernels[:index])


def smooth_part(card: Card) -> dict:
    """Return the builder's arguments for the part of a model that is a continuous function of inputs and weights.

    The selection of boxes in a detector is not continuous, and is tested separately.
    """
    return {"include_top": False} if card.task == "detect" else {}


def randomise(model: keras.Model, seed: int = 0) -> None:
    """Give every weight a value that depends on its layer's name only; kernels keep activations near 1."""
    scales = box_scales(model)
    for layer in model.layers:
        for index, weight in enumerate(layer.weights):
            generator = np.random.default_rng([seed, *layer.name.encode(), len(weight.shape), index])
            if weight.name in ("gamma", "moving_variance"):
                values = generator.uniform(0.5, 1.5, weight.shape)
            else:
                fan_in = max(1, math.prod(weight.shape[:-1])) if len(weight.shape) > 1 else 1
                scale = np.sqrt(2 / fan_in) if len(weight.shape) > 1 else 0.1
                values = generator.normal(0, scale * scales.get(layer.name, 1), weight.shape)
                if layer.name.endswith("theta"):  # near the initial transformation
                    values = 1e-3 * values + ops.convert_to_numpy(weight)
            if weight.dtype != "uint32":  # the seed of dropout is kept
                weight.assign(values.astype(weight.dtype))


def box_scales(model: keras.Model) -> dict[str, float]:
    """Return layer name → factor that makes its weights small, for layers whose outputs move and rank boxes."""
    found = {}
    for node in graph.calls(model):
        parameters = inspect.signature(node.operation.call).parameters
        if DELTAS not in parameters:
            continue
        given = inspect.signature(node.operation.call).bind(*node.arguments.args, **node.arguments.kwargs).arguments
        for name, scale in ((SCORES, SMALL_SCORES), (DELTAS, SMALL_DELTAS)):
            waiting = [tensor for tensor in keras.tree.flatten(given.get(name)) if tensor is not None]
            while waiting:
                maker = graph.producing_node(waiting.pop())
                if maker.operation.weights:
                    found[maker.operation.name] = scale
                else:
                    waiting += maker.input_tensors
    return found


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Build models in float64, for derivatives by differences."""
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def images(shape: tuple[int, ...], batch: int = 2, seed: int = 0) -> np.ndarray:
    """Return normalised pictures of smooth blobs, as white noise cancels out in deep networks."""
    noise = np.random.default_rng(seed).normal(0, 1, (batch, -(-shape[0] // 4), -(-shape[1] // 4), shape[2]))
    blown_up = noise.repeat(4, axis=1).repeat(4, axis=2)
    return blown_up[:, : shape[0], : shape[1]].astype("float32")


def inputs(card: Card, batch: int = 2, seed: int = 0) -> Any:
    """Return random inputs of the card's miniature; see `inputs_of`."""
    with without_weights():
        model = card.builder(**card.tiny)
    return inputs_of(model, batch, seed)


def inputs_of(
    model: keras.Model, batch: int = 2, seed: int = 0, sizes: Mapping[str, tuple[int, ...]] | None = None
) -> Any:
    """Return random inputs of a model, prepared, in the structure that it takes.

    Args:
        model: any model of the registry.
        batch: number of examples.
        seed: seed of the draw.
        sizes: input → shape without batch, where the model leaves it open.
    """
    drawn = {}
    for index, (name, kind) in enumerate(facts_of(model).inputs.items()):
        tensor = next(tensor for tensor in model.inputs if tensor.name == name)
        usual = LENGTH if isinstance(kind, Tokens) else SIDE
        shape = (sizes or {}).get(name) or tuple(usual if size is None else size for size in tensor.shape[1:])
        values = ops.convert_to_numpy(kind.prepare(kind.draw((batch, *shape), seed + index)))
        drawn[name] = values.astype(tensor.dtype)
    return keras.tree.pack_sequence_as(model.input, [drawn[tensor.name] for tensor in model.inputs])


def outputs_of(model: keras.Model, x: Any) -> Any:
    """Return the model's outputs; JAX compiles it as a whole, which is faster than compiling single operations."""
    outputs = model.predict_on_batch(x) if keras.backend.backend() == "jax" else model(x, training=False)
    return keras.tree.map_structure(ops.convert_to_numpy, outputs)


def logits(outputs: Any) -> Any:
    """Return the class scores among a model's outputs, in their own shape."""
    return outputs["logits"] if isinstance(outputs, dict) else outputs


def run(model: keras.Model, x: Any) -> np.ndarray:
    """Return the model's output; several outputs are joined to one row per example."""
    return rows(outputs_of(model, x))


def rows(outputs: Any) -> np.ndarray:
    """Return outputs as one array: a single output as it is, several joined to one row per example."""
    if isinstance(outputs, dict):
        flat = [outputs[name].reshape(len(outputs[name]), -1) for name in sorted(outputs)]
        return np.concatenate([part.astype(flat[0].dtype) for part in flat], axis=1)
    return outputs


def loss_of(model: keras.Model, x: Any) -> Any:
    """Return a scalar of the output, on TensorFlow."""
    outputs = model(x, training=False)
    samples = len(keras.tree.flatten(x)[0])
    parts = [ops.reshape(part, (samples, -1)) for part in keras.tree.flatten(outputs)]
    output = ops.concatenate(parts, axis=1)
    target = np.random.default_rng(1).normal(size=output.shape).astype(output.dtype.name)
    return ops.mean(output * target)


def loss_and_gradients(model: keras.Model, x: Any) -> tuple[float, list[np.ndarray]]:
    """Return `loss_of` and its gradients with respect to the trainable weights, on TensorFlow."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = loss_of(model, x)
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    return float(loss), [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]  # embeddings: sparse
