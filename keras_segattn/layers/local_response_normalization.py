"""Local response normalisation across channels, as AlexNet, CaffeNet and GoogLeNet use it."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_segattn")
class LocalResponseNormalization(keras.layers.Layer):
    """Computes `x / (bias + alpha / size * Σ x²)^beta`, with the sum over `size` neighbouring channels.

    Krizhevsky et al. 2012, section 3.3, in Caffe's and torch's convention: `alpha` is divided by `size`
    (`tf.nn.local_response_normalization` does not divide).

    Args:
        size: number of channels in the window, odd.
        alpha: scale of the sum of squares.
        beta: exponent.
        bias: constant that keeps the denominator from zero.

    Call arguments:
        inputs: `(batch, height, width, channels)`.

    Output:
        Tensor of the same shape, in the layer's compute dtype.

    Raises:
        ValueError: if `size` is not odd and positive.
    """

    def __init__(
        self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if size < 1 or size % 2 == 0:
            raise ValueError(f"size must be odd and positive, received {size!r}")
        self.size, self.alpha, self.beta, self.bias = size, alpha, beta, bias

    def call(self, inputs: Any) -> Any:
        """Normalise `inputs`; squares and power are taken in float32 at least, as float16 would overflow."""
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        channels, half = x.shape[-1], self.size // 2
        squares = ops.pad(ops.square(x), [(0, 0), (0, 0), (0, 0), (half, half)])
        window = squares[..., :channels]
        for first in range(1, self.size):
            window = window + squares[..., first : first + channels]
        return ops.cast(x * ops.power(self.bias + self.alpha / self.size * window, -self.beta), self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        settings = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "bias": self.bias}
        return super().get_config() | settings
