"""Caffe's Crop layer: cut one map to the size of another."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import is_integer


@keras.saving.register_keras_serializable(package="keras_segattn")
class CropToReference(keras.layers.Layer):
    """Keeps rows and columns `offset : offset + size` of a map, where `size` is the size of a reference map.

    This is a layer because height and width may be known only when the model runs.

    Args:
        offset: first row and column that is kept, in pixels of the map.

    Call arguments:
        inputs: the map `(batch, height, width, channels)`.
        reference: tensor `(batch, h, w, any)`; only its size is read.

    Output:
        `(batch, h, w, channels)` in the map's dtype.

    Raises:
        ValueError: if the offset is negative, or a map of known size is too small for the crop.
    """

    def __init__(self, offset: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not is_integer(offset) or offset < 0:
            raise ValueError(f"offset must be a non-negative integer, received {offset!r}")
        self.offset = offset

    def call(self, inputs: Any, reference: Any) -> Any:
        """Crop `inputs` to the height and width of `reference`."""
        _, height, width, _ = ops.shape(reference)
        return inputs[:, self.offset : self.offset + height, self.offset : self.offset + width, :]

    def compute_output_spec(self, inputs: Any, reference: Any) -> keras.KerasTensor:
        """Describe the crop; sizes known only at run time stay `None`."""
        for have, want in zip(inputs.shape[1:3], reference.shape[1:3], strict=True):
            if have is not None and want is not None and have < self.offset + want:
                raise ValueError(
                    f"layer {self.name!r} cannot crop {want} pixels at offset {self.offset} from {have}: "
                    f"shapes {inputs.shape} and {reference.shape}"
                )
        shape = (inputs.shape[0], *reference.shape[1:3], inputs.shape[3])
        return keras.KerasTensor(shape, dtype=inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"offset": self.offset}
