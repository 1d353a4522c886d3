"""Training recipes of models that write sentences, by name: those of the papers, and a modern one."""

import math
from dataclasses import dataclass
from typing import Literal

import keras

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.losses import DoublyStochastic, SequenceCrossEntropy
from keras_segattn.training.recipes import cosine_decay

OPTIMIZERS = ("adadelta", "adam", "sgd")
SCHEDULES = ("constant", "cosine", "halving")


@dataclass(frozen=True)
class SequenceRecipe:
    """Settings to train `RNNSearch` or `ShowAttendTell`: optimizer, schedule and losses.

    `dataclasses.replace(SEQUENCE_RECIPES["adam-cosine"], learning_rate=2e-3)` makes a variant.

    Args:
        optimizer: `"adadelta"` (ρ 0.95, ε 1e-6), `"adam"` or `"sgd"`.
        learning_rate: constant learning rate, or the highest rate of a schedule.
        schedule: `"constant"`; `"cosine"`, which falls to 0; or `"halving"` before every epoch from the sixth on.
        warmup: number of updates in which a cosine schedule first rises linearly from 0.
        clip_norm: largest norm of all gradients together; `None` does not clip.
        label_smoothing: share of the target's probability that is spread over all tokens.
        doubly_stochastic: weight of the captioner's penalty on locations without attention; 0 is no penalty.
        batch_size: number of sentences per update for which the other numbers were chosen; the data decide which number
            is used.

    Raises:
        ValueError: if a choice is unknown or a number is out of range.
    """

    optimizer: Literal["adadelta", "adam", "sgd"]
    learning_rate: float
    schedule: Literal["constant", "cosine", "halving"] = "constant"
    warmup: int = 0
    clip_norm: float | None = None
    label_smoothing: float = 0.0
    doubly_stochastic: float = 0.0
    batch_size: int = 64

    def __post_init__(self) -> None:
        """Reject settings that cannot train."""
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        if not 0 < self.learning_rate < math.inf or not 0 <= self.doubly_stochastic < math.inf:
            raise ValueError(
                "expected learning_rate > 0 and doubly_stochastic >= 0, received "
                f"{self.learning_rate!r} and {self.doubly_stochastic!r}"
            )
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise ValueError(f"expected clip_norm > 0 or None, received {self.clip_norm!r}")
        if self.warmup < 0 or (self.warmup and self.schedule != "cosine"):
            raise ValueError(
                f"warmup is a number of updates of a cosine schedule, received {self.warmup!r} with {self.schedule!r}"
            )

    def compile(self, model: keras.Model, epochs: int, steps: int) -> None:
        """Compile a model for `epochs` epochs of `steps` updates, to be fitted by Keras without a run directory.

        Raises:
            ValueError: if a number is not a positive integer, or the model lacks an output that the losses need.

        Example:
            >>> SEQUENCE_RECIPES["rnnsearch"].compile(model, epochs=5, steps=len(batches))
            >>> model.fit(batches, epochs=5)
        """
        # XLA would compile anew for every length of the loops, which changes from batch to batch.
        model.compile(self.make_optimizer(epochs, steps), self.make_losses(model), jit_compile=False)

    def make_losses(self, model: keras.Model) -> dict[str, keras.losses.Loss]:
        """Make new losses, by name of the model's output.

        Raises:
            ValueError: if the model lacks one of these outputs.
        """
        losses: dict[str, keras.losses.Loss] = {"logits": SequenceCrossEntropy(self.label_smoothing)}
        if self.doubly_stochastic:
            losses["attention"] = DoublyStochastic(self.doubly_stochastic)
        missing = losses.keys() - set(model.output if isinstance(model.output, dict) else ())
        if missing:
            raise ValueError(f"expected a model that gives {sorted(losses)}, {model.name!r} lacks {sorted(missing)}")
        return losses

    def make_optimizer(self, epochs: int, steps: int) -> keras.optimizers.Optimizer:
        """Make a new optimizer for `epochs` epochs of `steps` updates."""
        check_positive_integer("epochs", epochs)
        check_positive_integer("steps", steps)
        rate = self._learning_rate(epochs, steps)
        if self.optimizer == "adadelta":
            return keras.optimizers.Adadelta(rate, rho=0.95, epsilon=1e-6, global_clipnorm=self.clip_norm)
        kind = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[self.optimizer]
        return kind(rate, global_clipnorm=self.clip_norm)

    def _learning_rate(self, epochs: int, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
        if self.schedule == "cosine":
            updates = epochs * steps
            return cosine_decay(self.learning_rate, updates, min(self.warmup, updates - 1))
        if self.schedule == "halving" and epochs > 5:
            ends = [epoch * steps for epoch in range(5, epochs)]
            rates = [self.learning_rate * 0.5**number for number in range(len(ends) + 1)]
            return keras.optimizers.schedules.PiecewiseConstantDecay(ends, rates)
        return float(self.learning_rate)


SEQUENCE_RECIPES: dict[str, SequenceRecipe] = {
    # Bahdanau et al. 2015, appendix B. Keras' Adadelta with rate 1 is Zeiler's.
    "rnnsearch": SequenceRecipe("adadelta", 1.0, clip_norm=1.0, batch_size=80),
    # Luong et al. 2015, section 4.1: ten epochs without dropout.
    "luong": SequenceRecipe("sgd", 1.0, "halving", clip_norm=5.0, batch_size=128),
    # Xu et al. 2015 on COCO, according to the released code.
    "show-attend-tell": SequenceRecipe("adam", 2e-4, doubly_stochastic=1.0),
    # A modern recipe, which needs less time for small networks.
    "adam-cosine": SequenceRecipe("adam", 1e-3, "cosine", warmup=400, clip_norm=5.0, label_smoothing=0.1),
}
