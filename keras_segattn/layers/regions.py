"""Layers that move regions into the batch axis, where other layers treat them as images, and back out of it."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import is_integer
from keras_segattn.layers.coordinates import CoordinateLayer


@keras.saving.register_keras_serializable(package="keras_segattn")
class MergeRegions(keras.layers.Layer):
    """Reshapes `(batch, regions, …)` to `(batch · regions, …)`: every region becomes an image of its own.

    Example:
        >>> MergeRegions()(keras.ops.ones((2, 100, 7, 7, 256))).shape
        TensorShape([200, 7, 7, 256])
    """

    def call(self, inputs: Any) -> Any:
        """Merge the first two axes of `inputs`."""
        return ops.reshape(inputs, (-1, *inputs.shape[2:]))

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the output: one row per region of every image; `None` if either number is unknown."""
        batch, regions, *rest = inputs.shape
        rows = None if batch is None or regions is None else batch * regions
        return keras.KerasTensor((rows, *rest), dtype=inputs.dtype)


@keras.saving.register_keras_serializable(package="keras_segattn")
class SplitRegions(keras.layers.Layer):
    """Reshapes `(batch · regions, …)` to `(batch, regions, …)`, the inverse of `MergeRegions`.

    Args:
        regions: number of regions per image.

    Raises:
        ValueError: if `regions` is not a positive integer.

    Example:
        >>> SplitRegions(100)(keras.ops.ones((200, 81))).shape
        TensorShape([2, 100, 81])
    """

    def __init__(self, regions: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not is_integer(regions) or regions < 1:
            raise ValueError(f"regions must be a positive integer, received {regions!r}")
        self.regions = regions

    def call(self, inputs: Any) -> Any:
        """Split the first axis of `inputs` into images and regions."""
        return ops.reshape(inputs, (-1, self.regions, *inputs.shape[1:]))

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the output: one image for every `regions` rows; `None` if the number of rows is unknown."""
        rows, *rest = inputs.shape
        batch = None if rows is None else rows // self.regions
        return keras.KerasTensor((batch, self.regions, *rest), dtype=inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"regions": self.regions}


@keras.saving.register_keras_serializable(package="keras_segattn")
class TakeRegion(keras.layers.Layer):
    """Takes one region of every image: `(batch, regions, …)` → `(batch, …)`.

    Args:
        region: index of the region, from 0.

    Raises:
        ValueError: if `region` is not an integer of at least 0.

    Example:
        >>> TakeRegion(1)(keras.ops.ones((2, 4, 224, 224, 3))).shape
        TensorShape([2, 224, 224, 3])
    """

    def __init__(self, region: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not is_integer(region) or region < 0:
            raise ValueError(f"region must be an integer of at least 0, received {region!r}")
        self.region = region

    def call(self, inputs: Any) -> Any:
        """Take the region of `inputs`."""
        return inputs[:, self.region]

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the output: one region per image."""
        return keras.KerasTensor((inputs.shape[0], *inputs.shape[2:]), dtype=inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"region": self.region}


@keras.saving.register_keras_serializable(package="keras_segattn")
class ImageSizes(CoordinateLayer):
    """Reads the sizes of images `(batch, height, width, channels)`: (height, width), float32 `(batch, 2)`.

    Example:
        >>> ImageSizes()(keras.ops.ones((2, 480, 640, 3)))[0]
        <tf.Tensor: shape=(2,), dtype=float32, numpy=array([480., 640.], dtype=float32)>
    """

    def call(self, inputs: Any) -> Any:
        """Return the sizes of `inputs`."""
        batch, height, width, _ = ops.shape(inputs)
        size = ops.stack([ops.cast(height, "float32"), ops.cast(width, "float32")])
        return ops.broadcast_to(size, (batch, 2))

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the output: two numbers per image."""
        return keras.KerasTensor((inputs.shape[0], 2), dtype="float32")


@keras.saving.register_keras_serializable(package="keras_segattn")
class ValidRegions(CoordinateLayer):
    """Marks the valid regions of each image, which come first, by 1.0 and all others by 0.0.

    The input `(batch,)` holds the number of valid regions of each image.

    Args:
        regions: number of regions per image, valid or not.
        repeats: number of times that the marks of an image are repeated, one copy after the other.

    Example:
        >>> ValidRegions(3)(keras.ops.array([2]))
        <tf.Tensor: shape=(1, 3), dtype=float32, numpy=array([[1., 1., 0.]], dtype=float32)>
    """

    def __init__(self, regions: int, repeats: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.regions, self.repeats = regions, repeats

    def call(self, inputs: Any) -> Any:
        """Compare the index of each region with the number of valid ones."""
        slots = ops.tile(ops.arange(self.regions), (self.repeats,))
        return ops.cast(slots[None, :] < ops.cast(inputs, slots.dtype)[:, None], "float32")

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the output: one number per region and repetition."""
        return keras.KerasTensor((inputs.shape[0], self.regions * self.repeats), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"regions": self.regions, "repeats": self.repeats}
