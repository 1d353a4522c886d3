"""The loss of models that generate sentences."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import is_integer, is_number
from keras_segattn.losses.sample_weights import fitted_weights


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
        sample_weight: weight of every sentence, `(batch,)`, or of every token, `(batch, T)`; optional.

    Output:
        float32 scalar, in nats per sentence.

    Raises:
        ValueError: if an argument is wrong, or the shapes do not fit.

    Example:
        >>> model.compile("adam", loss={"logits": SequenceCrossEntropy()})
    """

    def __init__(self, label_smoothing: float = 0.0, padding: int = 0, name: str = "sequence_cross_entropy") -> None:
        super().__init__(name=name, reduction="sum_over_batch_size")
        if not is_number(label_smoothing) or not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be at least 0 and below 1, received {label_smoothing!r}")
        if not is_integer(padding):
            raise ValueError(f"padding must be an id, received {padding!r}")
        self.label_smoothing, self.padding = label_smoothing, padding

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Check the shapes, and compute the loss of a batch."""
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        ids, logits = ops.shape(y_true), ops.shape(y_pred)
        known = [(a, b) for a, b in zip(ids, logits, strict=False) if isinstance(a, int) and isinstance(b, int)]
        if (len(ids), len(logits)) != (2, 3) or any(a != b for a, b in known):
            raise ValueError(
                f"{self.name} expects ids (batch, T) and logits (batch, T, vocabulary), "
                f"received {tuple(y_true.shape)} and {tuple(y_pred.shape)}"
            )
        if sample_weight is not None:
            y_true = (y_true, fitted_weights(self.name, sample_weight, ids))
        # The copy drops an implicit mask of the tokens, which Keras would apply to the losses of whole sentences.
        return super().__call__(y_true, ops.copy(y_pred))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compute the loss of each sentence, summed over its tokens; `y_true` are ids, or ids and their weights."""
        ids, weights = y_true if isinstance(y_true, tuple) else (y_true, None)
        ids = ops.cast(ids, "int32")
        log = ops.log_softmax(ops.cast(y_pred, keras.backend.result_type(y_pred.dtype, "float32")), axis=-1)
        loss = -ops.take_along_axis(log, ids[..., None], axis=-1)[..., 0]
        if self.label_smoothing:
            loss = (1 - self.label_smoothing) * loss - self.label_smoothing * ops.mean(log, axis=-1)
        counts = ops.cast(ops.not_equal(ids, self.padding), loss.dtype)
        if weights is not None:
            counts = counts * ops.cast(weights, loss.dtype)
        return ops.sum(loss * counts, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the loss."""
        return {"label_smoothing": self.label_smoothing, "padding": self.padding, "name": self.name}
