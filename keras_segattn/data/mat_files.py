"""MATLAB's `.mat` files, of versions 5 to 7 (through SciPy) and 7.3 (HDF5), as NumPy arrays, lists and dicts."""

from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def read_mat(path: str | PathLike[str]) -> dict[str, Any]:
    """Read the variables of a `.mat` file of either kind, which look the same afterwards.

    Args:
        path: file that `save` of MATLAB wrote, of version 4 to 7.3.

    Returns:
        Dict from name to value. Numbers and truth values are arrays of at least 2 dimensions, indexed as in MATLAB, and
        text is `str`. A cell array is a list in MATLAB's order, down the columns. A struct is a dict from field to
        value, and an array of structs a list of dicts (version 5) or a dict of lists (version 7.3).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, is no `.mat` file, or refers to another file.
        ModuleNotFoundError: if the file is older than 7.3 and SciPy is not installed.

    Example:
        >>> boxes = read_mat("voc_2007_test.mat")["boxes"]  # a list of arrays
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a .mat file, found {'a folder' if path.is_dir() else 'nothing'}")
    if h5py.is_hdf5(path):
        try:
            with h5py.File(path, "r") as file:
                return {name: _hdf5_value(file, file[name]) for name in _own_names(file) if name != "#refs#"}
        except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:  # what h5py raises
            raise ValueError(f"{path}: expected an intact .mat file of version 7.3: {error}") from error
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{path} needs `pip install keras-segattn[proposals]` (SciPy)") from error
    try:
        content = loadmat(path)
    except Exception as error:  # SciPy's MatReadError is a plain Exception, and its parts raise many others
        raise ValueError(f"{path}: expected an intact .mat file: {error}") from error
    return {name: _value(value) for name, value in content.items() if not name.startswith("__")}


def _value(value: Any) -> Any:
    """Convert what SciPy read."""
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.names:
        structs = [{name: _value(one[name]) for name in value.dtype.names} for one in value.ravel(order="F")]
        return structs[0] if len(structs) == 1 else structs
    if value.dtype == object:
        return [_value(one) for one in value.ravel(order="F")]
    if value.dtype.kind == "U":
        return str(value.item()) if value.size == 1 else "".join(value.tolist())
    return value


def _own_names(group: h5py.Group) -> list[str]:
    """Return the names in a group, without links to other files."""
    return [name for name in group if isinstance(group.get(name, getlink=True), h5py.HardLink)]


def _hdf5_value(file: h5py.File, item: Any) -> Any:
    """Convert an object of an HDF5 file, whose arrays are transposed."""
    if isinstance(item, h5py.Group):
        return {name: _hdf5_value(file, item[name]) for name in _own_names(item)}
    if item.external or item.is_virtual:
        raise ValueError(f"{item.name} refers to another file")
    kind = item.attrs.get("MATLAB_class", b"")
    if item.attrs.get("MATLAB_empty", 0):  # its values are its dimensions
        shape = tuple(int(side) for side in item[()].ravel())
        return {b"char": "", b"cell": []}.get(kind, np.zeros(shape))
    values = item[()]
    if h5py.check_ref_dtype(item.dtype) is h5py.Reference:
        return [_hdf5_value(file, file[reference]) for reference in np.ravel(values)]
    if kind == b"char":
        return np.asarray(values).astype("<u2").tobytes().decode("utf-16-le")
    return np.asarray(values).T.astype(bool) if kind == b"logical" else np.asarray(values).T
