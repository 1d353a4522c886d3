"""What every registered builder must do. `test_registry.py` runs it over the whole registry."""

import keras
import numpy as np
from keras import ops

from keras_segattn.registry import ModelCard


def tiny_model(card: ModelCard, **changes) -> keras.Model:
    """The card's miniature with random weights everywhere: zero scores would hide every mistake behind them."""
    model = card.builder(**{**card.tiny, **changes})
    randomise(model)
    return model


def randomise(model: keras.Model, seed: int = 0) -> None:
    """Give every weight a value that depends on its layer's name only; kernels keep activations near 1."""
    for layer in model.layers:
        values = []
        for weight in layer.get_weights():
            key = [seed, *layer.name.encode(), weight.ndim]
            fan_in = max(1, weight.size // weight.shape[-1]) if weight.ndim > 1 else 1
            scale = np.sqrt(2 / fan_in) if weight.ndim > 1 else 0.1
            values.append(np.random.default_rng(key).normal(0, scale, weight.shape).astype(weight.dtype))
        layer.set_weights(values)


def images(shape: tuple[int, ...], batch: int = 2, seed: int = 0) -> np.ndarray:
    """Normalised pictures: smooth blobs, since white noise cancels in deep networks."""
    noise = np.random.default_rng(seed).normal(0, 1, (batch, -(-shape[0] // 4), -(-shape[1] // 4), shape[2]))
    blown_up = noise.repeat(4, axis=1).repeat(4, axis=2)
    return blown_up[:, : shape[0], : shape[1]].astype("float32")


def loss_and_gradients(model: keras.Model, x: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """A scalar of the output and its gradients with respect to the trainable weights, on any backend."""
    target = np.random.default_rng(1).normal(size=model(x).shape).astype("float32")

    def value(variables: list, others: list):
        output, _ = model.stateless_call(variables, others, x, training=False)
        return ops.mean(output * target)

    trainable = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]
    if keras.backend.backend() == "jax":
        import jax

        loss, gradients = jax.value_and_grad(value)(trainable, others)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            output = ops.mean(model(x, training=False) * target)
        loss, gradients = output, tape.gradient(output, [v.value for v in model.trainable_variables])
    return float(loss), [ops.convert_to_numpy(gradient) for gradient in gradients]
