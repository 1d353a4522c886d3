"""The layer that crops the regions of R-CNN from a picture."""

from typing import Any

import keras
from keras import ops

from keras_segattn.ops.crop_and_warp import check_crop, crop_and_warp


@keras.saving.register_keras_serializable(package="keras_segattn")
class CropAndWarp(keras.layers.Layer):
    """Crops boxes with some context from pictures, and warps them to one size; see `ops.crop_and_warp`.

    Args:
        output_size: height and width S of a crop, in pixels.
        padding: width of the context in a crop, in pixels.
        mode: `"warp"`, which changes the aspect ratio of a box, or `"square"`, which crops the square around it.

    Call arguments:
        images: pictures `(batch, height, width, channels)`, normalised so that the mean colour is 0.
        boxes: `(batch, R, 4)` in pixels of the pictures, which are read in float32 whatever the dtype policy.

    Output:
        `(batch, R, S, S, channels)` in the layer's compute dtype.

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> CropAndWarp(227)(preprocess_input(images), boxes).shape
        TensorShape([1, 2000, 227, 227, 3])
    """

    # For int8 export: the boxes stay float where the rest of a network is int8.
    exact_inputs = ()

    def __init__(self, output_size: int, padding: int = 16, mode: str = "warp", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Half precision does not hold a coordinate: only the pictures are cast, not the boxes.
        self.autocast = False
        check_crop(output_size, padding, mode)
        self.output_size, self.padding, self.mode = output_size, padding, mode

    def call(self, images: Any, boxes: Any) -> Any:
        """Crop `boxes` from `images`."""
        return crop_and_warp(ops.cast(images, self.compute_dtype), boxes, self.output_size, self.padding, self.mode)

    def compute_output_spec(self, images: Any, boxes: Any) -> keras.KerasTensor:
        """Describe the output: one crop per region."""
        shape = (images.shape[0], boxes.shape[1], self.output_size, self.output_size, images.shape[-1])
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {name: getattr(self, name) for name in ("output_size", "padding", "mode")}
