"""Maxout (Goodfellow et al. 2013, arXiv 1302.4389)."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_segattn")
class Maxout(keras.layers.Layer):
    """Takes the maximum of every `pieces` neighbouring channels.

    Args:
        pieces: number of channels of which the largest is kept.

    Raises:
        ValueError: if `pieces` is not a positive integer, or does not divide the number of channels.

    Example:
        >>> Maxout(2)(keras.ops.ones((2, 30, 1000))).shape
        TensorShape([2, 30, 500])
    """

    def __init__(self, pieces: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive_integer("pieces", pieces)
        self.pieces = pieces

    def call(self, inputs: Any) -> Any:
        """Take the maximum of each group of channels."""
        leading = [ops.shape(inputs)[i] if n is None else n for i, n in enumerate(inputs.shape[:-1])]
        groups = ops.reshape(inputs, (*leading, inputs.shape[-1] // self.pieces, self.pieces))
        # Keras refuses the maximum of an empty tensor.
        return groups[..., 0] if 0 in inputs.shape else ops.max(groups, axis=-1)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Return Keras' mask of the inputs."""
        return mask

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the output: one channel per group."""
        if inputs.shape[-1] % self.pieces:
            raise ValueError(f"expected channels in groups of {self.pieces}, received {inputs.shape[-1]}")
        return keras.KerasTensor((*inputs.shape[:-1], inputs.shape[-1] // self.pieces), dtype=inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"pieces": self.pieces}
