"""Dice loss: overlap of soft masks."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import is_number
from keras_segattn.losses.pixel_loss import PixelLoss


@keras.saving.register_keras_serializable(package="keras_segattn")
class Dice(PixelLoss):
    """One minus the soft Dice coefficient, averaged over classes (Milletari et al. 2016, section 3).

    The loss of class c, with sums over all labelled pixels of the batch, is
    `1 - (2 Σ p g + smooth) / (Σ p² + Σ g² + smooth)`, with softmax probabilities p and one-hot labels g. Shapes as in
    `PixelLoss`.

    Args:
        ignore_label: label of pixels that do not count; `None` if there is none.
        smooth: positive constant that defines the loss of a class that neither occurs nor is predicted as 0.
        name: name of the loss.

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> model.compile("adam", Dice())
    """

    def __init__(self, ignore_label: int | None = 255, smooth: float = 1.0, name: str = "dice") -> None:
        super().__init__(ignore_label, name)
        if not is_number(smooth) or not smooth > 0:
            raise ValueError(f"smooth must be positive, received {smooth!r}")
        self.smooth = float(smooth)

    def of_pixels(self, labels: Any, logits: Any, counted: Any) -> Any:
        """Average the losses of all classes."""
        classes = logits.shape[-1]
        counted = ops.expand_dims(counted, -1)
        p = ops.softmax(logits) * counted
        g = ops.one_hot(labels, classes, dtype="float32") * counted
        axes = (0, 1, 2)
        overlap = 2 * ops.sum(p * g, axis=axes) + self.smooth
        total = ops.sum(p * p, axis=axes) + ops.sum(g, axis=axes) + self.smooth
        return ops.mean(1 - overlap / total)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the loss."""
        return super().get_config() | {"smooth": self.smooth}
