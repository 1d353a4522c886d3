"""`.npz` files of NumPy arrays named after layers, in the layout of Keras or of PyTorch."""

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from keras_segattn.weights.naming import join
from keras_segattn.weights.restricted import corrupt_as
from keras_segattn.weights.weight_file import Layout, WeightFile, unreadable

FORMAT = "NumPy .npz file"
# Names of variables by which PyTorch's layout is recognised.
_TORCH = {"weight", "running_mean", "running_var"}
# Entry of the checkpoints of our own trainers.
_CHECKPOINT = "header"


def is_archive(names: Collection[str]) -> bool:
    """Whether a zip archive of files with these names is a `.npz` file."""
    return bool(names) and all(name.endswith(".npy") for name in names)


def read(path: Path) -> WeightFile:
    """Read the arrays of a `.npz` file; nothing is unpickled.

    Args:
        path: path of a file with arrays named `"layer.variable"` or `"layer/variable"`, as in
            `np.savez(path, **{"conv1.kernel": kernel})`; with variables named as in PyTorch (`weight`), kernels are
            in PyTorch's layout, else in Keras's.

    Returns:
        Tensors named `"layer.variable"`.

    Raises:
        WeightsError: if the file is corrupt, its arrays have no names, or it is the checkpoint of a training run.
    """
    with corrupt_as(path, f"a {FORMAT}"), np.load(path, allow_pickle=False) as file:
        if _CHECKPOINT in file.files:
            raise unreadable(path, f"a {FORMAT} of weights", "the checkpoint of a training run: give its best.keras")
        if any(re.fullmatch(r"arr_\d+", name) for name in file.files):
            raise unreadable(path, f"a {FORMAT} of arrays named 'layer.variable'", "arrays without names")
        tensors = {_name(name): file[name] for name in file.files}
        if strange := [name for name, value in tensors.items() if not isinstance(value, np.ndarray)]:
            raise ValueError(f"no array in {strange[0]!r}")
    leaves = {name.rpartition(".")[2] for name in tensors}
    layout: Layout = "torch" if leaves & _TORCH else "keras"
    return WeightFile(path, FORMAT, layout, tensors)


def _name(name: str) -> str:
    if "." in name:
        return name
    *chain, leaf = name.removesuffix(":0").split("/")
    return join(tuple(chain), leaf)
