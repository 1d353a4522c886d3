"""The loss of models that generate sentences."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_segattn")
class SequenceCrossEntropy(keras.losses.Loss):
    """Negative log-likelihood of sentences: summed over tokens, averaged over the batch (Bahdanau et al. 2015).

    Args:
        label_smoothing: share of the target's probability that is spread over all tokens (Szegedy et al. 2016).
        padding: id of padding, which does not count.
        name: name of the loss.

    Call arguments:
        y_true: ids `(batch, T)`.
        y_pred: logits `(batch, T, vocabulary)`.

    Output:
        float32 scalar, in nats per sentence.

    Raises:
        ValueError: if the smoothing is not within 0..1.

    Example:
        >>> model.compile("adam", loss={"logits": SequenceCrossEntropy()})
    """

    def __init__(self, label_smoothing: float = 0.0, padding: int = 0, name: str = "sequence_cross_entropy") -> None:
        super().__init__(name=name, reduction="sum_over_batch_size")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be at least 0 and below 1, received {label_smoothing!r}")
        self.label_smoothing, self.padding = label_smoothing, padding

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compute the loss of each sentence, summed over its tokens."""
        y_true = ops.cast(y_true, "int32")
        log = ops.log_softmax(ops.cast(y_pred, keras.backend.result_type(y_pred.dtype, "float32")), axis=-1)
        loss = -ops.take_along_axis(log, y_true[..., None], axis=-1)[..., 0]
        if self.label_smoothing:
            loss = (1 - self.label_smoothing) * loss - self.label_smoothing * ops.mean(log, axis=-1)
        return ops.sum(loss * ops.cast(ops.not_equal(y_true, self.padding), loss.dtype), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the loss."""
        return {"label_smoothing": self.label_smoothing, "padding": self.padding, "name": self.name}
