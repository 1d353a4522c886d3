"""RMSProp as in TensorFlow 1, with which the Inceptions were trained, and a moving average of the parameters."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_segattn")
class InceptionRMSprop(keras.optimizers.RMSprop):
    """RMSProp as in TensorFlow 1: `s ← ρ s + (1 − ρ) g²`, `m ← μ m + r g / √(s + ε)`, `w ← w − m`, with s = 1 at first.

    Keras' own `RMSprop` has the same equations, ε under the root included, but starts from s = 0. With the papers'
    ε = 1, its first steps are up to 1.4 times as long. The gradient λ w of the penalty ½ λ |w|² is added to the
    gradient of every kernel (rank 2 and more). This is the penalty of TF-slim; `keras.regularizers.L2(λ)` would be
    λ |w|², and Keras' own `weight_decay` would shrink the weights apart from RMSProp.

    With `ema_momentum`, the optimizer keeps the moving average `a ← d a + (1 − d) w` of every parameter, with
    `d = min(ema_momentum, (1 + t) / (10 + t))` at step t as in the released code. Keras' own average uses
    `ema_momentum` from the second step on, so 0.9999 would remember the random initial weights for tens of thousands of
    steps. `fit` leaves the averages in the model; with the callback `keras.callbacks.SwapEMAWeights`, it also validates
    them.

    Args:
        learning_rate: learning rate r, or a `keras.optimizers.schedules.LearningRateSchedule`.
        rho: decay ρ of the mean square, in 0..1.
        momentum: momentum μ, in 0..1.
        epsilon: constant ε under the root, positive.
        weight_decay: factor λ of the penalty, 0 or more; λ w is added after gradients are clipped.
        global_clipnorm: largest norm of all gradients together (Pascanu et al. 2013); `None` does not clip.
        ema_momentum: decay of the moving average of the parameters, in 0..1; `None` keeps no average.
        name: name of the optimizer.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> model.compile(InceptionRMSprop(0.045, weight_decay=4e-5, ema_momentum=0.9999), loss="mse")
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.045,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1.0,
        weight_decay: float = 0.0,
        global_clipnorm: float | None = None,
        ema_momentum: float | None = None,
        name: str = "inception_rmsprop",
    ) -> None:
        check_rmsprop(rho, momentum, epsilon, weight_decay, global_clipnorm, ema_momentum)
        super().__init__(
            learning_rate,
            rho=float(rho),
            momentum=float(momentum),
            epsilon=float(epsilon),
            global_clipnorm=global_clipnorm,
            use_ema=ema_momentum is not None,
            ema_momentum=0.99 if ema_momentum is None else float(ema_momentum),
            name=name,
        )
        # Not `self.weight_decay`: the base class would decay a second time, outside the gradient.
        self.l2_decay = float(weight_decay)

    def add_optimizer_variables(self, trainable_variables: Any, name: Any, initializer: Any = "zeros") -> Any:
        """Make the state of one kind for every variable; mean squares start at one."""
        return super().add_optimizer_variables(
            trainable_variables, name, initializer="ones" if name == "velocity" else initializer
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable by its gradient."""
        if self.l2_decay and len(variable.shape) > 1:
            gradient = ops.cast(gradient, variable.dtype) + self.l2_decay * variable
        super().update_step(gradient, variable, learning_rate)

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[Any]) -> None:
        if not self.use_ema:
            return
        step = ops.cast(self.iterations, "float32")
        decay = ops.minimum(self.ema_momentum, (1.0 + step) / (10.0 + step))
        decay = ops.where(step == 0, 0.0, decay)  # averages start at 0, which must not count
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            average.assign(average + ops.cast(1.0 - decay, average.dtype) * (variable - average))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild the optimizer."""
        config = super().get_config()
        kept = ("learning_rate", "rho", "momentum", "epsilon", "global_clipnorm", "name")
        return {key: config[key] for key in kept} | {
            "weight_decay": self.l2_decay,
            "ema_momentum": self.ema_momentum if self.use_ema else None,
        }


def check_rmsprop(
    rho: float,
    momentum: float,
    epsilon: float,
    weight_decay: float,
    clip_norm: float | None,
    ema_momentum: float | None,
) -> None:
    """Raise `ValueError` if a number is out of range."""
    for key, value in (("rho", rho), ("momentum", momentum), ("ema_momentum", ema_momentum)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{key} must be in 0..1, received {value!r}")
    if not epsilon > 0 or not weight_decay >= 0:
        raise ValueError(
            f"epsilon must be positive and weight_decay not negative, received {epsilon!r} and {weight_decay!r}"
        )
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"the clipping norm must be positive, received {clip_norm!r}")
