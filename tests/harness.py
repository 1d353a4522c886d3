"""What every registered builder must do. `test_registry.py` runs it over the whole registry."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_segattn.registry import ModelCard

# Layers that move boxes: with small weights these stay within the picture.
REFINEMENTS = ("rpn_deltas", "box_deltas", "rpn_bbox_pred", "bbox_pred")
# And the layer by whose scores detections are ranked: saturated ones are equal, and their order a matter of rounding.
RANKING = ("box_logits",)


def tiny_model(card: ModelCard, **changes) -> keras.Model:
    """The card's miniature with random weights everywhere: zero scores would hide every mistake behind them."""
    model = card.builder(**{**card.tiny, **changes})
    randomise(model)
    return model


def assert_kernels_begin_differently(model: keras.Model) -> None:
    """No two are the same random numbers: an initialiser that layers share draws the same ones for each."""
    kernels = [np.asarray(weight) for weight in model.trainable_weights]
    kernels = [kernel for kernel in kernels if kernel.ndim > 1 and kernel.size > 1 and np.ptp(kernel) > 0]
    assert kernels
    for index, kernel in enumerate(kernels):
        assert not any(np.array_equal(kernel, other) for other in kernels[:index])


def smooth_part(card: ModelCard) -> dict:
    """Arguments of the part of a card's model whose output is a continuous function of image and weights.

    Which boxes a detector keeps is none: that part is tested by itself.
    """
    return {"include_top": False} if card.family == "instances" else {}


def randomise(model: keras.Model, seed: int = 0) -> None:
    """Give every weight a value that depends on its layer's name only; kernels keep activations near 1."""
    for layer in model.layers:
        for index, weight in enumerate(layer.weights):
            generator = np.random.default_rng([seed, *layer.name.encode(), len(weight.shape), index])
            if weight.name in ("gamma", "moving_variance"):
                values = generator.uniform(0.5, 1.5, weight.shape)
            else:
                fan_in = max(1, math.prod(weight.shape[:-1])) if len(weight.shape) > 1 else 1
                scale = np.sqrt(2 / fan_in) if len(weight.shape) > 1 else 0.1
                if layer.name in REFINEMENTS:
                    scale *= 1e-3
                if layer.name in RANKING:
                    scale *= 1e-2
                values = generator.normal(0, scale, weight.shape)
                if layer.name.endswith("theta"):  # near the transformation it begins at
                    values = 0.01 * values + ops.convert_to_numpy(weight)
            if weight.dtype != "uint32":  # a dropout's seed stays
                weight.assign(values.astype(weight.dtype))


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Builds models in float64, for derivatives by differences."""
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def images(shape: tuple[int, ...], batch: int = 2, seed: int = 0) -> np.ndarray:
    """Normalised pictures: smooth blobs, since white noise cancels in deep networks."""
    noise = np.random.default_rng(seed).normal(0, 1, (batch, -(-shape[0] // 4), -(-shape[1] // 4), shape[2]))
    blown_up = noise.repeat(4, axis=1).repeat(4, axis=2)
    return blown_up[:, : shape[0], : shape[1]].astype("float32")


def inputs(card: ModelCard, batch: int = 2, seed: int = 0) -> np.ndarray:
    """What the card's miniature takes: normalised pictures, or the noise that a generator starts from."""
    if "input_shape" in card.tiny:
        return images(card.tiny["input_shape"], batch, seed)
    shape = card.builder(**card.tiny).input_shape[1:]
    return np.random.default_rng(seed).normal(size=(batch, *shape)).astype("float32")


def outputs_of(model: keras.Model, x: np.ndarray) -> Any:
    """The model's outputs; on JAX compiled as a whole, which takes less than compiling its operations one by one."""
    outputs = model.predict_on_batch(x) if keras.backend.backend() == "jax" else model(x, training=False)
    return keras.tree.map_structure(ops.convert_to_numpy, outputs)


def logits(outputs: Any) -> np.ndarray:
    """The class scores among a classifier's outputs, in their own shape."""
    return outputs["logits"] if isinstance(outputs, dict) else outputs


def run(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """The model's output; several as one row an image."""
    outputs = outputs_of(model, x)
    if isinstance(outputs, dict):
        rows = [outputs[name].reshape(len(x), -1) for name in sorted(outputs)]
        return np.concatenate([row.astype(rows[0].dtype) for row in rows], axis=1)
    return outputs


def loss_and_gradients(model: keras.Model, x: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """A scalar of the output and its gradients with respect to the trainable weights, on TensorFlow."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        outputs = model(x, training=False)
        samples = len(keras.tree.flatten(x)[0])
        parts = [ops.reshape(part, (samples, -1)) for part in keras.tree.flatten(outputs)]
        output = ops.concatenate(parts, axis=1)
        target = np.random.default_rng(1).normal(size=output.shape).astype(output.dtype.name)
        loss = ops.mean(output * target)
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    return float(loss), [gradient.numpy() for gradient in gradients]
