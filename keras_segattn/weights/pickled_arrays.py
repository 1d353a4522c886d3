"""Inert classes for NumPy arrays in pickles, which become arrays only after their description has been checked."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_segattn.weights.restricted import Allowed


class PickledType:
    """Stands for `numpy.dtype`: a type such as `"f4"`, and the byte order that its state adds."""

    def __init__(self, code: Any, *_flags: Any) -> None:
        self.code = code
        self.order = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def numpy(self) -> np.dtype:
        """Return the type.

        Raises:
            TypeError: if its values are no real numbers.
        """
        dtype = np.dtype(self.order + self.code)
        if dtype.kind not in "fiub":
            raise TypeError(f"an array of {dtype}")
        return dtype


class PickledArray:
    """Stands for `numpy.ndarray`: its state is (version, shape, dtype, Fortran order, bytes)."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def is_numeric(self) -> bool:
        """Whether the array is of real numbers; arrays of objects and texts are not."""
        try:
            self.state[2].numpy()
        except (TypeError, IndexError, AttributeError):
            return False
        return True

    def numpy(self) -> np.ndarray:
        """Return the array.

        Raises:
            TypeError: if its values are no real numbers.
            ValueError: if its shape does not fit the number of values.
        """
        _version, shape, dtype, fortran, raw = self.state
        values = np.frombuffer(raw, dtype.numpy())
        if math.prod(shape) != values.size:
            raise ValueError(f"{values.size} numbers for shape {shape}")
        return values.reshape(shape, order="F" if fortran else "C")


def array_names() -> Mapping[str, Any]:
    """Return the names by which pickles describe arrays, and what stands for them."""
    names: dict[str, Any] = {
        "numpy.ndarray": Allowed(PickledArray),
        "numpy.dtype": Allowed(PickledType),
        "_codecs.encode": Allowed(_latin1),
    }
    for core in ("numpy.core", "numpy._core"):
        names[f"{core}.multiarray._reconstruct"] = Allowed(lambda *_arguments: PickledArray())
        names[f"{core}.numeric._frombuffer"] = Allowed(_from_buffer)
    return names


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
    array = PickledArray()
    array.state = (1, shape, dtype, order == "F", raw)
    return array


def _latin1(text: str, encoding: str) -> bytes:
    """Undo what protocol 2 does to bytes."""
    if encoding != "latin1":
        raise ValueError(f"bytes encoded as {encoding!r}")
    return text.encode("latin1")
