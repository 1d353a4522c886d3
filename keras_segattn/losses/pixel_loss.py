"""The base class of losses over labelled pixels: shapes, the ignored label, float32."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_segattn.arguments import is_integer


class PixelLoss(keras.losses.Loss):
    """A loss between integer label maps and logits, computed in float32 whatever the dtype of the model.

    Subclasses define `of_pixels`. The result is one scalar for the whole batch: a mean over its labelled pixels depends
    on their number, so it is not a sum of losses of single images. Therefore there are no sample weights; mark pixels
    to leave out with `ignore_label`.

    Under a `tf.distribute` strategy each replica computes the loss of its share of the batch, and gradients add up:
    `training.train_segmenter` weights the means by the numbers of labelled pixels of the replicas; a plain `fit` does
    not.

    Args:
        ignore_label: label of pixels that do not count (they get no gradient); `None` if there is none.
        name: name of the loss.

    Call arguments:
        y_true: labels `(batch, height, width)`, integers 0..classes-1 or `ignore_label`. The data readers check this
            range. A label out of range makes the loss NaN, unless the backend's kernel raises an error.
        y_pred: logits `(batch, height, width, classes)`, any float dtype.

    Output:
        Scalar, float32. A batch without a labelled pixel gives 0 and no gradient.

    Raises:
        ValueError: if the shapes do not fit each other, or sample weights are given.
    """

    def __init__(self, ignore_label: int | None, name: str) -> None:
        super().__init__(name=name, reduction="sum", dtype="float32")
        if ignore_label is not None and not is_integer(ignore_label):
            raise ValueError(f"ignore_label must be an integer or None, received {ignore_label!r}")
        self.ignore_label = None if ignore_label is None else int(ignore_label)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Check the shapes, and compute the loss of a batch."""
        if sample_weight is not None:
            raise ValueError(f"{self.name} takes no sample weights; mark pixels with ignore_label instead")
        labels, logits = ops.shape(y_true), ops.shape(y_pred)
        known = [(a, b) for a, b in zip(labels, logits, strict=False) if isinstance(a, int) and isinstance(b, int)]
        if len(logits) != len(labels) + 1 or any(a != b for a, b in known):
            raise ValueError(
                f"{self.name} expects labels (batch, height, width) and logits (batch, height, width, classes), "
                f"received {tuple(labels)} and {tuple(logits)}"
            )
        return super().__call__(y_true, y_pred)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Split the labels into classes and a mask of the pixels that count."""
        y_true, logits = ops.cast(y_true, "int32"), ops.cast(y_pred, "float32")
        if self.ignore_label is None:
            counted = ops.ones_like(y_true, dtype="float32")
        else:
            counted = ops.cast(ops.not_equal(y_true, self.ignore_label), "float32")
            y_true = ops.where(ops.equal(y_true, self.ignore_label), 0, y_true)
        wrong = ops.any(ops.logical_or(y_true < 0, y_true >= logits.shape[-1]))
        return self.of_pixels(y_true, logits, counted) + ops.where(wrong, float("nan"), 0.0)

    def of_pixels(self, labels: Any, logits: Any, counted: Any) -> Any:
        """Compute the scalar loss.

        Args:
            labels: int32 `(batch, height, width)`, 0 where ignored.
            logits: float32 `(batch, height, width, classes)`.
            counted: float32 `(batch, height, width)`, 1 where the pixel counts and 0 where it is ignored.
        """
        raise NotImplementedError(f"{type(self).__name__} must define of_pixels")

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the loss."""
        return {"name": self.name, "ignore_label": self.ignore_label}


def masked_mean(values: Any, counted: Any) -> Any:
    """Average `values` with the weights `counted`, only where these are positive; 0 if they are nowhere."""
    total = ops.sum(counted)
    # `where` is needed besides the product, because an ignored pixel may hold an infinite loss.
    kept = ops.where(counted > 0, values, 0.0) * counted
    return ops.sum(kept) / ops.where(total > 0, total, 1.0)


def check_class_weights(name: str, weights: Any) -> list[float] | None:
    """Return weights of classes as a list in the order of the classes.

    Args:
        name: name of the argument in error messages.
        weights: one weight per class, in order; a mapping class → weight that names every class; or `None`.

    Raises:
        ValueError: if the weights have no order, a class is missing, or a weight is not finite or is negative.
    """
    if weights is None:
        return None
    if hasattr(weights, "keys"):  # also a series of pandas, whose order is not that of the classes
        named = dict(weights)
        if not all(map(is_integer, named)) or sorted(named) != list(range(len(named))):
            raise ValueError(
                f"{name} must name every class from 0 up, each with its weight, received {list(named)!r:.200}"
            )
        weights = [named[label] for label in range(len(named))]
    values = np.asarray(weights)  # a set becomes one object
    if values.ndim != 1 or values.dtype.kind not in "iuf" or not len(values):
        raise ValueError(f"{name} must be a list or a dict of one number per class, received {weights!r:.200}")
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError(f"{name} must be non-negative and finite, one per class, received {weights!r:.200}")
    return [float(weight) for weight in values]


def weight_of_labels(name: str, weights: Sequence[float], labels: Any, classes: int) -> Any:
    """Return the weight of every label, float32; raise `ValueError` unless there is one weight per class."""
    if len(weights) != classes:
        raise ValueError(f"{name} must hold one weight for each of {classes} classes, received {len(weights)}")
    return ops.take(ops.convert_to_tensor(weights, dtype="float32"), labels)
