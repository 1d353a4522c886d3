"""A metric of the four scores of a segmentation, which keeps one confusion matrix."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_segattn.arguments import check_positive_integer

SCORES = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")
# Numbers below this stay exact in floats of 24 bits, even when they are added up over 16 replicas.
_CARRY = 2**20


@keras.saving.register_keras_serializable(package="keras_segattn")
class SegmentationScores(keras.metrics.Metric):
    """Pixel accuracy, mean accuracy, mean IoU and frequency-weighted IoU (Long et al. 2015, section 5).

    One metric with four results: `fit` and `evaluate` log them by their names. `segmentation_scores` of
    `confusion_matrix()` adds the IoU of every class.

    Args:
        classes: number of classes.
        ignore_label: true label of pixels that do not count; `None` if there is none.
        name: name of the metric.

    Call arguments:
        y_true: labels `(batch, height, width)`, integers 0..classes-1 or `ignore_label`. Any other label is left
            out of the matrix; `keras_segattn.data.MaskBatches` refuses it before it gets here.
        y_pred: scores `(batch, height, width, classes)`; the highest wins.

    Raises:
        ValueError: if an argument is wrong, the shapes do not fit, or sample weights are given.

    Example:
        >>> model.compile("sgd", PixelCrossEntropy(), metrics=[SegmentationScores(classes=21)])
    """

    def __init__(self, classes: int, ignore_label: int | None = 255, name: str = "segmentation_scores") -> None:
        super().__init__(name=name, dtype="float32")
        check_positive_integer("classes", classes)
        self.classes, self.ignore_label = classes, ignore_label
        # Two digits to the base 2^20 count up to 2^44 pixels in each cell exactly; one float32 would stop at 2^24, an
        # int32 at 2^31. They are floats because TensorFlow keeps int32 variables off the GPU, and JAX has no int64.
        self._low, self._high = (
            self.add_variable((classes, classes), "zeros", dtype="float32", name=digit) for digit in ("low", "high")
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count the pixels of a batch."""
        if sample_weight is not None:
            raise ValueError(f"{self.name} counts pixels and takes no sample weights; mark them with ignore_label")
        if len(y_pred.shape) != len(y_true.shape) + 1 or y_pred.shape[-1] != self.classes:
            raise ValueError(
                f"{self.name} expects labels (batch, height, width) and scores (batch, height, width, "
                f"{self.classes}), received {tuple(y_true.shape)} and {tuple(y_pred.shape)}"
            )
        truth = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        prediction = ops.reshape(ops.cast(ops.argmax(y_pred, axis=-1), "int32"), (-1,))
        counted = ops.logical_and(truth >= 0, truth < self.classes)
        if self.ignore_label is not None:
            counted = ops.logical_and(counted, ops.not_equal(truth, self.ignore_label))
        # Pixels that do not count go to one cell past the end.
        cells = self.classes**2
        pairs = ops.where(counted, self.classes * truth + prediction, cells)
        counts = ops.segment_sum(ops.ones_like(pairs), pairs, num_segments=cells + 1)[:cells]
        low = ops.cast(self._low, "int32") + ops.reshape(counts, (self.classes, self.classes))
        self._low.assign(ops.cast(low % _CARRY, "float32"))
        self._high.assign(self._high + ops.cast(low // _CARRY, "float32"))

    def result(self) -> dict[str, Any]:
        """Return the four scores, float32 scalars 0..1; NaN before anything was counted."""
        confusion = self._high * float(_CARRY) + self._low
        hits = ops.diagonal(confusion)
        rows, columns = ops.sum(confusion, axis=1), ops.sum(confusion, axis=0)
        union, total = rows + columns - hits, ops.sum(confusion)
        iou = hits / ops.maximum(union, 1.0)
        return {
            "pixel_accuracy": ops.sum(hits) / total,
            "mean_accuracy": _mean_where(hits / ops.maximum(rows, 1.0), rows > 0),
            "mean_iou": _mean_where(iou, union > 0),
            "frequency_weighted_iou": ops.sum(rows * iou) / total,
        }

    def confusion_matrix(self) -> np.ndarray:
        """Return the counts so far, int64 `(classes, classes)`; rows are true classes, columns predicted ones."""
        low, high = (ops.convert_to_numpy(part).astype(np.int64) for part in (self._low, self._high))
        return high * _CARRY + low

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the metric."""
        return {"name": self.name, "classes": self.classes, "ignore_label": self.ignore_label}


def _mean_where(values: Any, kept: Any) -> Any:
    kept = ops.cast(kept, "float32")
    return ops.sum(values * kept) / ops.sum(kept)
