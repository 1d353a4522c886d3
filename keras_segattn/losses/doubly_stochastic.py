"""The attention penalty of Show, Attend and Tell (Xu et al., ICML 2015, arXiv 1502.03044, equation 14)."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_number, is_integer
from keras_segattn.losses.sample_weights import check_steps, fitted_weights


@keras.saving.register_keras_serializable(package="keras_segattn")
class DoublyStochastic(keras.losses.Loss):
    """Makes a caption attend to every part of the picture: Σ over locations of (1 − Σ over words of the weights)².

    Args:
        weight: factor λ of the penalty.
        padding: id of padding, whose attention weights do not count.
        name: name of the loss.

    Call arguments:
        y_true: ids `(batch, T)` of the words that were predicted.
        y_pred: attention weights `(batch, T, L)`.
        sample_weight: weight of every caption, `(batch,)`; optional.

    Output:
        float32 scalar; 0 for an empty batch.

    Raises:
        ValueError: if an argument is wrong, the shapes do not fit, or there is not one weight per caption.

    Example:
        >>> model.compile("adam", loss={"logits": SequenceCrossEntropy(), "attention": DoublyStochastic()})
    """

    def __init__(self, weight: float = 1.0, padding: int = 0, name: str = "doubly_stochastic") -> None:
        dtype = keras.backend.result_type(keras.config.floatx(), "float32")  # sums over words and locations
        super().__init__(name=name, reduction="sum_over_batch_size", dtype=dtype)
        check_number("weight", weight, 0)
        if not is_integer(padding):
            raise ValueError(f"padding must be an id, received {padding!r}")
        self.weight, self.padding = weight, padding

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Check the shapes, and compute the loss of a batch."""
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        check_steps(self.name, y_true, y_pred, "weights (batch, T, locations)")
        if sample_weight is not None:
            sample_weight = fitted_weights(self.name, sample_weight, ops.shape(y_pred)[:1])
        # The copy drops an implicit mask of the words, which Keras would apply to the losses of whole captions. Keras
        # does not reduce the losses of an empty batch.
        return ops.sum(super().__call__(y_true, ops.copy(y_pred), sample_weight))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compute the penalty of each caption."""
        counted = ops.not_equal(y_true, self.padding)[..., None]
        seen = ops.sum(ops.where(counted, y_pred, 0), axis=1)
        return self.weight * ops.sum(ops.square(1.0 - seen), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the loss."""
        return {"weight": self.weight, "padding": self.padding, "name": self.name}
