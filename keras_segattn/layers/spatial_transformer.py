"""Spatial transformers (Jaderberg, Simonyan, Zisserman & Kavukcuoglu, NIPS 2015, arXiv 1506.02025)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice, check_positive_integer, is_integer
from keras_segattn.layers.coordinates import CoordinateDense
from keras_segattn.ops.dtypes import at_least_float32
from keras_segattn.ops.grid_sample import INTERPOLATIONS, PADDINGS, grid_sample
from keras_segattn.ops.transformations import TRANSFORMATIONS


@keras.saving.register_keras_serializable(package="keras_segattn")
class SpatialTransformer(keras.layers.Layer):
    """Warps a picture or feature map by a transformation that a network predicts for it (figure 2).

    With a `localisation` network the layer predicts the parameters itself, through a linear layer that starts at the
    identity (`parameter_layer`). Without one, the parameters are the second argument of the call.

    Args:
        transform: `"affine"` (6 parameters, row by row of A in equation 1), `"attention"` (3: scale and translation
            (x, y), equation 2), `"translation"` (2, at a fixed `scale`), `"rotation"` (1, radians), `"projective"` (8,
            row by row, the ninth is 1) or `"thin_plate_spline"` (32, offsets (x, y) of 4×4 control points).
        localisation: Keras model, or function of a symbolic tensor, that maps the layer's input to features; `None` if
            the parameters are given in the call.
        output_size: (rows, columns), or one number for both; `None` keeps the size of the input.
        count: number of transformers that read the input in parallel; `None` is one, and the output has no axis for it.
        interpolation: interpolation between pixels, see `ops.grid_sample`.
        padding: padding rule, see `ops.grid_sample`.
        align_corners: whether -1 and 1 are the centres of the outermost pixels, see `ops.grid_sample`.
        scale: scale of `"translation"`: side of the region that is read ÷ side of the input.

    Call arguments:
        inputs: `(batch, height, width, channels)`.
        theta: parameters `(batch, P)` or `(batch, count · P)`, only without a localisation network.

    Output:
        `(batch, rows, columns, channels)`, or with `count` `(batch, count, rows, columns, channels)`; with a
        localisation network a pair of this and the parameters.

    Raises:
        ValueError: if an argument or shape is wrong.

    Example:
        >>> def localisation(x):
        ...     return keras.layers.Dense(32, "relu")(keras.layers.Flatten()(x))
        >>> rectified, theta = SpatialTransformer("affine", localisation)(keras.Input((28, 28, 1)))
    """

    # For int8 export: layers that compute `theta` stay float, because eight bits would shift points by whole pixels.
    exact_inputs = (1,)

    def __init__(
        self,
        transform: str = "affine",
        localisation: keras.Model | Callable[[Any], Any] | None = None,
        output_size: int | Sequence[int] | None = None,
        count: int | None = None,
        interpolation: str = "bilinear",
        padding: str = "zeros",
        align_corners: bool = True,
        scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("transform", transform, TRANSFORMATIONS)
        check_choice("interpolation", interpolation, INTERPOLATIONS)
        check_choice("padding", padding, PADDINGS)
        check_choice("align_corners", align_corners, (True, False))
        if localisation is not None and not callable(localisation):
            raise ValueError(f"localisation must be a Keras model or a function, received {localisation!r}")
        if count is not None:
            check_positive_integer("count", count)
        if not 0 < scale < math.inf or (scale != 1 and transform != "translation"):
            raise ValueError(f"scale must be a positive number, and 1 but for 'translation', received {scale!r}")
        if output_size is not None:
            output_size = (output_size,) * 2 if is_integer(output_size) else output_size
            if not isinstance(output_size, tuple | list) or len(output_size) != 2:
                raise ValueError(f"output_size must be (rows, columns), received {output_size!r}")
            output_size = tuple(output_size)
            for size in output_size:
                check_positive_integer("output_size", size)
        self.transform, self.output_size, self.count = transform, output_size, count
        self.localisation: Any = localisation
        self.scale = scale
        self.interpolation, self.padding, self.align_corners = interpolation, padding, align_corners
        # Half precision would round positions to about whole pixels: only the picture is cast, not the parameters.
        self.autocast = False
        self.theta: Any = None
        if localisation is not None:
            self.theta = parameter_layer(transform, count, name="theta", dtype=self.dtype_policy)
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def build(self, inputs_shape: tuple[int | None, ...], theta_shape: Any = None) -> None:
        """Check the shapes, and make the localisation network."""
        if len(inputs_shape) != 4:
            raise ValueError(f"expected inputs (batch, height, width, channels), received {inputs_shape}")
        if (theta_shape is None) is (self.localisation is None):
            raise ValueError("expected a localisation network or, in the call, theta: one of them and not both")
        if self.localisation is None:
            expected = parameter_count(self.transform, self.count)
            if len(theta_shape) != 2 or theta_shape[-1] != expected:
                raise ValueError(f"expected theta (batch, {expected}), received {theta_shape}")
            return
        if not isinstance(self.localisation, keras.Model):
            image = keras.Input(inputs_shape[1:])
            self.localisation = keras.Model(image, self.localisation(image), name="localisation")
        self._features = keras.layers.Flatten("channels_last")
        self.theta.build(self._features.compute_output_shape(self.localisation.compute_output_shape(inputs_shape)))

    def call(self, inputs: Any, theta: Any = None) -> Any:
        """Warp `inputs`; with a localisation network, return the parameters too."""
        inputs = ops.cast(inputs, self.compute_dtype)
        if self.localisation is None:
            return self.warp(inputs, theta)
        theta = self.theta(self._features(self.localisation(inputs)))
        return self.warp(inputs, theta), theta

    def warp(self, inputs: Any, theta: Any) -> Any:
        """Warp `inputs` by given parameters."""
        rows, columns = self.output_size or inputs.shape[1:3]
        # The grids of parallel transformers are stacked vertically, so that all read the same picture.
        grid = self.grid(theta, (rows, columns))
        grid = ops.reshape(grid, (-1, (self.count or 1) * rows, columns, 2))
        warped = grid_sample(inputs, grid, self.interpolation, self.padding, self.align_corners)
        if self.count is None:
            return warped
        return ops.reshape(warped, (-1, self.count, rows, columns, inputs.shape[-1]))

    def grid(self, theta: Any, size: tuple[int, int]) -> Any:
        """Return the points that an output of `size` reads, `(batch · (count or 1), rows, columns, 2)`."""
        theta = ops.reshape(at_least_float32(theta), (-1, parameter_count(self.transform)))
        if self.scale != 1:
            theta = ops.pad(theta, ((0, 0), (1, 0)), constant_values=self.scale)
            return TRANSFORMATIONS["attention"].grid(theta, size, self.align_corners)
        return TRANSFORMATIONS[self.transform].grid(theta, size, self.align_corners)

    def compute_output_spec(self, inputs: Any, theta: Any = None) -> Any:
        """Describe the output: a picture of the output's size and, with a localisation network, the parameters."""
        size = self.output_size or inputs.shape[1:3]
        if None in size:
            raise ValueError(f"inputs of open size {tuple(inputs.shape)} need an output_size")
        parallel = () if self.count is None else (self.count,)
        warped = keras.KerasTensor((inputs.shape[0], *parallel, *size, inputs.shape[-1]), dtype=self.compute_dtype)
        if self.localisation is None:
            return warped
        parameters = parameter_count(self.transform, self.count)
        return warped, keras.KerasTensor((inputs.shape[0], parameters), dtype=self.theta.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        names = ("transform", "output_size", "scale", "count", "interpolation", "padding", "align_corners")
        localisation = keras.saving.serialize_keras_object(self.localisation)
        return super().get_config() | {name: getattr(self, name) for name in names} | {"localisation": localisation}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SpatialTransformer":
        """Rebuild the layer with its localisation network."""
        return cls(**config | {"localisation": keras.saving.deserialize_keras_object(config["localisation"])})


def parameter_count(transform: str, count: int | None = None) -> int:
    """Return how many numbers a localisation network predicts for `count` transformers."""
    return len(TRANSFORMATIONS[transform].identity) * (count or 1)


def parameter_layer(
    transform: str, count: int | None, name: str, start: Sequence[float] = (), dtype: Any = None
) -> CoordinateDense:
    """Make the last layer of a localisation network: zero kernel, and as bias the identity or the parameters `start`.

    It computes in float32 whatever the dtype policy.
    """
    bias = list(start) or list(TRANSFORMATIONS[transform].identity) * (count or 1)
    return CoordinateDense(
        len(bias),
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(bias),
        dtype=dtype,
        name=name,
    )
