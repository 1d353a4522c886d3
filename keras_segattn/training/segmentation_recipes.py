"""Training recipes of segmentation models by name: those of papers and released solvers, and two modern ones."""

import math
from dataclasses import dataclass
from typing import Literal

import keras

from keras_segattn.arguments import check_choice
from keras_segattn.losses import PixelCrossEntropy
from keras_segattn.training.optimizers import CaffeSGD
from keras_segattn.training.recipes import cosine_decay


@dataclass(frozen=True)
class SegmentationRecipe:
    """Settings to train a segmentation model: optimizer, schedule and normalisation of the loss.

    `dataclasses.replace(SEGMENTATION_RECIPES["fcn"], learning_rate=1e-3)` makes a variant.

    Args:
        optimizer: `"caffe_sgd"` (see `CaffeSGD`), `"sgd"` (Keras' SGD) or `"adamw"`.
        learning_rate: constant learning rate, or the highest rate of a schedule.
        momentum: momentum of SGD, or first-moment decay rate (beta_1) of AdamW.
        weight_decay: weight decay of kernels, an L2 penalty with `"caffe_sgd"`, else decoupled from the gradient.
        schedule: `"constant"`, `"polynomial"` (to 0 with power 0.9) or `"cosine"` (to 0).
        warmup: share of all steps in which a `"cosine"` schedule first rises linearly from 0.
        normalization: `"mean"` over labelled pixels of the cross-entropy, or their `"sum"` (`PixelCrossEntropy`).
        batch_size: number of images per update for which the other numbers were chosen; the data decide which number
            is used.

    Raises:
        ValueError: if a choice is unknown or a number is out of range.
    """

    optimizer: Literal["caffe_sgd", "sgd", "adamw"] = "caffe_sgd"
    learning_rate: float = 1e-4
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["constant", "polynomial", "cosine"] = "constant"
    warmup: float = 0.0
    normalization: Literal["mean", "sum"] = "mean"
    batch_size: int = 20

    def __post_init__(self) -> None:
        """Reject settings that cannot train."""
        check_choice("optimizer", self.optimizer, ("caffe_sgd", "sgd", "adamw"))
        check_choice("schedule", self.schedule, ("constant", "polynomial", "cosine"))
        check_choice("normalization", self.normalization, ("mean", "sum"))
        if not (0 < self.learning_rate < math.inf and 0 <= self.momentum <= 1 and 0 <= self.weight_decay < math.inf):
            raise ValueError(
                "expected learning_rate > 0, momentum in 0..1 and weight_decay >= 0, received "
                f"{self.learning_rate!r}, {self.momentum!r} and {self.weight_decay!r}"
            )
        if not 0 <= self.warmup < 1 or (self.warmup and self.schedule != "cosine"):
            raise ValueError(
                "warmup is a share of the steps in 0..1 of a cosine schedule, "
                f"received {self.warmup!r} with schedule {self.schedule!r}"
            )

    def make_loss(self, ignore_label: int | None = 255) -> PixelCrossEntropy:
        """Make the pixel cross-entropy with this recipe's normalisation."""
        return PixelCrossEntropy(ignore_label=ignore_label, normalization=self.normalization)

    def make_optimizer(self, steps: int) -> keras.optimizers.Optimizer:
        """Make a new optimizer for a training run of `steps` updates."""
        rate = self._learning_rate(steps)
        if self.optimizer == "caffe_sgd":
            return CaffeSGD(rate, self.momentum, self.weight_decay)
        if self.optimizer == "sgd":
            optimizer = keras.optimizers.SGD(rate, float(self.momentum), weight_decay=self.weight_decay)
        else:
            optimizer = keras.optimizers.AdamW(rate, self.weight_decay, beta_1=self.momentum)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return optimizer

    def _learning_rate(self, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
        if self.schedule == "constant":
            return float(self.learning_rate)
        if self.schedule == "polynomial":
            return keras.optimizers.schedules.PolynomialDecay(self.learning_rate, steps, 0.0, power=0.9)
        return cosine_decay(self.learning_rate, steps, round(self.warmup * steps))


SEGMENTATION_RECIPES: dict[str, SegmentationRecipe] = {
    # Long et al. 2015, section 4.3: for VGG16 and for AlexNet. The 16s and 8s stages divide the rate by 100.
    # The released solver of FCN-AlexNet (20 accumulated images, mean loss) has the numbers of "fcn".
    "fcn": SegmentationRecipe(),
    "fcn-alexnet": SegmentationRecipe(learning_rate=1e-3),
    # The authors' released solvers: one image per update, summed loss, heavy momentum.
    "fcn32s-heavy": SegmentationRecipe(learning_rate=1e-10, momentum=0.99, normalization="sum", batch_size=1),
    "fcn16s-heavy": SegmentationRecipe(learning_rate=1e-12, momentum=0.99, normalization="sum", batch_size=1),
    "fcn8s-heavy": SegmentationRecipe(learning_rate=1e-14, momentum=0.99, normalization="sum", batch_size=1),
    "fcn8s-atonce-heavy": SegmentationRecipe(learning_rate=1e-10, momentum=0.99, normalization="sum", batch_size=1),
    # Pinheiro & Collobert 2014, from memory of section 4: one patch per update, no weight decay.
    "recurrent-cnn": SegmentationRecipe("sgd", 1e-4, momentum=0.0, weight_decay=0.0, batch_size=1),
    # Modern: the polynomial schedule of DeepLab (Chen et al. 2017), and AdamW with warm-up and cosine decay.
    "sgd-poly": SegmentationRecipe("sgd", 7e-3, weight_decay=1e-4, schedule="polynomial", batch_size=16),
    "adamw-cosine": SegmentationRecipe("adamw", 5e-4, weight_decay=1e-2, schedule="cosine", warmup=0.05, batch_size=8),
}
