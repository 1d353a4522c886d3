"""Focal losses: cross-entropy with little weight on easy examples (Lin et al. 2017, equations 4 and 5)."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice, check_number
from keras_segattn.losses.pixel_loss import PixelLoss, check_class_weights, masked_mean, weight_of_labels
from keras_segattn.losses.sample_weights import fitted_weights


@keras.saving.register_keras_serializable(package="keras_segattn")
class Focal(PixelLoss):
    """Mean of `-alpha (1 - p)^gamma log p` over the labelled pixels, p being the label's softmax probability.

    Shapes as in `PixelLoss`. `gamma=0` without `alpha` is the cross-entropy.

    Args:
        gamma: focusing exponent, at least 0.
        alpha: `None`, or one non-negative weight per class, as a list or a dict class → weight that names every class.
        ignore_label: label of pixels that do not count; `None` if there is none.
        name: name of the loss.

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> model.compile("adam", Focal(gamma=2.0))
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: Sequence[float] | Mapping[int, float] | None = None,
        ignore_label: int | None = 255,
        name: str = "focal",
    ) -> None:
        super().__init__(ignore_label, name)
        check_number("gamma", gamma, 0)
        self.gamma = float(gamma)
        self.alpha = check_class_weights("alpha", alpha)

    def of_pixels(self, labels: Any, logits: Any, counted: Any) -> Any:
        """Average the losses of the labelled pixels."""
        cross_entropy = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        # 1 - p without cancellation, and kept above 0, where a power with an exponent below 1 has no finite gradient.
        missing = ops.maximum(-ops.expm1(-cross_entropy), keras.config.epsilon())
        losses = ops.power(missing, self.gamma) * cross_entropy
        if self.alpha is not None:
            losses = losses * weight_of_labels("alpha", self.alpha, labels, logits.shape[-1])
        return masked_mean(losses, counted)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the loss."""
        return super().get_config() | {"gamma": self.gamma, "alpha": self.alpha}


@keras.saving.register_keras_serializable(package="keras_segattn")
class SigmoidFocalCrossEntropy(keras.losses.Loss):
    """Focal loss of independent binary labels, a drop-in for TensorFlow Addons' loss of this name.

    Arguments, their order, defaults and results are those of Addons, except that this loss computes in float32.

    Args:
        from_logits: whether predictions are logits; otherwise probabilities.
        alpha: weight of the positive labels, the negative ones having `1 - alpha`; `None` or 0 for no weights.
        gamma: focusing exponent; `None` or 0 for no focusing.
        reduction: reduction over the batch, see `keras.losses.Loss`. With Addons' default `"none"`, `fit` minimises the
            sum over the batch; `"sum_over_batch_size"` is the mean.
        name: name of the loss.

    Call arguments:
        y_true: `(..., classes)`, 0..1.
        y_pred: `(..., classes)`, any float dtype; probabilities are clipped to `epsilon..1-epsilon` of Keras.
        sample_weight: weight of every loss, `(...)`, or of every example, `(batch,)`; optional.

    Output:
        float32 `(...)`, the sum over the last axis, then reduced.

    Raises:
        ValueError: if an argument is wrong, the two shapes differ, or the weights do not fit them.

    Example:
        >>> SigmoidFocalCrossEntropy(from_logits=True)([[1.0, 0.0]], [[2.0, -1.0]])
    """

    def __init__(
        self,
        from_logits: bool = False,
        alpha: float | None = 0.25,
        gamma: float | None = 2.0,
        reduction: str = "none",
        name: str = "sigmoid_focal_crossentropy",
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype="float32")
        check_choice("from_logits", from_logits, (True, False))
        if alpha is not None:
            check_number("alpha", alpha, 0, 1)
        if gamma is not None:
            check_number("gamma", gamma, 0)
        self.from_logits, self.alpha, self.gamma = from_logits, alpha, gamma

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Check the shape of the weights, and compute the loss of a batch."""
        if sample_weight is not None:
            shape = ops.shape(ops.convert_to_tensor(y_pred))[:-1]
            sample_weight = fitted_weights(self.name, sample_weight, shape)
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compute the losses, summed over the last axis."""
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)  # they may be nested lists
        if tuple(y_true.shape) != tuple(y_pred.shape):
            raise ValueError(
                f"{self.name} expects labels and predictions of one shape, "
                f"received {tuple(y_true.shape)} and {tuple(y_pred.shape)}"
            )
        epsilon = keras.config.epsilon()
        if self.from_logits:
            p = ops.sigmoid(y_pred)
            losses = ops.binary_crossentropy(y_true, y_pred, from_logits=True)
        else:
            p = y_pred
            clipped = ops.clip(p, epsilon, 1 - epsilon)
            # Keras 2, on which Addons builds, adds a second epsilon, doubling the smallest probability. It is added
            # to the 1 first, as TensorFlow's graph optimiser does; otherwise compiled and eager losses would differ.
            losses = -y_true * ops.log(clipped + epsilon) - (1 - y_true) * ops.log((1 + epsilon) - clipped)
        if self.alpha:
            losses = losses * (y_true * self.alpha + (1 - y_true) * (1 - self.alpha))
        if self.gamma:
            missing = 1 - (y_true * p + (1 - y_true) * (1 - p))
            # Kept above 0, where a power with an exponent below 1 has no finite gradient.
            losses = losses * ops.power(ops.maximum(missing, epsilon), self.gamma)
        return ops.sum(losses, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the loss."""
        settings = {"from_logits": self.from_logits, "alpha": self.alpha, "gamma": self.gamma}
        return {"name": self.name, "reduction": self.reduction} | settings
