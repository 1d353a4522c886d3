"""A layer that only adds a bias."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_segattn")
class AddBias(keras.layers.Layer):
    """Adds a learned vector, so that an embedding followed by it is an affine map of one-hot words.

    Example:
        >>> AddBias()(keras.ops.ones((2, 30, 620))).shape
        TensorShape([2, 30, 620])
    """

    def build(self, inputs_shape: tuple[int | None, ...]) -> None:
        """Make the vector."""
        self.bias = self.add_weight(name="bias", shape=(inputs_shape[-1],), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        """Add the bias to `inputs`."""
        inputs = ops.cast(inputs, self.compute_dtype)
        return inputs + self.bias

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Return Keras' mask of the inputs."""
        return mask
