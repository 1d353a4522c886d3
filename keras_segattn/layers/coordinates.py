"""Layers that compute coordinates in float32 at least, whatever their dtype policy: half precision is too coarse."""

from typing import Any

import keras
from keras import ops


class AtLeastFloat32:
    """Mixin of layers that compute in float32, or in float64 if their dtype policy says so.

    From 512 pixels on, bfloat16 is 4 pixels coarse, and float16 half a pixel. Keras asks for `compute_dtype` at every
    call, so that changes of a layer's policy have no effect on it either.
    """

    @property
    def compute_dtype(self) -> str:
        """Dtype to which Keras casts floating inputs and weights."""
        policy: str = super().compute_dtype  # type: ignore[misc]
        return "float64" if policy == "float64" else "float32"


class CoordinateLayer(keras.layers.Layer):
    """Base of the layers of boxes, masks and sizes, which compute in float32 and return it."""

    @property
    def compute_dtype(self) -> str:
        """Dtype to which Keras casts floating inputs and weights, whatever the dtype policy."""
        return "float32"

    def zeros(self, batch: Any, *inputs: Any) -> Any:
        """Return the output for `batch` images in which there is nothing: zeros of the described shapes and dtypes."""
        return keras.tree.map_structure(
            lambda x: ops.zeros((batch, *x.shape[1:]), x.dtype), self.compute_output_spec(*inputs)
        )


@keras.saving.register_keras_serializable(package="keras_segattn")
class CoordinateConcatenate(AtLeastFloat32, keras.layers.Concatenate):
    """`keras.layers.Concatenate` in float32 at least, for boxes or parameters of transformations.

    Example:
        >>> CoordinateConcatenate(axis=1, dtype="mixed_bfloat16")([boxes, other_boxes]).dtype
        tf.float32
    """


@keras.saving.register_keras_serializable(package="keras_segattn")
class CoordinateDense(AtLeastFloat32, keras.layers.Dense):
    """`keras.layers.Dense` in float32 at least, to predict parameters of transformations.

    Example:
        >>> CoordinateDense(6, dtype="mixed_bfloat16")(features).dtype
        tf.float32
    """
