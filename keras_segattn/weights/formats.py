"""Recognition of weight files by their content, whatever their names."""

import re
from collections.abc import Callable
from pathlib import Path

from keras_segattn.weights import (
    array_list,
    caffemodel,
    keras_archive,
    keras_h5,
    npz_file,
    packaged_pickle,
    safetensors_file,
    slim_checkpoint,
    torch_file,
)
from keras_segattn.weights.weight_file import WeightFile, unreadable
from keras_segattn.weights.zip_file import ZIP, members

FORMATS = (
    "a PyTorch checkpoint (.pth, .pt), .safetensors, Keras .keras, .h5 or .weights.h5, .npz, .caffemodel, TF-slim "
    ".ckpt, pickled arrays, or a list of .npy files"
)
# First bytes of files that hold no weights, or none that can be read, and what such a file is.
_OTHERS = {
    b"\x93NUMPY": "a single NumPy array without a name: put all arrays into one .npz",
    b"GGUF": "a GGUF file",
    b"MATLAB": "a MATLAB file",
    b"\x08\x01\x12": "a TensorFlow SavedModel",
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"BZh": "a bzip2 archive: unpack it first",
    b"\xfd7zXZ": "an xz archive: unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"Rar!": "a RAR archive: unpack it first",
    b"version https://git-lfs": "a Git LFS pointer instead of the file: run `git lfs pull`",
    b"<": "a web page or XML instead of the file: download it again",
    b"{": "JSON text",
}
_DATA = re.compile(r"(.*)\.data-\d{5}-of-\d{5}")
_HEAD = 512
# Largest header of a safetensors file, by its specification.
_HEADER = 100_000_000


def read(path: Path) -> WeightFile:
    """Read the tensors of a weight file of any supported format, recognised by content; see `weights.load`."""
    if slim_checkpoint.is_checkpoint(path):
        return slim_checkpoint.read(path)
    if array_list.is_array_list(path):
        return array_list.read(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a weight file, found {'a folder' if path.is_dir() else 'nothing'}")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return _reader(path, head)(path)


def _reader(path: Path, head: bytes) -> Callable[[Path], WeightFile]:
    if not head:
        raise unreadable(path, FORMATS, "an empty file")
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return keras_h5.read
    if head.startswith(ZIP):
        return _archive_reader(path)
    if torch_file.is_legacy(head):
        return torch_file.read
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _HEADER:
        return safetensors_file.read
    if head.startswith(b"\x80"):
        return packaged_pickle.read
    if head[4:8] == b"TFL3":
        raise unreadable(path, FORMATS, "a TensorFlow Lite model: load the Keras model that it was made from")
    if head[257:262] == b"ustar":
        raise unreadable(path, FORMATS, "a tar archive: unpack it first")
    if data := _DATA.fullmatch(path.name):
        raise unreadable(path, FORMATS, f"one part of a TensorFlow checkpoint: give {data[1]!r}, which has an index")
    if path.suffix == ".caffemodel" or caffemodel.is_network(path):
        return caffemodel.read
    kinds = [kind for start, kind in _OTHERS.items() if head.startswith(start)]
    raise unreadable(path, FORMATS, kinds[0] if kinds else f"bytes {head[:16]!r}")


def _archive_reader(path: Path) -> Callable[[Path], WeightFile]:
    names = members(path, "a weight file")
    for module in (torch_file, keras_archive, npz_file):
        if module.is_archive(names):
            return module.read
    raise unreadable(path, FORMATS, f"another zip archive, of {', '.join(map(repr, names[:3])) or 'nothing'}")
