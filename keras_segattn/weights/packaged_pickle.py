"""Pickled NumPy arrays, as some packages ship their weights: `{layer: [kernel, bias]}` in Keras's layout."""

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_segattn.weights.restricted import Allowed, RestrictedUnpickler, corrupt_as
from keras_segattn.weights.weight_file import WeightFile, unreadable

FORMAT = "pickle of NumPy arrays {layer: [kernel, bias]}"


class _Dtype:
    """Stands for `numpy.dtype`: a type such as `"f4"`, and the byte order that its state adds."""

    def __init__(self, code: str, *_flags: Any) -> None:
        self.code = code
        self.order = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def numpy(self) -> np.dtype:
        dtype = np.dtype(self.order + self.code)
        if dtype.kind not in "fiu":
            raise TypeError(f"an array of {dtype}")
        return dtype


class _Array:
    """Stands for `numpy.ndarray`: its state is (version, shape, dtype, Fortran order, bytes)."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def numpy(self) -> np.ndarray:
        _version, shape, dtype, fortran, raw = self.state
        values = np.frombuffer(raw, dtype.numpy())
        if math.prod(shape) != values.size:
            raise ValueError(f"{values.size} numbers for shape {shape}")
        return values.reshape(shape, order="F" if fortran else "C")


class _NumpyUnpickler(RestrictedUnpickler):
    def resolve(self, module: str, name: str) -> Any:
        return {
            "numpy.ndarray": Allowed(_Array),
            "numpy.dtype": Allowed(_Dtype),
            "numpy.core.multiarray._reconstruct": Allowed(lambda *_arguments: _Array()),
            "numpy._core.multiarray._reconstruct": Allowed(lambda *_arguments: _Array()),
        }.get(f"{module}.{name}")


def read(path: Path) -> WeightFile:
    """Read a pickle of `{layer: [kernel, bias]}` or `{layer: [kernel]}` without executing anything in it.

    Args:
        path: path of the file; kernels are (height, width, in, out) or (in, out).

    Returns:
        Tensors named `"layer.kernel"` and `"layer.bias"`.

    Raises:
        WeightsError: if the file is corrupt or holds anything but such arrays.
    """
    with corrupt_as(path, f"a {FORMAT}"):
        content = _NumpyUnpickler(io.BytesIO(path.read_bytes())).load()
        if not isinstance(content, Mapping):
            raise unreadable(path, f"a {FORMAT}", type(content).__name__)
        tensors = {}
        for layer, arrays in content.items():
            if not isinstance(arrays, list) or not 1 <= len(arrays) <= 2:
                raise unreadable(path, f"a {FORMAT}", f"{type(arrays).__name__} under {layer!r}")
            for leaf, array in zip(("kernel", "bias"), arrays, strict=False):
                if not isinstance(array, _Array):
                    raise unreadable(path, f"a {FORMAT}", f"{type(array).__name__} under {layer!r}")
                tensors[f"{layer}.{leaf}"] = array.numpy()
    return WeightFile(path, FORMAT, "keras", tensors)
