"""The loss of models that generate sentences."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import is_integer, is_number
from keras_segattn.losses.sample_weights import check_steps, fitted_weights


@keras.saving.register_keras_serializable(package="keras_segattn")
class SequenceCrossEntropy(keras.losses.Loss):
    """Negative log-likelihood of sentences: summed over tokens, averaged over the batch (Bahdanau et al. 2015).

    Args:
        label_smoothing: share of the target's probability that is spread over all tokens (Szegedy et al. 2016).
        padding: id of padding, which does not count.
        name: name of the loss.

    Call arguments:
        y_true: ids `(batch, T)`. An id that is neither padding nor in the vocabulary makes the loss NaN.
        y_pred: logits `(batch, T, vocabulary)`; a logit may be -inf if the token is never right.
        sample_weight: weight of every sentence, `(batch,)`, or of every token, `(batch, T)`; optional.

    Output:
        float32 scalar, in nats per sentence; 0 for an empty batch.

    Raises:
        ValueError: if an argument is wrong, or the shapes do not fit.

    Example:
        >>> model.compile("adam", loss={"logits": SequenceCrossEntropy()})
    """

    def __init__(self, label_smoothing: float = 0.0, padding: int = 0, name: str = "sequence_cross_entropy") -> None:
        # In half precision, ids above a few hundred would be rounded.
        dtype = keras.backend.result_type(keras.config.floatx(), "float32")
        super().__init__(name=name, reduction="sum_over_batch_size", dtype=dtype)
        if not is_number(label_smoothing) or not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be at least 0 and below 1, received {label_smoothing!r}")
        if not is_integer(padding):
            raise ValueError(f"padding must be an id, received {padding!r}")
        self.label_smoothing, self.padding = label_smoothing, padding

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Check the shapes, and compute the loss of a batch."""
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        check_steps(self.name, y_true, y_pred, "logits (batch, T, vocabulary)")
        if sample_weight is not None:
            y_true = (y_true, fitted_weights(self.name, sample_weight, ops.shape(y_true)))
        # The copy drops an implicit mask of the tokens, which Keras would apply to the losses of whole sentences.
        # Keras does not reduce the losses of an empty batch.
        return ops.sum(super().__call__(y_true, ops.copy(y_pred)))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compute the loss of each sentence, summed over its tokens; `y_true` are ids, or ids and their weights."""
        ids, weights = y_true if isinstance(y_true, tuple) else (y_true, None)
        ids = ops.cast(ids, "int32")
        log = ops.log_softmax(ops.cast(y_pred, keras.backend.result_type(y_pred.dtype, "float32")), axis=-1)
        known = ops.logical_and(ids >= 0, ids < log.shape[-1])
        loss = -ops.take_along_axis(log, ops.where(known, ids, 0)[..., None], axis=-1)[..., 0]
        if self.label_smoothing:
            loss = (1 - self.label_smoothing) * loss - self.label_smoothing * ops.mean(log, axis=-1)
        counted = ops.not_equal(ids, self.padding)
        if weights is not None:
            weights = ops.cast(weights, loss.dtype)
            counted = ops.logical_and(counted, ops.not_equal(weights, 0))
            loss = loss * weights
        # `where` rather than a product, because the loss of padding may be infinite.
        return ops.sum(ops.where(counted, ops.where(known, loss, float("nan")), 0), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the loss."""
        return {"label_smoothing": self.label_smoothing, "padding": self.padding, "name": self.name}
