"""Batch normalisation without moving statistics, and in loops with moving statistics of each step."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_segattn")
class BatchStatistics(keras.layers.Layer):
    """Batch normalisation by the statistics of the batch, in training and in inference (Ioffe & Szegedy 2015).

    The first generative adversarial networks use no other kind. The output for a sample then depends on its batch:
    generate many samples at once, and serve a form of the model with moving statistics. The only weights are gain and
    shift.

    Args:
        epsilon: number added to the variance.
        affine: whether gain (`gamma`) and shift (`beta`) are learned.
        gamma_initializer: initialiser of the gain.
        **kwargs: arguments of every Keras layer.

    Call arguments:
        inputs: `(batch, …, channels)`; the statistics are over all axes but the last.

    Output:
        Tensor of the same shape and dtype.

    Example:
        >>> float(keras.ops.mean(BatchStatistics()(keras.ops.ones((8, 3)))))
        0.0
    """

    def __init__(
        self, epsilon: float = 1e-8, affine: bool = True, gamma_initializer: Any = "ones", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.epsilon, self.affine = epsilon, affine
        self.gamma_initializer = keras.initializers.get(gamma_initializer)
        self.gamma = self.beta = None

    def build(self, inputs_shape: tuple[int | None, ...]) -> None:
        """Make gain and shift."""
        if self.affine:
            shape = (inputs_shape[-1],)
            self.gamma = self.add_weight(name="gamma", shape=shape, initializer=self.gamma_initializer, autocast=False)
            self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros", autocast=False)

    def call(self, inputs: Any) -> Any:
        """Normalise `inputs` by the statistics of their batch."""
        mean, variance = batch_moments(inputs)
        return self.normalize(inputs, mean, variance)

    def normalize(self, inputs: Any, mean: Any, variance: Any) -> Any:
        """Compute `gamma (x - mean) / √(variance + epsilon) + beta`, in float32 at least."""
        gamma, beta = (None if w is None else ops.cast(w, mean.dtype) for w in (self.gamma, self.beta))
        x = ops.cast(inputs, mean.dtype)
        x = ops.batch_normalization(x, mean, variance, -1, offset=beta, scale=gamma, epsilon=self.epsilon)
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, inputs_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the input."""
        return tuple(inputs_shape)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {
            "epsilon": self.epsilon,
            "affine": self.affine,
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
        }


@keras.saving.register_keras_serializable(package="keras_segattn")
class RecurrentBatchNormalization(BatchStatistics):
    """Batch normalisation in a loop, with separate moving statistics for every step (Cooijmans et al. 2017, section 3).

    All steps share gain and shift. Their statistics are separate, because the inputs of each step are distributed
    differently: the first step starts from zeros.

    Args:
        steps: number of steps of the loop.
        momentum: share of the old moving statistics that remains after an update by one batch.
        **kwargs: arguments of `BatchStatistics`.

    Call arguments:
        inputs: `(batch, …, channels)`.
        step: number of the step, from 0.
        training: whether to normalise by the statistics of the batch, and to move the moving statistics towards them.

    Raises:
        ValueError: if `steps` is not a positive integer.

    Example:
        >>> RecurrentBatchNormalization(5)(keras.ops.ones((8, 3)), step=4).shape
        TensorShape([8, 3])
    """

    def __init__(self, steps: int, momentum: float = 0.9, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive_integer("steps", steps)
        self.steps, self.momentum = steps, momentum

    def build(self, inputs_shape: tuple[int | None, ...]) -> None:
        """Make gain, shift and the statistics of every step."""
        super().build(inputs_shape)
        shape = (self.steps, inputs_shape[-1])
        fixed = {"shape": shape, "trainable": False, "autocast": False}
        self.moving_mean = self.add_weight(name="moving_mean", initializer="zeros", **fixed)
        self.moving_variance = self.add_weight(name="moving_variance", initializer="ones", **fixed)

    def call(self, inputs: Any, step: int = 0, training: bool = False) -> Any:
        """Normalise by the step's statistics, or in training by the batch's."""
        if not training:
            return self.normalize(inputs, self.moving_mean[step], self.moving_variance[step])
        mean, variance = batch_moments(inputs)
        here = ops.cast(ops.reshape(ops.arange(self.steps) == step, (-1, 1)), mean.dtype)
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving + (1 - self.momentum) * here * (batch - moving))
        return self.normalize(inputs, mean, variance)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"steps": self.steps, "momentum": self.momentum}


def batch_moments(inputs: Any) -> tuple[Any, Any]:
    """Compute mean and variance over all axes but the last, in float32 at least."""
    x = ops.cast(inputs, "float64" if inputs.dtype == "float64" else "float32")
    axes = tuple(range(len(x.shape) - 1))
    mean = ops.mean(x, axes)
    # Some backends compute moments as E[x²] - E[x]², whose rounding errors are too large for so small an epsilon.
    return mean, ops.mean(ops.square(x - mean), axes)
