"""Script that runs a SavedModel through TensorFlow's C API, with the loader and kernels of TensorFlow Serving.

It imports neither the `tensorflow` module nor Keras nor this package: a file that needs Python code to run fails here
as it would in the server. Usage:

    python -P libtensorflow_run.py request.json

The request holds `saved_model`, `protos` (an `.npz` of `call/tensor name` → bytes of a TensorProto), `calls` (a list
of `name`, `outputs` from output name to tensor name, and `timed`), and the files to write, `arrays` and `facts`. The
outputs go to `arrays` as `call/output name`, the library's version and the calls' latencies to `facts`.
"""

import ctypes
import importlib.util
import json
import os
import statistics
import sys
import time
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

# Seconds after which no further call is timed.
TIMED_SECONDS = 1.0
# TF_DataType → name of the NumPy dtype.
DTYPES = dict(enumerate(["float32", "float64", "int32", "uint8", "int16", "int8"], 1))
DTYPES |= {9: "int64", 10: "bool", 17: "uint16", 19: "float16", 22: "uint32", 23: "uint64"}
STRING, BYTES_OF_STRING = 7, 24


class Buffer(ctypes.Structure):
    """TF_Buffer: bytes with their length."""

    _fields_ = [("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p)]


class Output(ctypes.Structure):
    """TF_Output: one output of an operation."""

    _fields_ = [("operation", c_void_p), ("index", c_int)]


# Function of the C API → types of its result and arguments.
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "TF_Version": (c_char_p,),
    "TF_NewStatus": (c_void_p,),
    "TF_GetCode": (c_int, c_void_p),
    "TF_Message": (c_char_p, c_void_p),
    "TF_NewGraph": (c_void_p,),
    "TF_NewSessionOptions": (c_void_p,),
    "TF_LoadSessionFromSavedModel": (
        *(c_void_p, c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, c_void_p, c_void_p),
    ),
    "TF_GraphOperationByName": (c_void_p, c_void_p, c_char_p),
    "TF_AllocateTensor": (c_void_p, c_int, c_void_p, c_int, c_size_t),
    "TF_TensorFromProto": (None, POINTER(Buffer), c_void_p, c_void_p),
    "TF_SessionRun": (
        *(None, c_void_p, c_void_p, POINTER(Output), POINTER(c_void_p), c_int),
        *(POINTER(Output), POINTER(c_void_p), c_int, c_void_p, c_int, c_void_p, c_void_p),
    ),
    "TF_TensorType": (c_int, c_void_p),
    "TF_NumDims": (c_int, c_void_p),
    "TF_Dim": (ctypes.c_int64, c_void_p, c_int),
    "TF_TensorByteSize": (c_size_t, c_void_p),
    "TF_TensorData": (c_void_p, c_void_p),
    "TF_StringGetDataPointer": (c_void_p, c_void_p),
    "TF_StringGetSize": (c_size_t, c_void_p),
    "TF_DeleteTensor": (None, c_void_p),
}


def load_library() -> Any:
    """Load the C API from the installed `tensorflow` package without importing the package."""
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("tensorflow is not installed")
    folder = Path(spec.submodule_search_locations[0])
    # The framework comes first, since the other library links to it. Files end in `.so.2` (Linux), `.2.dylib` (macOS).
    _, library = (
        ctypes.CDLL(str(next(folder.glob(f"{name}.*"))), mode=ctypes.RTLD_GLOBAL)
        for name in ("libtensorflow_framework", "libtensorflow_cc")
    )
    for name, (result, *arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Session:
    """A SavedModel loaded under the tag `serve`."""

    def __init__(self, directory: str):
        self.library = load_library()
        self.status = self.library.TF_NewStatus()
        self.graph = self.library.TF_NewGraph()
        tags = (c_char_p * 1)(b"serve")
        options = self.library.TF_NewSessionOptions()
        self.session = self.library.TF_LoadSessionFromSavedModel(
            options, None, os.fsencode(directory), tags, 1, self.graph, None, self.status
        )
        self.check()

    def check(self) -> None:
        """Raise `RuntimeError` with TensorFlow's message if the last call failed."""
        if self.library.TF_GetCode(self.status):
            raise RuntimeError(self.library.TF_Message(self.status).decode(errors="replace"))

    def tensor_names(self, names: list[str]) -> Any:
        """Return the operations and output indices of tensors such as `"serving_default_image:0"`."""
        outputs = (Output * len(names))()
        for place, name in zip(outputs, names, strict=True):
            operation, _, index = name.partition(":")
            place.operation = self.library.TF_GraphOperationByName(self.graph, operation.encode())
            place.index = int(index or 0)
            if not place.operation:
                raise RuntimeError(f"the graph has no operation {operation!r}")
        return outputs

    def tensor(self, proto: bytes) -> int:
        """Create a tensor from a serialised TensorProto, which TensorFlow itself decodes."""
        tensor = self.library.TF_AllocateTensor(1, None, 0, 4)
        content = ctypes.create_string_buffer(proto, len(proto))
        buffer = Buffer(ctypes.cast(content, c_void_p), len(proto), None)
        self.library.TF_TensorFromProto(byref(buffer), tensor, self.status)
        self.check()
        return tensor

    def array(self, tensor: int | None) -> np.ndarray:
        """Copy a tensor of numbers or strings to a NumPy array."""
        kind = self.library.TF_TensorType(tensor)
        if kind not in (*DTYPES, STRING):
            raise RuntimeError(f"an output has TF_DataType {kind}, expected one of {DTYPES} or {STRING}")
        shape = [self.library.TF_Dim(tensor, axis) for axis in range(self.library.TF_NumDims(tensor))]
        size = self.library.TF_TensorByteSize(tensor)
        if kind == STRING:
            first = self.library.TF_TensorData(tensor)
            places = range(first, first + size, BYTES_OF_STRING) if size else ()
            return np.array([self.text(place) for place in places], dtype="S").reshape(shape)
        content = ctypes.string_at(self.library.TF_TensorData(tensor), size) if size else b""
        return np.frombuffer(content, DTYPES[kind]).reshape(shape)

    def text(self, place: int) -> bytes:
        """Copy the string at an address."""
        return ctypes.string_at(self.library.TF_StringGetDataPointer(place), self.library.TF_StringGetSize(place))

    def run(self, feeds: dict[str, bytes], fetches: list[str]) -> list[np.ndarray]:
        """Feed tensors (tensor name → serialised TensorProto) and return the values of the tensors `fetches`."""
        values = (c_void_p * len(feeds))(*(self.tensor(proto) for proto in feeds.values()))
        results = (c_void_p * len(fetches))()
        self.library.TF_SessionRun(
            self.session, None,
            self.tensor_names(list(feeds)), values, len(feeds),
            self.tensor_names(fetches), results, len(fetches),
            None, 0, None, self.status,
        )  # fmt: skip
        for value in values:
            self.library.TF_DeleteTensor(value)
        self.check()
        arrays = [self.array(result) for result in results]
        for result in results:
            self.library.TF_DeleteTensor(result)
        return arrays


def median_ms(session: Session, feeds: dict[str, bytes], fetches: list[str], most: int) -> float:
    """Return the median milliseconds of at most `most` calls; the caller has run the call once before."""
    times: list[float] = []
    while len(times) < most and sum(times) < TIMED_SECONDS:
        start = time.perf_counter()
        session.run(feeds, fetches)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def main() -> None:
    """Run the calls of the request and write their outputs."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    session = Session(request["saved_model"])
    arrays: dict[str, np.ndarray] = {}
    latencies: dict[int, float] = {}
    with np.load(request["protos"]) as protos:
        for index, call in enumerate(request["calls"]):
            prefix = f"{index}/"
            feeds = {key.removeprefix(prefix): protos[key].tobytes() for key in protos.files if key.startswith(prefix)}
            fetches = list(call["outputs"].values())
            try:
                results = session.run(feeds, fetches)
            except RuntimeError as error:
                raise RuntimeError(f"{call['name']}: {error}") from error
            arrays |= {f"{index}/{name}": array for name, array in zip(call["outputs"], results, strict=True)}
            if call["timed"]:
                latencies[index] = median_ms(session, feeds, fetches, request["timed_calls"])
    if "tensorflow" in sys.modules or "keras" in sys.modules:
        raise RuntimeError("this process must see no Python of TensorFlow or Keras")
    np.savez(request["arrays"], **arrays)  # type: ignore[arg-type]
    facts = {"version": session.library.TF_Version().decode(), "latency_ms": latencies}
    Path(request["facts"]).write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        main()
    except RuntimeError as error:
        sys.exit(" ".join(str(error).split()))
