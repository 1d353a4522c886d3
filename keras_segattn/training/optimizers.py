"""Caffe's stochastic gradient descent, with which the fully convolutional networks were trained."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_segattn")
class CaffeSGD(keras.optimizers.SGD):
    """Caffe's SGD, `v ← m v + r (g + λ w)`, `w ← w − v`, with momentum, and L2 decay inside the gradient.

    Keras' own `SGD(weight_decay=…)` decays outside the momentum instead. Biases (variables named `bias`) learn at
    `bias_learning_rate_multiplier` times the rate r. Only kernels (rank 2 and more) decay; biases, and the scales
    and offsets of normalisation layers, do not. These are the settings of Long et al. 2015, section 4.3.

    Args:
        learning_rate: learning rate r, or a `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: momentum m, in 0..1.
        weight_decay: λ of the L2 penalty ½ λ |w|², 0 or more.
        bias_learning_rate_multiplier: factor of the learning rate of biases, Caffe's `lr_mult`.
        gradient_accumulation_steps: number of batches whose mean gradient makes one update (Caffe's `iter_size`), at
            least 2; `None` updates after every batch.
        name: name of the optimizer.

    Raises:
        ValueError: if the momentum, the decay or the multiplier is out of range.

    Example:
        >>> model.compile(CaffeSGD(1e-4), loss=PixelCrossEntropy())
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-4,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        bias_learning_rate_multiplier: float = 2.0,
        gradient_accumulation_steps: int | None = None,
        name: str = "caffe_sgd",
    ) -> None:
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be in 0..1, received {momentum!r}")
        if weight_decay < 0 or bias_learning_rate_multiplier < 0:
            raise ValueError(
                "weight_decay and bias_learning_rate_multiplier must not be negative, "
                f"received {weight_decay!r} and {bias_learning_rate_multiplier!r}"
            )
        super().__init__(
            learning_rate,
            momentum=float(momentum),
            gradient_accumulation_steps=gradient_accumulation_steps,
            name=name,
        )
        # Not `self.weight_decay`: the base class would decay a second time, outside the gradient.
        self.l2_decay = weight_decay
        self.bias_learning_rate_multiplier = bias_learning_rate_multiplier
        self._multipliers: list[tuple[float, float]] = []

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Create the momenta, and note which variables are biases and which decay."""
        if self.built:
            return
        super().build(variables)
        self._multipliers = [
            (
                self.bias_learning_rate_multiplier if variable.name == "bias" else 1.0,
                self.l2_decay if len(variable.shape) > 1 else 0.0,
            )
            for variable in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable by its gradient."""
        rate_multiplier, decay = self._multipliers[self._get_variable_index(variable)]
        if decay:
            gradient = ops.cast(gradient, variable.dtype) + decay * variable
        super().update_step(gradient, variable, learning_rate * rate_multiplier)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild the optimizer."""
        config = super().get_config()
        return {
            "learning_rate": config["learning_rate"],
            "momentum": self.momentum,
            "weight_decay": self.l2_decay,
            "bias_learning_rate_multiplier": self.bias_learning_rate_multiplier,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            "name": self.name,
        }
