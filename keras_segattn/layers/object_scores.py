"""A layer that makes one score per anchor from the two of py-faster-rcnn's proposal network."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="keras_segattn")
class ObjectScores(keras.layers.Layer):
    """Subtracts the background's score from the object's: the sigmoid of the difference is the softmax over the two.

    Call arguments:
        inputs: `(batch, h, w, 2·A)`, first the background scores of A anchors, then their object scores.

    Output:
        `(batch, h, w, A)`.

    Raises:
        ValueError: if the number of channels is odd.

    Example:
        >>> ObjectScores()(keras.ops.zeros((1, 38, 50, 18))).shape
        TensorShape([1, 38, 50, 9])
    """

    def call(self, inputs: Any) -> Any:
        """Subtract the first half of the channels from the second."""
        anchors = inputs.shape[-1] // 2
        return inputs[..., anchors:] - inputs[..., :anchors]

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the output: half as many channels."""
        if inputs.shape[-1] % 2:
            raise ValueError(f"expected two scores per anchor, received {inputs.shape[-1]} channels")
        return keras.KerasTensor((*inputs.shape[:-1], inputs.shape[-1] // 2), dtype=inputs.dtype)
