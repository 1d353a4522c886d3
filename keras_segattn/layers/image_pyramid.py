"""Image pyramids as a layer: one picture at several scales."""

from typing import Any

import keras

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.ops.dtypes import at_least_float32
from keras_segattn.ops.image_pyramid import gaussian_pyramid, laplacian_pyramid

KINDS = {"gaussian": gaussian_pyramid, "laplacian": laplacian_pyramid}


@keras.saving.register_keras_serializable(package="keras_segattn")
class ImagePyramid(keras.layers.Layer):
    """Makes pictures at scales 1, 1/2, 1/4 … with the 5×5 binomial kernel of Burt and Adelson (1983).

    The pyramid is computed in float32 at least, whatever the dtype policy, as its differences are small.

    Args:
        levels: number of scales.
        kind: `"laplacian"` for bands, of which the coarsest is the blurred picture itself, or `"gaussian"` for blurred
            pictures at all scales.

    Call arguments:
        inputs: `(batch, height, width, channels)`, of any size from 1×1 up.

    Output:
        List of `levels` tensors `(batch, ceil(height / 2^i), ceil(width / 2^i), channels)`, float32, or float64 if the
        input is.

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> [level.shape[1:3] for level in ImagePyramid(3)(keras.ops.ones((1, 240, 320, 3)))]
        [TensorShape([240, 320]), TensorShape([120, 160]), TensorShape([60, 80])]
    """

    def __init__(self, levels: int, kind: str = "laplacian", **kwargs: Any) -> None:
        super().__init__(**({"autocast": False} | kwargs))
        check_positive_integer("levels", levels)
        check_choice("kind", kind, KINDS)
        self.levels, self.kind = levels, kind

    def call(self, inputs: Any) -> list[Any]:
        """Return the levels, the finest first."""
        return KINDS[self.kind](at_least_float32(inputs), self.levels)

    def compute_output_spec(self, inputs: Any) -> list[keras.KerasTensor]:
        """Describe the levels, each of which has half the height and width of the one before."""
        batch, height, width, channels = inputs.shape
        dtype = keras.backend.result_type("float32", inputs.dtype)
        sizes = [
            tuple(None if side is None else -(-side // 2**level) for side in (height, width))
            for level in range(self.levels)
        ]
        return [keras.KerasTensor((batch, *size, channels), dtype) for size in sizes]

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"levels": self.levels, "kind": self.kind}
