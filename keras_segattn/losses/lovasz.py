"""Lovász-softmax: a surrogate loss that optimises the mean IoU directly."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice
from keras_segattn.losses.pixel_loss import PixelLoss


@keras.saving.register_keras_serializable(package="keras_segattn")
class LovaszSoftmax(PixelLoss):
    """Lovász extension of the Jaccard loss on softmax probabilities (Berman et al. 2018, equation 11).

    Shapes as in `PixelLoss`.

    Args:
        per_image: whether the IoU is computed for each image and averaged, instead of once for the whole batch.
        classes: `"present"` averages over the classes that occur in the labels, `"all"` over all classes.
        ignore_label: label of pixels that do not count; `None` if there is none.
        name: name of the loss.

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> model.compile("adam", LovaszSoftmax())
    """

    def __init__(
        self,
        per_image: bool = False,
        classes: str = "present",
        ignore_label: int | None = 255,
        name: str = "lovasz_softmax",
    ) -> None:
        super().__init__(ignore_label, name)
        check_choice("per_image", per_image, (True, False))
        check_choice("classes", classes, ("present", "all"))
        self.per_image, self.classes = per_image, classes

    def of_pixels(self, labels: Any, logits: Any, counted: Any) -> Any:
        """Average the losses of groups of pixels (images or the batch) and classes."""
        classes = logits.shape[-1]
        groups = ops.shape(labels)[0] if self.per_image else 1
        counted = ops.expand_dims(counted, -1)
        foreground = ops.one_hot(labels, classes, dtype="float32") * counted
        # An ignored pixel has error 0, so it sorts last, where it has no weight.
        error = ops.abs(foreground - ops.softmax(logits)) * counted
        foreground, error = (
            ops.transpose(ops.reshape(x, (groups, -1, classes)), (0, 2, 1)) for x in (foreground, error)
        )
        losses = lovasz_extension(foreground, error)
        if self.classes == "all":
            return ops.mean(losses)
        present = ops.cast(ops.max(foreground, axis=-1) > 0, "float32")
        means = ops.sum(losses * present, axis=-1) / ops.maximum(ops.sum(present, axis=-1), 1.0)
        return ops.mean(means)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the loss."""
        return super().get_config() | {"per_image": self.per_image, "classes": self.classes}


def lovasz_extension(foreground: Any, error: Any) -> Any:
    """Compute the Lovász extension of the Jaccard loss (Berman et al. 2018, algorithm 1).

    Args:
        foreground: `(..., pixels)`, 1 for pixels of the class, else 0.
        error: `(..., pixels)`, 0..1.

    Returns:
        `(...)`: sum of the errors in descending order, each weighted by how much it lowers the IoU.
    """
    order = ops.argsort(-ops.stop_gradient(error), axis=-1)
    error = ops.take_along_axis(error, order, axis=-1)
    foreground = ops.take_along_axis(foreground, order, axis=-1)
    total = ops.sum(foreground, axis=-1, keepdims=True)
    intersection = total - ops.cumsum(foreground, axis=-1)
    union = total + ops.cumsum(1 - foreground, axis=-1)
    # The growth of the Jaccard loss, 1 - intersection / union, with each pixel is computed in closed form, because
    # the difference of two neighbours among a million pixels would drown in float32 rounding.
    missed = 1 / union
    false_alarm = intersection / (union * ops.maximum(union - 1, 1.0))
    first_of_absent_class = ops.cast(ops.equal(union, 1.0), "float32")
    weight = ops.where(foreground > 0, missed, ops.where(total > 0, false_alarm, first_of_absent_class))
    return ops.sum(error * weight, axis=-1)
