"""Cross-entropy of every pixel."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice
from keras_segattn.losses.pixel_loss import PixelLoss, check_class_weights, masked_mean, weight_of_labels


@keras.saving.register_keras_serializable(package="keras_segattn")
class PixelCrossEntropy(PixelLoss):
    """Softmax cross-entropy of every labelled pixel (Long et al. 2015, section 4.3). Shapes as in `PixelLoss`.

    Args:
        ignore_label: label of pixels that do not count; `None` if there is none.
        normalization: `"mean"` over the labelled pixels of the batch, or `"sum"` over them without any division. With
            batches of one image, as in the released FCN solvers, the sum is Caffe's `normalize: false`, which their
            tiny learning rates assume (Caffe divides it by the number of images in the batch).
        class_weights: one non-negative weight per class, as a list or as a dict class → weight that names every class;
            the mean is then a weighted one.
        name: name of the loss.

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> model.compile("sgd", PixelCrossEntropy(class_weights=[1.0, 1.0, 5.0]))
    """

    def __init__(
        self,
        ignore_label: int | None = 255,
        normalization: str = "mean",
        class_weights: Sequence[float] | Mapping[int, float] | None = None,
        name: str = "pixel_cross_entropy",
    ) -> None:
        super().__init__(ignore_label, name)
        check_choice("normalization", normalization, ("mean", "sum"))
        self.normalization = normalization
        self.class_weights = check_class_weights("class_weights", class_weights)

    def of_pixels(self, labels: Any, logits: Any, counted: Any) -> Any:
        """Compute the mean or sum of `-log softmax(logits)[label]`."""
        losses = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        if self.class_weights is not None:
            counted = counted * weight_of_labels("class_weights", self.class_weights, labels, logits.shape[-1])
        if self.normalization == "mean":
            return masked_mean(losses, counted)
        return ops.sum(ops.where(counted > 0, losses, 0.0) * counted)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the loss."""
        return super().get_config() | {"normalization": self.normalization, "class_weights": self.class_weights}
