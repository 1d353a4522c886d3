"""An initialiser that makes a transposed convolution start as bilinear up-sampling of each channel."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_segattn.ops import bilinear_kernel


@keras.saving.register_keras_serializable(package="keras_segattn")
class BilinearInitializer(keras.initializers.Initializer):
    """Bilinear interpolation on the channel diagonal, zero elsewhere (Long et al. 2015, section 3.3).

    A `Conv2DTranspose` with kernel `2f` and stride `f` then starts as up-sampling by `f`.

    Example:
        >>> up = keras.layers.Conv2DTranspose(21, 4, 2, use_bias=False, kernel_initializer=BilinearInitializer())
    """

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        """Make the kernel of a transposed convolution.

        Args:
            shape: `(size, size, channels, channels)`.
            dtype: floating dtype of the result; the Keras default if `None`.

        Raises:
            ValueError: if the kernel is not square or the channels differ.
        """
        if len(shape) != 4 or shape[0] != shape[1] or shape[2] != shape[3]:
            raise ValueError(f"a bilinear kernel has shape (size, size, channels, channels), received {tuple(shape)}")
        kernel = bilinear_kernel(shape[0])[:, :, None, None] * np.eye(shape[2], dtype="float32")
        return ops.convert_to_tensor(kernel, dtype=dtype or keras.config.floatx())

    def clone(self) -> "BilinearInitializer":
        """Return an equal initialiser; there is no state to share."""
        return BilinearInitializer()
