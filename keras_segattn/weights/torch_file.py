"""PyTorch checkpoints (`.pth`, `.pt`), read without PyTorch and without executing anything in them.

A checkpoint is a pickle that describes tensors, beside their raw storages. The pickle is interpreted by an
unpickler that knows only the few names that describe tensors, and maps them to the inert classes below.
"""

import io
import pickle
import zipfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from keras_segattn.weights.pickled_arrays import PickledArray, array_names
from keras_segattn.weights.report import WeightsError
from keras_segattn.weights.restricted import Allowed, RestrictedUnpickler, corrupt_as
from keras_segattn.weights.state_dicts import alternatives, state_dicts
from keras_segattn.weights.weight_file import WeightFile, unreadable
from keras_segattn.weights.zip_file import ZIP

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_START = pickle.dumps(LEGACY_MAGIC, protocol=2)
FORMAT = "PyTorch checkpoint"

# Storage class of torch → dtype; bfloat16 is the upper half of a float32 and widened on reading. Quantised and untyped
# storages belong to tensors that are skipped.
_DTYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "ComplexFloatStorage": "c8",
    "ComplexDoubleStorage": "c16",
    "QInt8Storage": "i1",
    "QUInt8Storage": "u1",
    "QInt32Storage": "i4",
    "UntypedStorage": "u1",
}
_HINT = "; to bring a whole model, save its state_dict() with torch.save instead"


@dataclass(frozen=True)
class _StorageType:
    name: str

    @property
    def itemsize(self) -> int:
        return np.dtype(_DTYPES[self.name]).itemsize

    def array(self, raw: bytes, byteorder: str) -> np.ndarray:
        values = np.frombuffer(raw, byteorder + _DTYPES[self.name])
        if self.name == "BFloat16Storage":
            return (values.astype("u4") << 16).view("f4")
        return values


@dataclass(frozen=True)
class _Storage:
    type: _StorageType
    key: str
    size: int

    @property
    def nbytes(self) -> int:
        return self.size * self.type.itemsize


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self, values: np.ndarray) -> np.ndarray:
        """Return a view of the storage's values; raise `ValueError` if it would reach outside."""
        numbers = (self.offset, *self.shape, *self.stride)
        if len(self.shape) != len(self.stride) or not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise ValueError(f"a tensor of shape {self.shape}, strides {self.stride} at offset {self.offset}")
        if 0 in self.shape:
            return np.empty(self.shape, values.dtype)
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        if last >= len(values):
            raise ValueError(f"a tensor that reaches element {last} of a storage of {len(values)}")
        strides = [step * values.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides, writeable=False)


