"""The share of strings of digits that are read without a mistake."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_segattn")
class StringAccuracy(keras.metrics.MeanMetricWrapper):
    """The share of strings in which every place is right, blanks included (Goodfellow et al. 2013, arXiv 1312.6082).

    The error that papers give, in percent, is `100 * (1 - accuracy)`.

    Args:
        name: name of the metric.

    Call arguments:
        y_true: classes `(batch, places)`, integers.
        y_pred: scores `(batch, places, classes)`; the highest wins.
        sample_weight: weight of every string, `(batch,)`, or `None`.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=[StringAccuracy()])
    """

    def __init__(self, name: str = "string_accuracy") -> None:
        super().__init__(_all_right, name=name, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the metric."""
        return {"name": self.name}


def _all_right(y_true: Any, y_pred: Any) -> Any:
    """Return 1 for every string that is right and 0 for the others, float32 `(batch,)`."""
    if len(y_true.shape) != 2 or len(y_pred.shape) != 3 or y_true.shape[1] != y_pred.shape[1]:
        raise ValueError(
            f"expected classes (batch, places) and scores (batch, places, classes), received {tuple(y_true.shape)} "
            f"and {tuple(y_pred.shape)}"
        )
    right = ops.equal(ops.cast(y_true, "int32"), ops.cast(ops.argmax(y_pred, axis=-1), "int32"))
    return ops.cast(ops.all(right, axis=-1), "float32")
