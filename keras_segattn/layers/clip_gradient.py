"""An identity that limits what flows back through it."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_segattn")
class ClipGradient(keras.layers.Layer):
    """Passes its input on; each element of the gradient is clipped to ±`limit`.

    MNC's released code does so with the gradients of boxes, which are large where a region is small.

    Args:
        limit: largest absolute value.

    Raises:
        ValueError: if the limit is not positive.

    Example:
        >>> boxes = ClipGradient(1 / 512)(boxes)
    """

    def __init__(self, limit: float, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float32"} | kwargs))
        if not limit > 0:
            raise ValueError(f"limit must be positive, received {limit!r}")
        self.limit = limit

    def call(self, inputs: Any) -> Any:
        """The input itself."""

        @ops.custom_gradient
        def identity(x: Any) -> Any:
            def clipped(*upstream: Any, **named: Any) -> Any:
                gradient = upstream[0] if upstream else named["upstream"]
                return ops.clip(gradient, -self.limit, self.limit)

            return ops.multiply(x, 1.0), clipped

        return identity(inputs)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """As it comes."""
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"limit": self.limit}
