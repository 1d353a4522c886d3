"""CIELab: colours whose Euclidean distances are about as large as they look."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_segattn.layers.coordinates import AtLeastFloat32

# Linear sRGB → XYZ (IEC 61966-2-1), and the white point D65 of the 2° observer.
XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
WHITE = np.array([0.95047, 1.0, 1.08883])
# Red, green and blue → the luminance L*, green to red a* and blue to yellow b*, after the cube roots of X, Y and Z.
LAB = np.array([[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]])


@keras.saving.register_keras_serializable(package="keras_segattn")
class CIELab(AtLeastFloat32, keras.layers.Layer):
    """Converts sRGB to CIELab, with gamma correction and the white point D65, as `skimage.color.rgb2lab`.

    Call arguments:
        inputs: RGB pictures `(..., 3)` of 0..1.

    Output:
        `(..., 3)`: L* in 0..100, and a* and b* in about -128..127, in float32 at least.

    Raises:
        ValueError: if the pictures do not have three channels.

    Example:
        >>> CIELab()(np.array([[[[1.0, 1.0, 1.0]]]]))
        [[[[100.0, 0.0, 0.0]]]]
    """

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Check the number of channels; there are no weights."""
        if shape[-1] != 3:
            raise ValueError(f"layer {self.name!r} converts RGB pictures (..., 3), received {shape}")

    def call(self, inputs: Any) -> Any:
        """Undo the gamma correction, mix the channels to X, Y and Z, and take their cube roots."""
        x = ops.cast(inputs, self.compute_dtype)
        linear = ops.where(x > 0.04045, ops.power((x + 0.055) / 1.055, 2.4), x / 12.92)
        xyz = _mixed(linear, XYZ / WHITE[:, None])
        roots = ops.where(xyz > 0.008856, ops.power(xyz, 1 / 3), 7.787 * xyz + 16 / 116)
        return _mixed(roots, LAB) - ops.convert_to_tensor([16.0, 0.0, 0.0], x.dtype)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the output: the input's shape in float32, or float64 if the policy says so."""
        return keras.KerasTensor(inputs.shape, self.compute_dtype)


def _mixed(x: Any, matrix: np.ndarray) -> Any:
    """Multiply the channels of every pixel by a matrix."""
    return ops.matmul(x, ops.convert_to_tensor(matrix.T, x.dtype))
