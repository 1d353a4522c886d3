"""A layer that selects the mask of the predicted class from one mask per class."""

from typing import Any

import keras
from keras import ops

from keras_segattn.layers.coordinates import CoordinateLayer


@keras.saving.register_keras_serializable(package="keras_segattn")
class ClassMasks(CoordinateLayer):
    """Selects the mask of each region's predicted class, as probabilities.

    Args:
        with_background: whether the first channel belongs to class 0, as in torchvision's heads, or to class 1.

    Call arguments:
        logits: masks `(batch, regions, h, w, K)`: one per class, or a single one for all classes.
        classes: int `(batch, regions)`, 0 for unused entries, whose masks are zero.

    Output:
        `(batch, regions, h, w)` float32 in 0..1.

    Example:
        >>> ClassMasks()(keras.ops.zeros((1, 100, 28, 28, 91)), keras.ops.ones((1, 100), "int32")).shape
        TensorShape([1, 100, 28, 28])
    """

    def __init__(self, with_background: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.with_background = with_background

    def call(self, logits: Any, classes: Any) -> Any:
        """Pick the channel of each region's class."""
        if 0 in logits.shape[1:4]:
            return self.zeros(ops.shape(logits)[0], logits, classes)
        channels, classes = logits.shape[-1], ops.cast(classes, "int32")
        if channels > 1:
            channel = classes if self.with_background else ops.maximum(classes - 1, 0)
            # Masks become the rows of a table by (region, channel): one lookup, whatever the number of classes.
            height, width = logits.shape[2:4]
            table = ops.reshape(ops.transpose(logits, (0, 1, 4, 2, 3)), (-1, height * width))
            regions = ops.shape(classes)[0] * classes.shape[1]
            rows = ops.arange(regions, dtype="int32") * channels + ops.reshape(channel, (-1,))
            logits = ops.reshape(ops.take(table, rows, axis=0), (-1, classes.shape[1], height, width))
        else:
            logits = logits[..., 0]
        return ops.sigmoid(ops.cast(logits, "float32")) * ops.cast(classes > 0, "float32")[..., None, None]

    def compute_output_spec(self, logits: Any, classes: Any) -> keras.KerasTensor:
        """Describe the output: one mask per region."""
        return keras.KerasTensor(tuple(logits.shape[:-1]), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"with_background": self.with_background}
