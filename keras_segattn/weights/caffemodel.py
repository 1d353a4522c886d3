"""`.caffemodel` files, read as plain protobuf wire format, without Caffe and without its schema.

Field numbers of `NetParameter` and the messages in it are those of BVLC Caffe's `caffe.proto`.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_segattn.weights.restricted import corrupt_as
from keras_segattn.weights.weight_file import WeightFile, unreadable

FORMAT = "Caffe model"

# NetParameter field → (field of the layer's name, field of its blobs).
_LAYER_FIELDS = {100: (1, 7), 2: (4, 6)}
_V2_LAYER, _V2_TYPE = 100, 2
# Fields of NetParameter that may stand before the layers: the name, the inputs and the state.
_NAME, _BEFORE_LAYERS = 1, frozenset({1, 3, 4, 5, 6, 7, 8})
_V0_LAYER = 1
_BLOB_LEGACY_SHAPE = (1, 2, 3, 4)
_BLOB_FLOATS, _BLOB_SHAPE, _BLOB_DOUBLES = 5, 7, 8
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def is_network(path: Path) -> bool:
    """Whether a file begins like a `NetParameter`, with at most one name before its first layer."""
    names = 0
    try:
        for number, value in _fields(memoryview(path.read_bytes())):
            if number in _LAYER_FIELDS:
                name_field = _LAYER_FIELDS[number][0]
                return any(field == name_field for field, _ in _fields(_message(value)))
            names += number == _NAME
            if number not in _BEFORE_LAYERS or names > 1:
                return False
    except (ValueError, TypeError, EOFError, IndexError):
        return False
    return False


def read(path: Path) -> WeightFile:
    """Read the blobs of a Caffe network of format V2 (`layer`) or V1 (`layers`).

    Args:
        path: path of the file.

    Returns:
        Float tensors named `"layer.blob0"` (weights), `"layer.blob1"` (bias) and so on; those of normalisation
        layers are named by their meaning: `"layer.moving_mean"`, `"layer.moving_variance"`, `"layer.gamma"`,
        `"layer.beta"`. V1 files give all tensors four dimensions: a dense kernel is (1, 1, out, in) and a bias
        (1, 1, 1, out).

    Raises:
        WeightsError: if the file is truncated, is no Caffe model, or is of the oldest format V0.
    """
    with corrupt_as(path, f"a {FORMAT}"):
        tensors: dict[str, np.ndarray] = {}
        layers: list[str] = []
        for number, layer in _fields(memoryview(path.read_bytes())):
            if number not in _LAYER_FIELDS:
                continue
            name_field, blobs_field = _LAYER_FIELDS[number]
            name, kind, blobs = "", "", []
            for field, value in _fields(_message(layer)):
                if number == 2 and field == _V0_LAYER:
                    raise unreadable(path, f"a {FORMAT} of format V1 or V2 (Caffe upgrades V0 files)", "format V0")
                if field == name_field:
                    name = bytes(_message(value)).decode()
                elif number == _V2_LAYER and field == _V2_TYPE:
                    kind = bytes(_message(value)).decode()
                elif field == blobs_field:
                    blobs.append(_blob(_message(value)))
            layers.append(name)
            for leaf, blob in _named(kind, blobs).items():
                key = f"{name}.{leaf}"
                if not name or key in tensors:
                    raise ValueError(f"two layers named {name!r}" if name else "a layer with blobs and no name")
                tensors[key] = blob
    return WeightFile(path, FORMAT, "caffe", tensors, layers=tuple(layers))


def _named(kind: str, blobs: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Name the blobs. `BatchNorm` keeps sums of statistics and, as third blob, the number to divide them by."""
    if kind == "BatchNorm" and len(blobs) == 3:
        mean, variance, count = blobs
        factor = 0.0 if count.item() == 0 else 1.0 / count.item()
        return {"moving_mean": mean * factor, "moving_variance": variance * factor}
    if kind == "Scale" and 1 <= len(blobs) <= 2:
        return dict(zip(("gamma", "beta"), blobs, strict=False))
    return {f"blob{index}": blob for index, blob in enumerate(blobs)}


def _blob(message: memoryview) -> np.ndarray:
    floats, doubles, shape = [], [], None
    legacy = dict.fromkeys(_BLOB_LEGACY_SHAPE, 0)
    for field, value in _fields(message):
        if field in legacy and isinstance(value, int):
            legacy[field] = value
        elif field == _BLOB_SHAPE:
            shape = _dimensions(_message(value))
        elif field == _BLOB_FLOATS:
            floats.append(_message(value))
        elif field == _BLOB_DOUBLES:
            doubles.append(_message(value))
    # Repeated fields arrive packed (one run) or one by one; joining the runs covers both.
    runs, dtype = (doubles, "<f8") if doubles else (floats, "<f4")
    values = np.frombuffer(runs[0] if len(runs) == 1 else b"".join(runs), dtype)
    if shape is None:
        shape = tuple(legacy.values())
    if math.prod(shape) != values.size:
        raise ValueError(f"{values.size} numbers in a blob of shape {shape}")
    return values.reshape(shape)


def _dimensions(message: memoryview) -> tuple[int, ...]:
    dimensions: list[int] = []
    for field, value in _fields(message):
        if field == 1 and isinstance(value, int):
            dimensions.append(value)
        elif field == 1:
            packed, position = _message(value), 0
            while position < len(packed):
                dimension, position = _varint(packed, position)
                dimensions.append(dimension)
    return tuple(dimensions)


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise TypeError("a number where a message or string belongs")
    return value


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the fields of a message: (number, integer) or (number, bytes of anything else)."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        kind = tag & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            length, position = _varint(data, position)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind} at byte {position}")
        if position + length > len(data):
            raise EOFError(f"{length} bytes announced at byte {position} of {len(data)}")
        yield tag >> 3, data[position : position + length]
        position += length


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """Return the integer at `position`, which has seven bits per byte, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError(f"an integer of more than ten bytes at byte {position}")
