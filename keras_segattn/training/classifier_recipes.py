"""Training recipes of classifiers by name: a modern one, and the one of Inception-v4 and Inception-ResNet."""

import math
from dataclasses import dataclass

import keras

from keras_segattn.arguments import check_positive_integer
from keras_segattn.training.recipes import cosine_decay
from keras_segattn.training.rmsprop import InceptionRMSprop, check_rmsprop

# Weights of the losses of side classifiers: 0.4 for the Inceptions, as in TF-slim, and 0.3 for each of the two of
# GoogLeNet (section 5 of its paper).
AUX_WEIGHTS = {"aux_logits": 0.4, "aux1_logits": 0.3, "aux2_logits": 0.3}


@dataclass(frozen=True)
class ClassifierRecipe:
    """Settings to train a classifier: optimizer, schedule, loss and average of the parameters.

    `dataclasses.replace(CLASSIFIER_RECIPES["inception"], learning_rate=0.01)` makes a variant.

    Args:
        learning_rate: learning rate of the first epochs.
        decay_factor: factor by which the rate is multiplied every `decay_epochs` epochs, in 0..1; 1 keeps the rate.
        decay_epochs: number of epochs from one such step to the next.
        rho: decay of RMSProp's mean square.
        momentum: momentum of RMSProp's steps.
        epsilon: constant that is added under RMSProp's root.
        clip_norm: largest norm of all gradients together; `None` does not clip.
        weight_decay: λ of the penalty ½ λ |w|² on kernels.
        label_smoothing: share of the probability that is spread evenly over all classes, at least 0 and less than 1.
        ema_momentum: decay of the moving average of the parameters, which is evaluated and saved in their place; `None`
            keeps no average.
        batch_size: number of images per update for which the other numbers were chosen; the data decide which number
            is used.

    Raises:
        ValueError: if a number is out of range.
    """

    learning_rate: float = 0.045
    decay_factor: float = 0.94
    decay_epochs: int = 2
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1.0
    clip_norm: float | None = 2.0
    weight_decay: float = 4e-5
    label_smoothing: float = 0.1
    ema_momentum: float | None = 0.9999
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Reject settings that cannot train."""
        check_positive_integer("decay_epochs", self.decay_epochs)
        if not (0 < self.learning_rate < math.inf and 0 < self.decay_factor <= 1):
            raise ValueError(
                "expected learning_rate > 0 and decay_factor above 0 and up to 1, received "
                f"{self.learning_rate!r} and {self.decay_factor!r}"
            )
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be at least 0 and less than 1, received {self.label_smoothing!r}")
        check_rmsprop(self.rho, self.momentum, self.epsilon, self.weight_decay, self.clip_norm, self.ema_momentum)

    def make_optimizer(self, steps_per_epoch: int, epochs: int) -> InceptionRMSprop:  # noqa: ARG002 - it only decays
        """Make a new optimizer for `epochs` epochs of `steps_per_epoch` updates."""
        rate = self.learning_rate
        if self.decay_factor < 1:
            rate = keras.optimizers.schedules.ExponentialDecay(
                rate, self.decay_epochs * steps_per_epoch, self.decay_factor, staircase=True
            )
        return InceptionRMSprop(
            rate, self.rho, self.momentum, self.epsilon, self.weight_decay, self.clip_norm, self.ema_momentum
        )

    def make_loss(self) -> keras.losses.Loss:
        """Make the cross-entropy of logits and smoothed one-hot labels."""
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=self.label_smoothing)


@dataclass(frozen=True)
class AdamWRecipe:
    """Settings to train a classifier by AdamW, whose rate rises linearly from 0, then falls to 0 along a cosine.

    Args:
        learning_rate: highest learning rate.
        weight_decay: weight decay of kernels, decoupled from the gradient.
        warmup: share of all steps in which the rate rises, 0..1.
        clip_norm: largest norm of all gradients together.
        label_smoothing: share of the probability that is spread evenly over all classes, at least 0 and less than 1.
        batch_size: number of images per update for which the other numbers were chosen; the data decide which number
            is used.

    Raises:
        ValueError: if a number is out of range.
    """

    learning_rate: float = 5e-4
    weight_decay: float = 1e-2
    warmup: float = 0.05
    clip_norm: float = 5.0
    label_smoothing: float = 0.1
    batch_size: int = 8

    def __post_init__(self) -> None:
        """Reject settings that cannot train."""
        if not all(0 < value < math.inf for value in (self.learning_rate, self.clip_norm)):
            raise ValueError(
                f"expected learning_rate > 0 and clip_norm > 0, received {self.learning_rate!r} and {self.clip_norm!r}"
            )
        if not (0 <= self.weight_decay < math.inf and 0 <= self.warmup < 1 and 0 <= self.label_smoothing < 1):
            raise ValueError(
                "expected weight_decay >= 0, and warmup and label_smoothing of at least 0 and less than 1, received "
                f"{self.weight_decay!r}, {self.warmup!r} and {self.label_smoothing!r}"
            )

    def make_optimizer(self, steps_per_epoch: int, epochs: int) -> keras.optimizers.Optimizer:
        """Make a new optimizer for `epochs` epochs of `steps_per_epoch` updates."""
        steps = steps_per_epoch * epochs
        rate = cosine_decay(self.learning_rate, steps, round(self.warmup * steps))
        optimizer = keras.optimizers.AdamW(rate, self.weight_decay, global_clipnorm=self.clip_norm)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return optimizer

    def make_loss(self) -> keras.losses.Loss:
        """Make the cross-entropy of logits and smoothed one-hot labels."""
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=self.label_smoothing)


CLASSIFIER_RECIPES: dict[str, ClassifierRecipe | AdamWRecipe] = {
    # For small data sets, in which the moving average of the paper's recipe would see too few updates.
    "adamw-cosine": AdamWRecipe(),
    # Szegedy et al. 2017, section 4. Settings that it does not repeat come from Szegedy et al. 2016, section 8: the
    # norm to which gradients are clipped (after Pascanu et al. 2013, who clip all of them together), label smoothing
    # and batch size. Weight decay and the decay of the average come from the released trainers. These also set a
    # momentum of 0.9, which neither paper mentions for RMSProp.
    "inception": ClassifierRecipe(),
}
