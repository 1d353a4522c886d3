"""Pickled NumPy arrays: `{layer: [kernel, bias]}` in Keras's layout, or a state dict in PyTorch's."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_segattn.weights.pickled_arrays import PickledArray, array_names
from keras_segattn.weights.restricted import RestrictedUnpickler, corrupt_as
from keras_segattn.weights.state_dicts import alternatives, state_dicts
from keras_segattn.weights.weight_file import WeightFile, unreadable

FORMAT = "pickle of NumPy arrays {layer: [kernel, bias]}"
STATE_DICT = "pickled state dict of NumPy arrays"


class _NumpyUnpickler(RestrictedUnpickler):
    def resolve(self, module: str, name: str) -> Any:
        return array_names().get(f"{module}.{name}") or super().resolve(module, name)


def read(path: Path) -> WeightFile:
    """Read a pickle of `{layer: [kernel, bias]}`, or a state dict of PyTorch as arrays, without executing anything.

    Args:
        path: path of the file; in lists, kernels are (height, width, in, out) or (in, out), in state dicts as in
            PyTorch.

    Returns:
        Tensors named `"layer.kernel"` and `"layer.bias"`, or as in the state dict.

    Raises:
        WeightsError: if the file is corrupt or holds anything but such arrays.
    """
    with corrupt_as(path, f"a {FORMAT}"):
        content = _NumpyUnpickler(io.BytesIO(path.read_bytes())).load()
        if not isinstance(content, Mapping):
            raise unreadable(path, f"a {FORMAT}", type(content).__name__)
        lists = all(isinstance(arrays, list) for arrays in content.values())
        if not lists and (states := state_dicts(content, lambda _value: False)):
            return alternatives([state.weight_file(path, STATE_DICT, PickledArray.numpy) for state in states])
        tensors = {}
        for layer, arrays in content.items():
            if not isinstance(arrays, list) or not 1 <= len(arrays) <= 2:
                raise unreadable(path, f"a {FORMAT}", f"{type(arrays).__name__} under {layer!r}")
            for leaf, array in zip(("kernel", "bias"), arrays, strict=False):
                if not isinstance(array, PickledArray):
                    raise unreadable(path, f"a {FORMAT}", f"{type(array).__name__} under {layer!r}")
                tensors[f"{layer}.{leaf}"] = array.numpy()
    return WeightFile(path, FORMAT, "keras", tensors)
