"""One score of an anchor from the two of py-faster-rcnn's proposal network."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="keras_segattn")
class ObjectScores(keras.layers.Layer):
    """Object minus background: the logit whose sigmoid is the softmax over the two.

    Call arguments:
        inputs: `(batch, h, w, 2·A)`, first the A anchors' scores of background, then those of object.

    Output:
        `(batch, h, w, A)`.

    Raises:
        ValueError: if the channels are not even.

    Example:
        >>> ObjectScores()(keras.ops.zeros((1, 38, 50, 18))).shape
        TensorShape([1, 38, 50, 9])
    """

    def call(self, inputs: Any) -> Any:
        """Subtract the first half of the channels from the second."""
        anchors = inputs.shape[-1] // 2
        return inputs[..., anchors:] - inputs[..., :anchors]

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Half the channels."""
        if inputs.shape[-1] % 2:
            raise ValueError(f"expected two scores an anchor, received {inputs.shape[-1]} channels")
        return keras.KerasTensor((*inputs.shape[:-1], inputs.shape[-1] // 2), dtype=inputs.dtype)
