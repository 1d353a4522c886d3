"""Training recipes of detectors by name: a modern one, and those of Mask R-CNN and MNC."""

import math
from dataclasses import dataclass
from typing import Literal

import keras

from keras_segattn.arguments import check_choice
from keras_segattn.training.recipes import cosine_decay

OPTIMIZERS = ("adamw", "sgd")
MOMENTUM = 0.9


@dataclass(frozen=True)
class InstanceRecipe:
    """Settings to train a detector: optimizer and schedule.

    `dataclasses.replace(INSTANCE_RECIPES["adamw-cosine"], learning_rate=1e-4)` makes a variant.

    Args:
        optimizer: `"adamw"`, whose rate rises and then falls to 0 along a cosine; or `"sgd"` with momentum 0.9, whose
            rate is divided by 10 once.
        learning_rate: highest learning rate.
        weight_decay: weight decay of kernels, decoupled from the gradient.
        warmup: share of all steps in which AdamW's rate rises, 0..1.
        drop: share of all steps after which SGD's rate is divided, 0..1.
        clip_norm: largest norm of all gradients together; `None` does not clip.
        batch_size: number of pictures per update for which the other numbers were chosen; the data decide which number
            is used.

    Raises:
        ValueError: if a choice is unknown or a number is out of range.
    """

    optimizer: Literal["adamw", "sgd"]
    learning_rate: float
    weight_decay: float
    warmup: float = 0.05
    drop: float = 0.75
    clip_norm: float | None = None
    batch_size: int = 8

    def __post_init__(self) -> None:
        """Reject settings that cannot train."""
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        if not (0 < self.learning_rate < math.inf and 0 <= self.weight_decay < math.inf):
            raise ValueError(
                "expected learning_rate > 0 and weight_decay >= 0, received "
                f"{self.learning_rate!r} and {self.weight_decay!r}"
            )
        if not (0 <= self.warmup < 1 and 0 < self.drop <= 1):
            raise ValueError(f"warmup and drop are shares of the steps, received {self.warmup!r} and {self.drop!r}")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise ValueError(f"expected clip_norm > 0 or None, received {self.clip_norm!r}")

    def make_optimizer(self, steps: int) -> keras.optimizers.Optimizer:
        """Make a new optimizer for a training run of `steps` updates."""
        shared = {"weight_decay": self.weight_decay, "global_clipnorm": self.clip_norm}
        if self.optimizer == "adamw":
            rate = cosine_decay(self.learning_rate, steps, round(self.warmup * steps))
            optimizer = keras.optimizers.AdamW(rate, **shared)
        else:
            rate = keras.optimizers.schedules.PiecewiseConstantDecay(
                [round(self.drop * steps)], [self.learning_rate, self.learning_rate / 10]
            )
            optimizer = keras.optimizers.SGD(rate, MOMENTUM, **shared)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return optimizer


INSTANCE_RECIPES: dict[str, InstanceRecipe] = {
    "adamw-cosine": InstanceRecipe("adamw", 5e-4, 1e-2, clip_norm=5.0),
    # He et al. 2017, section 3.1: the rate falls after 120,000 of 160,000 updates.
    "mask-rcnn": InstanceRecipe("sgd", 0.02, 1e-4, drop=0.75, batch_size=16),
    # Dai et al. 2016, section 4.1: 32,000 updates, then 8,000 at the lower rate. The weight decay is the released
    # solver's.
    "mnc": InstanceRecipe("sgd", 1e-3, 5e-4, drop=0.8),
}
