"""HDF5 weight files of Keras: the legacy `.h5` of Keras 1 and 2 and keras.applications, and `.weights.h5`."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from keras_segattn.weights.layer_settings import layer_settings
from keras_segattn.weights.naming import join
from keras_segattn.weights.restricted import corrupt_as
from keras_segattn.weights.weight_file import WeightFile, unreadable

LEGACY = "Keras HDF5 file"
KERAS_3 = "Keras 3 .weights.h5 file"
# Groups of a Keras 3 file that hold state of the training, not layers.
_STATE = re.compile(r"(^|/)(optimizer|seed_generator|_?metrics|compile_metrics|loss_tracker)[^/]*/")


def read(path: Path, content: BinaryIO | None = None) -> WeightFile:
    """Read a HDF5 weight file, or the weights in a whole-model `.h5`.

    Args:
        path: path of the file.
        content: the HDF5 file, if it is a part of the file at `path`.

    Returns:
        Tensors named `"layer.variable"`; in a Keras 3 file, which has no names of variables, `"layer.0"`,
        `"layer.1"` in the order of the layer's weights. Inside a composite layer, the name of the variable follows
        the names of the layer's parts: `"layer.part/0"`.

    Raises:
        WeightsError: if the file is truncated, or is HDF5 of another kind.
    """
    with corrupt_as(path, f"a {LEGACY}"), h5py.File(content or path, "r") as file:
        own = isinstance(file.get("model_weights", getlink=True), h5py.HardLink)
        root = file["model_weights"] if own else file
        layers = _attribute(root, "layer_names")
        if layers:
            weights = _read_legacy(path, root, layers, [name for name in file if file[name].name != root.name])
            described = file.attrs.get("model_config")
            return weights if described is None else replace(weights, settings=layer_settings(described))
        if "layers" in file or "vars" in file:
            return _read_keras_3(path, file)
        raise unreadable(path, f"a {LEGACY} or a {KERAS_3}", f"HDF5 with {sorted(file)[:5]}")


def _read_legacy(path: Path, root: h5py.Group, layers: list[str], others: list[str]) -> WeightFile:
    ignored = [] if root.name == "/" else others
    tensors = {}
    for location, dataset in _datasets(root):
        owners = [layer for layer in layers if location.startswith(f"{layer}/")]
        if not owners:
            raise ValueError(f"a tensor {location!r} outside all layers")
        layer = max(owners, key=len)
        *scopes, leaf = location.removeprefix(f"{layer}/").removesuffix(":0").split("/")
        # Keras 1 repeats the layer's name in the tensor's and numbers repeated names: block1_conv1_W_1.
        leaf = re.sub(r"_\d+$", "", leaf.removeprefix(f"{layer}_"))
        # A Sequential model puts its own name before the layer's.
        parts = scopes[scopes.index(layer) + 1 :] if layer in scopes else scopes
        key = join((layer, *parts), leaf)
        if leaf == "seed_generator_state":
            ignored.append(key)
        elif key in tensors:
            raise ValueError(f"two tensors named {key!r}")
        else:
            tensors[key] = _values(dataset)
    return WeightFile(path, LEGACY, "keras", tensors, tuple(ignored))


def _read_keras_3(path: Path, file: h5py.File) -> WeightFile:
    tensors, ignored = {}, []
    for location, dataset in _datasets(file):
        if _STATE.search(location):
            ignored.append(location)
            continue
        *groups, folder, index = location.split("/")
        if folder != "vars":
            raise ValueError(f"a tensor at {location!r} outside all layers")
        # layers/conv2d_3/vars/0: the path numbers the objects of a class; their names are attributes of `vars`.
        parents = ("/".join(groups[: depth + 1]) for depth in range(len(groups)))
        name = join(tuple(_name(file, group) for group in parents if f"{group}/vars" in file), index)
        if name in tensors:
            raise unreadable(path, "a different name for every layer", f"two tensors {name!r}")
        tensors[name] = _values(dataset)
    return WeightFile(path, KERAS_3, "keras", tensors, tuple(ignored))


def _name(file: h5py.File, group: str) -> str:
    return str(file[f"{group}/vars"].attrs.get("name", group.rpartition("/")[2]))


def _datasets(root: h5py.Group) -> list[tuple[str, h5py.Dataset]]:
    """List all tensors below a group with their paths; links to other files are not followed."""
    found: list[tuple[str, h5py.Dataset]] = []

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.append((name, item))

    root.visititems(collect)
    return found


def _values(dataset: h5py.Dataset) -> np.ndarray:
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{dataset.name} that refers to another file")
    if dataset.compression is None and dataset.id.get_storage_size() < dataset.nbytes:
        raise ValueError(f"{dataset.name} with {dataset.id.get_storage_size()} bytes of {dataset.nbytes} written")
    values = dataset[()]
    if dataset.attrs.get("dtype") == "bfloat16":
        return (np.frombuffer(values.tobytes(), "<u2").astype("u4") << 16).view("f4").reshape(values.shape)
    return np.asarray(values)


def _attribute(group: h5py.Group, name: str) -> list[str]:
    """Read a list of strings, which Keras splits into name0, name1, … if it is long."""
    keys = sorted((key for key in group.attrs if re.fullmatch(rf"{name}\d*", key)), key=lambda key: (len(key), key))
    values = [value for key in keys for value in group.attrs[key]]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]
