"""The texton map: for every pixel, the nearest of the centres of clusters of filter responses."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_positive_integer
from keras_segattn.layers.coordinates import AtLeastFloat32

# Number of textons whose distances to all pixels are in memory at a time.
CHUNK = 50


@keras.saving.register_keras_serializable(package="keras_segattn")
class NearestTexton(AtLeastFloat32, keras.layers.Layer):
    """Assigns every pixel to its nearest texton (Shotton et al., IJCV 2009, section 3.1).

    The weights, `centres` `(textons, channels)`, are learned by k-means, not by gradients. Textons are compared in
    chunks, which bounds the memory. Of equally near textons the first is chosen.

    Args:
        textons: number of textons.

    Call arguments:
        inputs: whitened filter responses `(batch, height, width, channels)`.

    Output:
        Texton map, int32 `(batch, height, width)` in `0..textons - 1`.

    Raises:
        ValueError: if `textons` is not a positive integer.

    Example:
        >>> NearestTexton(400)(whitened).shape
        TensorShape([2, 180, 240])
    """

    def __init__(self, textons: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive_integer("textons", textons)
        self.textons = textons

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the centres, initially random."""
        normal = keras.initializers.RandomNormal(stddev=1.0)
        shape = (self.textons, shape[-1])
        self.centres = self.add_weight(name="centres", shape=shape, initializer=normal, trainable=False)

    def call(self, inputs: Any) -> Any:
        """Compare every pixel with all textons, a chunk at a time."""
        x = ops.cast(inputs, self.compute_dtype)
        # Transposed here, as TFLite's converter mixes up the constants of a transposition inside a loop of one step.
        centres = ops.transpose(ops.cast(self.centres, x.dtype))
        size = min(CHUNK, self.textons)

        def compare(step: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
            nearest, least = state
            # The last chunk begins early enough to be whole; its first textons are compared twice.
            first = ops.minimum(step * size, self.textons - size)
            chunk = ops.slice(centres, (0, first), (x.shape[-1], size))
            # Squared distances without |x|², which is the same for all textons.
            distances = ops.sum(ops.square(chunk), axis=0) - 2 * ops.matmul(x, chunk)
            here = ops.min(distances, axis=-1, initial=float("inf"))
            numbers = ops.arange(size, dtype="int32")
            place = ops.min(ops.where(distances <= here[..., None], numbers, size), axis=-1, initial=size)
            return ops.where(here < least, first + place, nearest), ops.minimum(here, least)

        shape = ops.shape(x)[:3]
        start = ops.zeros(shape, "int32"), ops.full(shape, float("inf"), x.dtype)
        nearest, _ = ops.fori_loop(0, -(-self.textons // size), compare, start)
        return nearest

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the texton map."""
        return keras.KerasTensor(inputs.shape[:3], "int32")

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"textons": self.textons}
