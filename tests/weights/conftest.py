"""Writers of miniature weight files in foreign formats, none of which needs the foreign library."""

import pickle
import struct
import zipfile

import h5py
import keras
import numpy as np
import pytest
import safetensors.numpy

STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "int64": "LongStorage"}


class Opcodes:
    """Pickle opcodes of protocol 2, written out: what torch.save and malicious files consist of."""

    @staticmethod
    def name(module, attribute):
        return f"c{module}\n{attribute}\n".encode()

    @staticmethod
    def value(item):
        if isinstance(item, bytes):
            return item  # opcodes already
        if isinstance(item, str):
            return b"X" + struct.pack("<I", len(item.encode())) + item.encode()
        if isinstance(item, int):
            return b"J" + struct.pack("<i", item)
        if isinstance(item, tuple):
            return b"(" + b"".join(map(Opcodes.value, item)) + b"t"
        if isinstance(item, list):
            return b"](" + b"".join(map(Opcodes.value, item)) + b"e"
        return b"}(" + b"".join(Opcodes.value(part) for pair in item.items() for part in pair) + b"u"

    @staticmethod
    def call(module, attribute, *arguments):
        return Opcodes.name(module, attribute) + Opcodes.value(arguments) + b"R"

    @staticmethod
    def program(item):
        return b"\x80\x02" + Opcodes.value(item) + b"."

    @staticmethod
    def tensor(storage, key, size, offset, shape, strides):
        """A torch tensor on a storage: (class, key, elements), first element, shape and strides."""
        place = Opcodes.value(("storage", Opcodes.name("torch", storage), key, "cpu", size)) + b"Q"
        hooks = Opcodes.call("collections", "OrderedDict")
        return Opcodes.call("torch._utils", "_rebuild_tensor_v2", place, offset, shape, strides, b"\x89", hooks)


def torch_parts(tensors):
    """Turn contiguous arrays into (opcodes of the state dict, raw storages)."""
    described, raw = {}, []
    for name, array in tensors.items():
        strides = tuple(step // array.itemsize for step in array.copy().strides)
        described[name] = Opcodes.tensor(STORAGES[array.dtype.name], str(len(raw)), array.size, 0, array.shape, strides)
        raw.append(array.tobytes())
    return described, raw


def write_torch_zip(path, tensors):
    described, raw = torch_parts(tensors)
    write_torch_archive(path, Opcodes.program(described), raw)


def write_torch_archive(path, program, raw):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", program)
        archive.writestr("net/byteorder", "little")
        for key, storage in enumerate(raw):
            archive.writestr(f"net/data/{key}", storage)


def write_torch_legacy(path, tensors):
    described, raw = torch_parts(tensors)
    system = b"}(" + Opcodes.value("little_endian") + b"\x88u"
    parts = [
        pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2),
        Opcodes.program(1001),
        Opcodes.program(system),
        Opcodes.program(described),
        Opcodes.program([str(key) for key in range(len(raw))]),
    ]
    for array, storage in zip(tensors.values(), raw, strict=True):
        parts.append(struct.pack("<q", array.size) + storage)
    path.write_bytes(b"".join(parts))


def write_legacy_h5(path, tensors, pattern="{layer}/{leaf}:0"):
    """A Keras 2 weight file; Keras 1 names its tensors `{layer}_{leaf}_1:0`."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in tensors))
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer)
            leaves = {name.rpartition(".")[2]: array for name, array in tensors.items() if name.startswith(f"{layer}.")}
            names = {pattern.format(layer=layer, leaf=leaf): array for leaf, array in leaves.items()}
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, array in names.items():
                group[name] = array


def write_pickle(path, tensors):
    layers = {}
    for name, array in tensors.items():
        layers.setdefault(name.rpartition(".")[0], []).append(array)
    path.write_bytes(pickle.dumps(layers, protocol=3))


def varint(number):
    head = b""
    while number >= 0x80:
        head += bytes([number & 0x7F | 0x80])
        number >>= 7
    return head + bytes([number])


def field(number, content):
    """A protobuf field: an integer, or length-delimited bytes."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(array, version, double=False):
    values = field(8, array.astype("<f8").tobytes()) if double else field(5, array.astype("<f4").tobytes())
    if version == 2:
        return values + field(7, field(1, b"".join(map(varint, array.shape))))
    shape = (1,) * (4 - array.ndim) + array.shape
    return b"".join(field(number, size) for number, size in enumerate(shape, 1)) + values


