"""Training recipes of generative adversarial networks, as they were published for DCGAN and GRAN."""

import math
from dataclasses import dataclass
from typing import Literal

import keras

from keras_segattn.arguments import check_choice
from keras_segattn.generation.latent import DISTRIBUTIONS

SCHEDULES = ("constant", "linear", "inverse_time")
PENALIZED = ("all", "discriminator_dense")
# Number of epochs after which the schedule "inverse_time" has halved the rate, as in GRAN's code.
HALVING_EPOCHS = 50


@dataclass(frozen=True)
class GANRecipe:
    """Settings to train a generator against a discriminator: noise, optimisers, schedule and penalty.

    `dataclasses.replace(GAN_RECIPES["dcgan"], generator_rate=1e-4)` makes a variant.

    Args:
        noise: distribution of the noise: `"uniform"` on -1..1, or `"normal"`.
        generator_rate: learning rate of the generator's Adam in the first epoch.
        discriminator_rate: learning rate of the discriminator's Adam in the first epoch.
        beta_1: decay of Adam's first moment.
        schedule: `"constant"`, `"linear"` (the rates fall to 0 in the second half of the epochs), or `"inverse_time"`
            (the rates are divided by 1 + epoch/50).
        l2: λ of the penalty ½ λ |w|², whose gradient Adam sees like any other.
        penalized: `"all"` for all parameters of both networks, or `"discriminator_dense"` for the kernels of the
            discriminator's fully connected layers only.
        batch_size: number of images per update for which the other numbers were chosen; the data decide which number
            is used.

    Raises:
        ValueError: if a choice is unknown or a number is out of range.
    """

    noise: Literal["normal", "uniform"] = "uniform"
    generator_rate: float = 2e-4
    discriminator_rate: float = 2e-4
    beta_1: float = 0.5
    schedule: Literal["constant", "linear", "inverse_time"] = "constant"
    l2: float = 1e-5
    penalized: Literal["all", "discriminator_dense"] = "all"
    batch_size: int = 128

    def __post_init__(self) -> None:
        """Reject settings that cannot train."""
        check_choice("noise", self.noise, DISTRIBUTIONS)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("penalized", self.penalized, PENALIZED)
        if not (0 < self.generator_rate < math.inf and 0 < self.discriminator_rate < math.inf):
            raise ValueError(
                f"expected rates above 0, received {self.generator_rate!r} and {self.discriminator_rate!r}"
            )
        if not (0 <= self.beta_1 < 1 and 0 <= self.l2 < math.inf):
            raise ValueError(f"expected beta_1 in 0..1 and l2 >= 0, received {self.beta_1!r} and {self.l2!r}")

    def make_optimizers(self, epochs: int, steps_per_epoch: int) -> tuple[keras.optimizers.Adam, keras.optimizers.Adam]:
        """Make new optimisers of the generator and of the discriminator."""

        def adam(rate: float) -> keras.optimizers.Adam:
            return keras.optimizers.Adam(
                self._learning_rate(rate, epochs, steps_per_epoch), beta_1=self.beta_1, epsilon=1e-8
            )

        return adam(self.generator_rate), adam(self.discriminator_rate)

    def _learning_rate(
        self, rate: float, epochs: int, steps: int
    ) -> float | keras.optimizers.schedules.LearningRateSchedule:
        if self.schedule == "linear":
            return LinearDecay(rate, epochs * steps)
        if self.schedule == "inverse_time":
            return keras.optimizers.schedules.InverseTimeDecay(rate, steps, 1 / HALVING_EPOCHS, staircase=True)
        return rate


@keras.saving.register_keras_serializable(package="keras_segattn")
class LinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Schedule of a rate that is constant for the first half of all steps, then falls to 0 along a straight line.

    Args:
        learning_rate: learning rate of the first half.
        steps: number of updates of the whole training run.

    Example:
        >>> [float(LinearDecay(1.0, 8)(step)) for step in (0, 4, 6, 8)]
        [1.0, 1.0, 0.5, 0.0]
    """

    def __init__(self, learning_rate: float, steps: int) -> None:
        super().__init__()
        self.learning_rate, self.steps = learning_rate, steps

    def __call__(self, step: int | keras.KerasTensor) -> keras.KerasTensor:
        """Compute the rate of a step; the first step is 0."""
        left = 2 * (1 - keras.ops.cast(step, "float32") / self.steps)
        return self.learning_rate * keras.ops.clip(left, 0.0, 1.0)

    def get_config(self) -> dict[str, float]:
        """Return the arguments that rebuild the schedule."""
        return {"learning_rate": self.learning_rate, "steps": self.steps}


GAN_RECIPES: dict[str, GANRecipe] = {
    # Radford et al. 2016, section 4, with the penalty of the released code for faces.
    "dcgan": GANRecipe(),
    # The released code for digits, which trains 100 epochs at the full rate and 100 epochs at a falling one.
    "dcgan-mnist": GANRecipe(schedule="linear", l2=2.5e-5),
    # Im et al. 2016, released code. It passes β1 = 0.1 to an Adam that expects 1 - β1, and decays the momentum to none
    # after the first update, which leaves β1 = 0. Its first ~30 updates are larger than here, by 1/(1 - 0.9^t).
    "gran": GANRecipe(
        noise="normal",
        generator_rate=1e-4,
        discriminator_rate=4e-5,
        beta_1=0.0,
        schedule="inverse_time",
        l2=5e-6,
        penalized="discriminator_dense",
        batch_size=100,
    ),
}
