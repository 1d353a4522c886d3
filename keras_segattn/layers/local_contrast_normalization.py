"""Local contrast normalisation: every neighbourhood of a picture gets the same brightness and contrast."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_number, check_positive_integer
from keras_segattn.ops.dtypes import at_least_float32


@keras.saving.register_keras_serializable(package="keras_segattn")
class LocalContrastNormalization(keras.layers.Layer):
    """Subtracts the mean of a square neighbourhood, then divides by the standard deviation of the result there.

    These are the subtractive and the divisive normalisation of Jarrett et al. (ICCV 2009, section 2), with uniform
    weights and for every channel alone. Neighbourhoods end at the border of the picture. The computation is in float32
    at least, whatever the dtype policy.

    Args:
        size: height and width of the neighbourhood in pixels, odd.
        least: least standard deviation by which is divided, positive, so that noise on even areas is not amplified.

    Call arguments:
        inputs: `(batch, height, width, channels)`, of any size from 1×1 up.

    Output:
        Tensor of the same shape, in the layer's compute dtype; 0 where the neighbourhood has one colour.

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> y = LocalContrastNormalization(15)(pictures)
    """

    # The quotient of two small numbers is as exact as they are, and eight bits would round both to 0.
    exact_inputs = (0,)

    def __init__(self, size: int = 15, least: float = 0.01, **kwargs: Any) -> None:
        super().__init__(**({"autocast": False} | kwargs))
        check_positive_integer("size", size)
        if size % 2 == 0:
            raise ValueError(f"size must be odd, received {size!r}")
        check_number("least", least, 0)
        if least == 0:
            raise ValueError("least must be positive, as areas of one colour have no deviation, received 0")
        self.size, self.least = size, least

    def call(self, inputs: Any) -> Any:
        """Subtract the local mean, and divide by the local deviation of the result."""
        x = at_least_float32(inputs)
        x = x - self._mean(x)
        # The square root of 0 has no gradient, so the limit is applied before it.
        deviation = ops.sqrt(ops.maximum(self._mean(ops.square(x)), self.least**2))
        return ops.cast(x / deviation, self.compute_dtype)

    def _mean(self, x: Any) -> Any:
        """Average over rows, then columns: the pixels beyond the border do not count."""
        for window in ((self.size, 1), (1, self.size)):
            x = ops.average_pool(x, window, strides=1, padding="same")
        return x

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the output, which has the shape of the input."""
        return keras.KerasTensor(inputs.shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"size": self.size, "least": self.least}