def write_caffemodel(path, tensors, version=2, double=False, kinds=None):
    """Write a Caffe model; `kinds` gives the type of each layer, by default "Convolution"."""
    layer_field, name_field, blobs_field, type_field = (100, 1, 7, 2) if version == 2 else (2, 4, 6, 5)
    layers = {"data": b""}
    for name, array in tensors.items():
        layer = name.rpartition(".")[0]
        layers[layer] = layers.get(layer, b"") + field(blobs_field, blob(array, version, double))
    content = field(1, b"a network") + field(5, 1)
    for name, blobs in layers.items():
        kind = (kinds or {}).get(name, "Convolution").encode() if version == 2 else 4
        content += field(layer_field, field(name_field, name.encode()) + field(type_field, kind) + blobs)
    path.write_bytes(content)


def small_network(name="small"):
    """Model of a convolution, a transposed one, and a dense layer over a map that is not square."""
    image = keras.Input((6, 4, 3), name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="conv1")(image)
    x = keras.layers.Conv2DTranspose(2, 3, padding="same", use_bias=False, name="deconv")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dropout(0.5, name="drop")(x)
    return keras.Model(image, keras.layers.Dense(5, name="fc")(x), name=name)


def random_values(model, seed=0):
    """`"layer.variable"` → random array in Keras's layout."""
    generator = np.random.default_rng(seed)
    return {
        f"{layer.name}.{variable.name}": generator.standard_normal(variable.shape, dtype="float32")
        for layer in model.layers
        for variable in layer.weights
    }


def foreign_layout(value, flattened=(1, 1)):
    """A kernel or bias in PyTorch's and Caffe's layout; `flattened`: size of the map under a dense kernel."""
    if value.ndim == 4:
        return np.einsum("hwio->oihw", value).copy()
    if value.ndim == 2:
        return np.einsum("hwco->ochw", value.reshape(*flattened, -1, value.shape[1])).reshape(value.shape[::-1])
    return value


def foreign(values):
    """The values of the small network in PyTorch's and Caffe's layout, under PyTorch's names."""
    return {
        "conv1.weight": foreign_layout(values["conv1.kernel"]),
        "conv1.bias": values["conv1.bias"],
        "deconv.weight": np.einsum("hwoi->iohw", values["deconv.kernel"]).copy(),
        "fc.weight": foreign_layout(values["fc.kernel"], flattened=(6, 4)),
        "fc.bias": values["fc.bias"],
    }


def write_keras_3(path, values):
    model = small_network()
    for layer in model.layers:
        layer.set_weights([values[f"{layer.name}.{variable.name}"] for variable in layer.weights])
    model.save_weights(path)


# Format → (file name, writer of the small network's values given in Keras's layout).
FORMATS = {
    "torch zip": ("net.pth", lambda path, values: write_torch_zip(path, foreign(values))),
    "torch legacy": ("net.pt", lambda path, values: write_torch_legacy(path, foreign(values))),
    "safetensors": (
        "net.safetensors",
        lambda path, values: safetensors.numpy.save_file(foreign(values), path),
    ),
    "Caffe V2": ("net.caffemodel", lambda path, values: write_caffemodel(path, foreign(values))),
    "Caffe V1": ("net.caffemodel", lambda path, values: write_caffemodel(path, foreign(values), version=1)),
    "Keras 1": ("net.h5", lambda path, values: write_legacy_h5(path, values, "{layer}_{leaf}_1:0")),
    "Keras 2": ("net.h5", write_legacy_h5),
    "Keras 3": ("net.weights.h5", write_keras_3),
    "pickle": ("net.pkl", write_pickle),
}


@pytest.fixture
def network():
    """The small network and a snapshot of its weights."""
    return small_network()


@pytest.fixture
def writers():
    """The writers and helpers of this file, as a fixture because test modules share no imports."""
    import types

    return types.SimpleNamespace(**{name: value for name, value in globals().items() if not name.startswith("_")})
