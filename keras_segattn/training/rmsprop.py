"""TensorFlow's first RMSProp, with which the Inceptions were trained, and the average of the parameters beside it."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_segattn")
class InceptionRMSprop(keras.optimizers.RMSprop):
    """RMSProp as in TensorFlow 1: `s ← ρ s + (1 − ρ) g²`, `m ← μ m + r g / √(s + ε)`, `w ← w − m`, from s = 1.

    Keras' own `RMSprop` has the same equations, ε under the root included, but starts from s = 0: with the papers'
    ε = 1 its first steps are up to 1.4 times as long. To the gradient of every kernel (rank 2 and more) comes λ w,
    that of the penalty ½ λ |w|² (TF-slim's; `keras.regularizers.L2(λ)` would be λ |w|²); Keras' own
    `weight_decay` would shrink the weights beside RMSProp instead.

    With `ema_momentum` the optimizer keeps the average `a ← d a + (1 − d) w` of every parameter, with
    `d = min(ema_momentum, (1 + t) / (10 + t))` at step t as in the release, where Keras takes `ema_momentum` from the
    second step on: 0.9999 would then remember random weights for ten thousands of steps. `fit` leaves the averages in
    the model, and the callback `keras.callbacks.SwapEMAWeights` validates them.

    Args:
        learning_rate: rate r, or a `keras.optimizers.schedules.LearningRateSchedule`.
        rho: ρ, decay of the mean square, in 0..1.
        momentum: μ, in 0..1.
        epsilon: ε, positive.
        weight_decay: λ, 0 or more; clipping of the gradient does not see it.
        global_clipnorm: largest norm of all gradients together (Pascanu et al. 2013); `None` does not clip.
        ema_momentum: decay of the average of the parameters, in 0..1; `None` keeps none.
        name: of the optimizer.

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
        """State of one kind for every variable; mean squares start at one."""
        return super().add_optimizer_variables(
            trainable_variables, name, initializer="ones" if name == "velocity" else initializer
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One update of one variable."""
        if self.l2_decay and len(variable.shape) > 1:
            gradient = ops.cast(gradient, variable.dtype) + self.l2_decay * variable
        super().update_step(gradient, variable, learning_rate)

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[Any]) -> None:
        if not self.use_ema:
            return
        step = ops.cast(self.iterations, "float32")
        decay = ops.minimum(self.ema_momentum, (1.0 + step) / (10.0 + step))
        decay = ops.where(step == 0, 0.0, decay)  # the averages' zeros must not count
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            average.assign(average + ops.cast(1.0 - decay, average.dtype) * (variable - average))

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the optimizer."""
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
    """Raise `ValueError` unless the numbers can train."""
    for key, value in (("rho", rho), ("momentum", momentum), ("ema_momentum", ema_momentum)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{key} must be in 0..1, received {value!r}")
    if not epsilon > 0 or not weight_decay >= 0:
        raise ValueError(
            f"epsilon must be positive and weight_decay not negative, received {epsilon!r} and {weight_decay!r}"
        )
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"the clipping norm must be positive, received {clip_norm!r}")