class _TorchUnpickler(RestrictedUnpickler):
    """Unpickler of a checkpoint; `storages` are those that it names, by their keys."""

    hint = _HINT

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def resolve(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and name in _DTYPES:
            return _StorageType(name)
        names = {
            **array_names(),
            "torch.Size": Allowed(tuple),
            "torch._utils._rebuild_tensor": Allowed(lambda *a: _Tensor(a[0], a[1], tuple(a[2]), tuple(a[3]))),
            "torch._utils._rebuild_tensor_v2": Allowed(lambda *a: _Tensor(a[0], a[1], tuple(a[2]), tuple(a[3]))),
            "torch._utils._rebuild_parameter": Allowed(lambda *a: a[0]),
            "torch._utils._rebuild_parameter_with_state": Allowed(lambda *a: a[0]),
        }
        return names.get(f"{module}.{name}") or super().resolve(module, name)

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _location, size = pid[:5]
        if kind != "storage" or not isinstance(storage_type, _StorageType) or not isinstance(size, int):
            raise pickle.UnpicklingError(f"an unknown kind of storage {pid!r}")
        if any(view is not None for view in pid[5:]):  # before PyTorch 0.4, a storage could be part of another
            raise pickle.UnpicklingError(f"a storage {key!r} that is a view of another one")
        return self.storages.setdefault(str(key), _Storage(storage_type, str(key), size))


def is_archive(names: Collection[str]) -> bool:
    """Whether a zip archive of files with these names is a checkpoint, or a program of TorchScript."""
    return any(name.split("/", 1)[-1] == "data.pkl" for name in names)


def is_legacy(head: bytes) -> bool:
    """Whether a file that starts with these bytes is a checkpoint of the format before PyTorch 1.6."""
    return head[:1] == LEGACY_START[:1] and LEGACY_START[2:] in head


def read(path: Path) -> WeightFile:
    """Read a checkpoint of either of PyTorch's formats (zip archive, or the one before version 1.6).

    Args:
        path: path of a file with a state dict of tensors or NumPy arrays, at the top or in nested dicts.

    Returns:
        The tensors of the first state dict, bfloat16 widened to float32, and all other ones as its `others`.

    Raises:
        WeightsError: if the file is corrupt, describes anything but tensors, or holds no state dict.
    """
    with corrupt_as(path, f"a {FORMAT}"), path.open("rb") as file:
        is_zip = file.read(4) == ZIP
        file.seek(0)
        content, fetch = (_open_zip if is_zip else _open_legacy)(path, file)
        storages: dict[str, np.ndarray] = {}

        def array(tensor: _Tensor | PickledArray) -> np.ndarray:
            if isinstance(tensor, PickledArray):
                return tensor.numpy()
            key = tensor.storage.key
            if key not in storages:
                storages[key] = fetch(tensor.storage)
            return tensor.array(storages[key])

        states = state_dicts(content, lambda value: isinstance(value, _Tensor))
        if not states:
            raise WeightsError(f"{path}: expected a state dict of tensors, found {type(content).__name__}{_HINT}")
        return alternatives([state.weight_file(path, FORMAT, array) for state in states])


def _open_zip(path: Path, file: BinaryIO) -> tuple[Any, Callable[[_Storage], np.ndarray]]:
    archive = zipfile.ZipFile(file)
    names = [name for name in archive.namelist() if name.split("/", 1)[-1] == "data.pkl"]
    if len(names) != 1:
        raise unreadable(path, f"a {FORMAT} (a zip archive with one data.pkl)", f"{len(names)} of them")
    if any("/code/" in name for name in archive.namelist()):
        raise unreadable(path, f"a {FORMAT}", f"a program of TorchScript{_HINT}")
    folder = names[0][: -len("data.pkl")]
    big = f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") == b"big"

    def fetch(storage: _Storage) -> np.ndarray:
        entry = archive.getinfo(f"{folder}data/{storage.key}")
        if entry.file_size < storage.nbytes:
            raise ValueError(f"{entry.file_size} bytes in {entry.filename}, not {storage.nbytes}")
        return storage.type.array(archive.read(entry)[: storage.nbytes], ">" if big else "<")

    return _TorchUnpickler(io.BytesIO(archive.read(names[0]))).load(), fetch


def _open_legacy(path: Path, file: BinaryIO) -> tuple[Any, Callable[[_Storage], np.ndarray]]:
    magic, _protocol, system = (_TorchUnpickler(file).load() for _ in range(3))
    unpickler = _TorchUnpickler(file)
    content = unpickler.load()
    keys = _TorchUnpickler(file).load()
    if magic != LEGACY_MAGIC:
        raise unreadable(path, f"a {FORMAT}", "another kind of pickle")
    little = system["little_endian"]
    # Each storage follows as its number of elements (8 bytes) and their bytes, in the order of the keys.
    starts = {}
    for key in keys:
        storage = unpickler.storages[str(key)]
        size = int.from_bytes(file.read(8), "little" if little else "big")
        if storage.size != size:
            raise ValueError(f"{size} elements in storage {key!r}, not {storage.size}")
        starts[storage.key] = file.tell()
        file.seek(storage.nbytes, io.SEEK_CUR)
    if file.tell() > path.stat().st_size:
        raise EOFError(f"{path.stat().st_size} bytes, not {file.tell()}")

    def fetch(storage: _Storage) -> np.ndarray:
        file.seek(starts[storage.key])
        return storage.type.array(file.read(storage.nbytes), "<" if little else ">")

    return content, fetch
