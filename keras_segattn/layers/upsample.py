"""Up-sampling by an integer factor, also of maps whose size is known only when the model runs."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice, check_positive_integer


@keras.saving.register_keras_serializable(package="keras_segattn")
class Upsample(keras.layers.Layer):
    """Multiplies height and width by a factor.

    `keras.layers.UpSampling2D` interpolates bilinearly only if the size is known when the model is built.

    Args:
        factor: factor of both height and width.
        interpolation: `"nearest"` to repeat pixels, or `"bilinear"` to interpolate between their centres.

    Call arguments:
        inputs: `(batch, height, width, channels)`.

    Output:
        `(batch, factor · height, factor · width, channels)` in the layer's compute dtype.

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> Upsample(2)(keras.ops.ones((1, 4, 5, 8))).shape
        TensorShape([1, 8, 10, 8])
    """

    def __init__(self, factor: int, interpolation: str = "nearest", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive_integer("factor", factor)
        check_choice("interpolation", interpolation, ("nearest", "bilinear"))
        self.factor, self.interpolation = factor, interpolation

    def call(self, inputs: Any) -> Any:
        """Resize the maps with half-pixel centres."""
        inputs = ops.cast(inputs, self.compute_dtype)
        _, height, width, _ = ops.shape(inputs)
        resized = ops.image.resize(
            inputs,
            (height * self.factor, width * self.factor),
            interpolation=self.interpolation,
            data_format="channels_last",
        )
        return ops.cast(resized, self.compute_dtype)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the larger map."""
        batch, height, width, channels = inputs.shape
        height, width = (None if side is None else side * self.factor for side in (height, width))
        return keras.KerasTensor((batch, height, width, channels), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"factor": self.factor, "interpolation": self.interpolation}
