"""The dtypes in which coordinates and pixels are computed."""

from typing import Any

import keras
from keras import ops


def coordinates(*tensors: Any) -> list[Any]:
    """Return tensors in one dtype: float64 if one of them is float64, else float32.

    Half precision cannot tell the pixels of a picture apart, and integers would cut off the fractions of results.
    """
    converted = [ops.convert_to_tensor(x) for x in tensors]
    dtype = keras.backend.result_type("float32", *(x.dtype for x in converted))
    return [ops.cast(x, dtype) for x in converted]


def at_least_float32(x: Any) -> Any:
    """Return `x` in float64 if it is float64, else in float32."""
    return coordinates(x)[0]


def as_floats(x: Any) -> Any:
    """Return pixels of a floating dtype unchanged, and integers in float32, as interpolation makes fractions."""
    x = ops.convert_to_tensor(x)
    return x if keras.backend.is_float_dtype(x.dtype) else ops.cast(x, "float32")
