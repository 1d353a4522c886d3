"""The filter bank of TextonBoost."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_segattn.arguments import check_number
from keras_segattn.layers.coordinates import AtLeastFloat32
from keras_segattn.ops.loop_sums import loop_sum
from keras_segattn.ops.mirror_padding import mirror_padding

# Standard deviations of the filters in units of κ pixels.
GAUSSIANS, LAPLACIANS, DERIVATIVES = (1, 2, 4), (1, 2, 4, 8), (2, 4)
# Number of responses that depend on the luminance only.
OF_LUMINANCE = len(LAPLACIANS) + 2 * len(DERIVATIVES)
# Half-width of a filter in standard deviations.
REACH = 3


@keras.saving.register_keras_serializable(package="keras_segattn")
class TextonFilters(AtLeastFloat32, keras.layers.Layer):
    """Filters pictures by Gaussians, Laplacians and derivatives of Gaussians (Shotton et al., IJCV 2009, section 3.1).

    With standard deviations of κ times 1, 2, 4 and 8 pixels:

    * Gaussians `G = exp(-r² / 2σ²) / 2πσ²` of all channels, σ = 1, 2, 4;
    * Laplacians `(r² - 2σ²) / σ⁴ · G` of the first channel, σ = 1, 2, 4, 8;
    * derivatives along x and y, `-x / σ² · G` and `-y / σ² · G`, of the first channel, σ = 2, 4.

    Kernels are isotropic, sampled at whole pixels, reach `⌈3σ⌉` pixels, and are applied as convolutions, with the
    picture mirrored at its border. All are sums of products of a filter along x and one along y.

    Args:
        kappa: scale κ of all filters, in pixels.

    Call arguments:
        inputs: `(batch, height, width, channels)`; the first channel is the luminance.

    Output:
        `(batch, height, width, 3 channels + 8)`, in float32 at least: Gaussians (by σ, then by channel), Laplacians
        (by σ), derivatives (by σ, x before y). CIELab pictures have 17 responses.

    Raises:
        ValueError: if κ is not a positive number.

    Example:
        >>> TextonFilters()(lab_pictures).shape
        TensorShape([2, 180, 240, 17])
    """

    def __init__(self, kappa: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_number("kappa", kappa, 1e-3)
        self.kappa = kappa

    def call(self, inputs: Any) -> Any:
        """Filter pictures along x, then along y, at one scale after the other."""
        x, channels = ops.cast(inputs, self.compute_dtype), inputs.shape[-1]
        widest = reach(self.kappa * LAPLACIANS[-1])
        # Maps come before rows and columns, which are then contiguous.
        padded = ops.transpose(mirror_padding(x, widest, widest), (0, 3, 1, 2))
        _, _, height, width = ops.shape(padded)
        found: dict[tuple[str, int], Any] = {}
        for scale in LAPLACIANS:
            margin = widest - reach(self.kappa * scale)
            part = padded[:, :, margin : height - margin, margin : width - margin]
            names, *steps = separable_filters(scale, self.kappa, channels)
            for axis, (sources, kernel) in zip((3, 2), steps, strict=True):
                part = filtered(ops.take(part, sources, axis=1), ops.convert_to_tensor(kernel, x.dtype), axis)
            found |= {name: part[:, place : place + 1] for place, name in enumerate(names)}
            found["laplacian", scale] += part[:, -1:]
        maps = ops.concatenate([found[name] for name in response_names(channels)], axis=1)
        return ops.transpose(maps, (0, 2, 3, 1))

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the responses."""
        return keras.KerasTensor((*inputs.shape[:3], responses(inputs.shape[-1])), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"kappa": self.kappa}


def responses(channels: int) -> int:
    """Return the number of responses to a picture of so many channels."""
    return len(GAUSSIANS) * channels + OF_LUMINANCE


def reach(sigma: float) -> int:
    """Return the half-width of a filter in pixels."""
    return math.ceil(REACH * sigma)


def response_names(channels: int) -> list[tuple[str, int]]:
    """Return kind and scale of the responses in their order; Gaussians are called `G` and the number of the channel."""
    gaussians = [(f"G{channel}", scale) for scale in GAUSSIANS for channel in range(channels)]
    laplacians = [("laplacian", scale) for scale in LAPLACIANS]
    return [*gaussians, *laplacians, *((axis, scale) for scale in DERIVATIVES for axis in "xy")]


def separable_filters(
    scale: int, kappa: float, channels: int
) -> tuple[list[tuple[str, int]], tuple[list[int], np.ndarray], tuple[list[int], np.ndarray]]:
    """Return the filters of one scale as two steps, along x and then along y.

    The Laplacian is a sum of two products, of which the second one is an additional last map.

    Args:
        scale: scale of the filters.
        kappa: unit of the scale in pixels.
        channels: number of channels of the picture.

    Returns:
        Names of the responses, and for each step the maps that are filtered and the kernels `(maps, size)`.
    """
    sigma = kappa * scale
    x = np.arange(-reach(sigma), reach(sigma) + 1.0)
    g = np.exp(-(x**2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma)
    second = (x**2 - sigma**2) / sigma**4 * g
    derivative = x / sigma**2 * g  # a convolution turns the kernel round, which changes its sign
    names = [name for name in response_names(channels) if name[1] == scale]
    # Maps after the first step: every channel or only the luminance, then derivatives of the luminance.
    colours = channels if scale in GAUSSIANS else 1
    first = [(channel, g) for channel in range(colours)] + [(0, second)] + [(0, derivative)] * (scale in DERIVATIVES)
    of_kinds = {"laplacian": (colours, g), "x": (colours + 1, g), "y": (0, derivative)}
    of_kinds |= {f"G{channel}": (channel, g) for channel in range(channels)}
    then = [*(of_kinds[kind] for kind, _ in names), (0, second)]
    along_x, along_y = (([place for place, _ in step], np.stack([one for _, one in step])) for step in (first, then))
    return names, along_x, along_y


def filtered(x: Any, kernel: Any, axis: int) -> Any:
    """Filter every map along one axis by a kernel of its own, without padding.

    The terms are added one after the other, so that all runtimes round alike and assign pixels to the same textons.

    Args:
        x: maps `(batch, maps, height, width)`.
        kernel: kernels `(maps, size)`.
        axis: 2 to filter along the height, 3 to filter along the width.
    """
    maps, taps = kernel.shape
    shape = [*ops.shape(x)]
    shape[axis] = shape[axis] - taps + 1

    def term(tap: Any) -> Any:
        part = ops.slice(x, [tap if one == axis else 0 for one in range(4)], shape)
        return part * ops.slice(kernel, (0, tap), (maps, 1))[:, :, None]

    return loop_sum(term, taps)
