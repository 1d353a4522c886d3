"""State dicts in the wrappings in which training programs leave them, and beside the values that they add."""

import argparse
import builtins
import collections
import datetime as dt
import decimal
import importlib
import io
import pathlib
import pickle
import types
import uuid

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_segattn import weights
from keras_segattn.weights.restricted import Inert, InertDict
from keras_segattn.weights.torch_file import LEGACY_START, _TorchUnpickler

WORDS = st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=8)
WRAPPERS = ("module", "_orig_mod", "model", "net", "backbone", "encoder", "0")
FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Checkpoints:
    """Writes nested dicts of arrays as `torch.save` does, other values as Python pickles them."""

    def __init__(self, writers, path):
        self.writers, self.path, self.raw = writers, path, []

    def opcodes(self, item):
        writers = self.writers
        if isinstance(item, dict) and type(item) is dict:
            return writers.Opcodes.value({key: self.opcodes(value) for key, value in item.items()})
        if isinstance(item, list):
            return writers.Opcodes.value([self.opcodes(value) for value in item])
        if isinstance(item, Tensor):
            array = np.asarray(item.array)
            kind, key = writers.STORAGES[array.dtype.name], str(len(self.raw))
            strides = tuple(step // array.itemsize for step in array.copy().strides)
            self.raw.append(array.tobytes())
            return writers.Opcodes.tensor(kind, key, array.size, 0, array.shape, strides)
        return pickle.dumps(item, protocol=2)[2:-1]

    def write(self, content):
        self.raw = []
        self.writers.write_torch_archive(self.path, b"\x80\x02" + self.opcodes(content) + b".", self.raw)
        return self.path


class Tensor:
    def __init__(self, array):
        self.array = array


def tensors(values, prefix=""):
    return {prefix + name: Tensor(value) for name, value in values.items()}


@pytest.fixture
def values(network, writers):
    return writers.foreign(writers.random_values(network))


@pytest.fixture
def save(writers, tmp_path):
    return Checkpoints(writers, tmp_path / "net.pth").write


def assert_filled(network, report, values):
    assert report.complete
    np.testing.assert_array_equal(network.get_layer("fc").bias, values["fc.bias"])


@given(prefix=st.lists(st.sampled_from(WRAPPERS) | WORDS, max_size=3), keys=st.lists(WORDS, max_size=2))
@FEW
def test_any_prefix_under_any_keys_is_found_and_named(network, values, save, prefix, keys):
    prefix = "".join(f"{part}." for part in prefix)
    content = tensors(values, prefix) | ({"n_averaged": Tensor(np.array(3))} if prefix else {})
    for key in reversed(keys):
        content = {"epoch": 3, key: content, "lr": 0.1, "optimizer": {"state": {0: tensors(values)}}}
    report = weights.load(network, save(content))
    assert_filled(network, report, values)
    for word in (*prefix.split(".")[:-1], *keys):
        assert word in report.format
    assert len(report.ignored) == bool(prefix) + len(keys) * 3 - sum(keys.count(key) for key in ("epoch", "lr"))


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module._orig_mod."])
def test_prefixes_in_safetensors(network, values, tmp_path, prefix):
    safetensors.numpy.save_file({prefix + name: value for name, value in values.items()}, tmp_path / "net.safetensors")
    report = weights.load(network, tmp_path / "net.safetensors")
    assert_filled(network, report, values)
    assert all(part in report.format for part in prefix.split("."))


def test_wrapper_inside_the_network(network, values, save):
    """`DataParallel` around a part of the network puts `module` inside the names."""
    names = {"fc.weight": "fc.module.weight", "fc.bias": "fc.module.bias"}
    content = tensors({names.get(name, name): value for name, value in values.items()})
    report = weights.load(network, save({"state_dict": content}))
    assert_filled(network, report, values)
    assert report.format == "PyTorch checkpoint: 'state_dict', without 'module.'"


@pytest.mark.parametrize("keys", [("state_dict", "state_dict_ema"), ("model_ema", "model"), ("a", "b")])
def test_the_chosen_one_of_several_state_dicts_is_named(network, values, save, keys):
    content = {key: tensors({name: value + place for name, value in values.items()}) for place, key in enumerate(keys)}
    report = weights.load(network, save(content))
    taken = "model" if "model" in keys else keys[0]
    other = next(key for key in keys if key != taken)
    assert report.format == f"PyTorch checkpoint: {taken!r}, {other!r} fits too"
    assert report.ignored == (other,)
    np.testing.assert_array_equal(network.get_layer("fc").bias, values["fc.bias"] + keys.index(taken))


@pytest.mark.parametrize(("prefix", "other"), [("student.", "teacher."), ("", "ema."), ("module.a.", "module.b.")])
def test_a_second_network_under_another_prefix_is_ignored_and_named(network, values, save, prefix, other):
    beside = {name: value + 1 for name, value in values.items()}
    report = weights.load(network, save(tensors(values, prefix) | tensors(beside, other)))
    assert_filled(network, report, values)
    assert f"prefix {other.removeprefix('module.')!r} fits too" in report.format
    assert {other + name for name in values} <= {*report.ignored}


def test_the_state_dict_that_fits_is_taken(network, values, save):
    """A checkpoint of several networks, of which the model is the second, with scores as tensors beside them."""
    content = {"model": tensors({"x.weight": np.ones(2, "float32")}), "generator": tensors(values)}
    report = weights.load(network, save({"loss": Tensor(np.ones(2, "float32")), "networks": [content, 3]}))
    assert_filled(network, report, values)
    assert report.format == "PyTorch checkpoint: 'networks'.'0'.'generator'"


def test_tensors_outside_the_prefix_are_not_accepted_silently(network, values, save):
    path = save(tensors(values, "model.") | tensors({"criterion.weight": np.ones(5, "float32")}))
    with pytest.raises(weights.WeightsError, match=r"without 'model\.'(.|\n)*unexpected: criterion\.weight"):
        weights.load(network, path)
    assert weights.load(network, path, partial=True).unexpected == ("criterion.weight",)
    path = save(tensors(values | {"aux.weight": np.ones(5, "float32")}, "model."))
    assert weights.load(network, path, partial=True).unexpected == ("aux.weight",)


def test_no_tensor_replaces_another_one(network, values, save):
    """One tensor is in the file with and without the prefix, and so has two values."""
    both = tensors(values, "model.") | tensors({"fc.bias": values["fc.bias"] + 1})
    report = weights.load(network, save(both), partial=True)
    assert report.unexpected == ("model.fc.bias",)
    assert len(report.matched) == 5


INERT = {
    "argparse.Namespace": argparse.Namespace(lr=0.1, milestones=[3, 4]),
    "SimpleNamespace": types.SimpleNamespace(lr=0.1),
    "Counter": collections.Counter([3, 4, 4]),
    "OrderedDict": collections.OrderedDict(a=1),
    "defaultdict": collections.defaultdict(list, {"a": [1]}),
    "deque": collections.deque([1, 2], maxlen=3),
    "deque of one": collections.deque([1]),
    "ChainMap, Ellipsis": [collections.ChainMap({"a": 1}), ...],
    "set": {1, 2},
    "complex, range, slice": (1j, range(3), slice(1, 2), frozenset({1}), bytearray(b"x"), b"x"),
    "type": float,
    "NumPy array": np.arange(3.0),
    "NumPy array of texts and objects": [np.array(["a"]), np.array([{}, None], object)],
    "NumPy numbers": [np.float64(0.5), np.int64(3), np.bool_(True)],
    "NumPy masked array": np.ma.array([1.0, 2.0], mask=[True, False]),
    "NumPy dtype": [np.dtype("float32"), np.float32, np.dtype([("a", "f4")])],
    "NumPy generators": [np.random.default_rng(0), np.random.RandomState(0), np.random.RandomState(0).get_state()],
    "path": [pathlib.PurePosixPath("runs/1"), pathlib.PureWindowsPath("runs"), pathlib.Path("x")],
    "time": [dt.datetime(2026, 1, 2), dt.timedelta(1), dt.date(2026, 1, 2), dt.UTC],
    "numbers": [decimal.Decimal("0.1"), uuid.UUID(int=3)],
    "plain": [None, True, 1, 10**20, 0.5, "text"],
}


@pytest.mark.parametrize("kind", INERT)
def test_inert_values_beside_tensors_are_skipped(network, values, save, kind):
    report = weights.load(network, save({"state_dict": tensors(values), "extra": INERT[kind]}))
    assert_filled(network, report, values)
    assert report.ignored == ("extra",)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("torch.device", ("cpu",)),
        ("torch.Size", ([3],)),
        ("torch.float32", None),
        ("torch.strided", None),
        ("torch._utils._rebuild_sparse_tensor", ("x",)),
        ("torch._utils._rebuild_qtensor", ("x",)),
        ("torch._utils._rebuild_tensor_v3", ("x",)),
    ],
)
def test_values_of_torch_beside_tensors_are_skipped(network, values, writers, tmp_path, name, arguments):
    extra = writers.Opcodes.name(*name.rsplit(".", 1))
    extra += b"" if arguments is None else writers.Opcodes.value(arguments) + b"R"
    described, raw = writers.torch_parts(values)
    program = writers.Opcodes.program({"model": described, "extra": extra})
    writers.write_torch_archive(tmp_path / "net.pth", program, raw)
    assert_filled(network, weights.load(network, tmp_path / "net.pth"), values)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("container", ["zip", "pickle"])
def test_state_dicts_of_numpy_arrays(network, values, writers, tmp_path, protocol, container):
    """Detectron2's zoo has such files."""
    content = {"model": values, "__author__": "x", "matching_heuristics": True}
    path = tmp_path / "net.pth"
    program = pickle.dumps(content, protocol)
    if container == "zip":
        writers.write_torch_archive(path, program, [])
    else:
        path.write_bytes(program)
    assert_filled(network, weights.load(network, path), values)


def test_state_dict_in_a_default_dict(network, values, writers, tmp_path):
    content = collections.defaultdict(int, {"state_dict": values, "epoch": 3})
    writers.write_torch_archive(tmp_path / "net.pth", pickle.dumps(content, 2), [])
    assert_filled(network, weights.load(network, tmp_path / "net.pth"), values)


@pytest.mark.parametrize(
    "module", ["builtins", "os", "posix", "subprocess", "sys", "importlib", "pathlib", "numpy", "types", "collections"]
)
def test_no_name_means_the_object_itself(module):
    """Names of the allowed modules mean placeholders, which are harmless whatever a pickle does to them."""
    reader = _TorchUnpickler(io.BytesIO())
    known = [name for name in dir(importlib.import_module(module)) if reader.resolve(module, name) is not None]
    for name in known:
        found = reader.find_class(module, name)
        if found is collections.OrderedDict:
            continue
        assert found is not getattr(importlib.import_module(module), name)
        if isinstance(found, type):
            assert issubclass(found, Inert | InertDict)
            found.changed = True
            assert not hasattr(reader.find_class(module, name), "changed")


@pytest.mark.parametrize("name", ["getattr", "eval", "exec", "open", "__import__", "compile", "setattr", "vars", "map"])
@pytest.mark.parametrize("module", ["builtins", "__builtin__"])
def test_functions_are_refused_by_name(network, writers, tmp_path, module, name):
    assert hasattr(builtins, name)
    for call in (
        writers.Opcodes.call(module, name, "x"),
        writers.Opcodes.name(module, name) + writers.Opcodes.value(("x",)) + b"\x81",  # cls.__new__(cls, "x")
    ):
        writers.write_torch_archive(tmp_path / "hostile.pth", writers.Opcodes.program({"extra": call}), [])
        with pytest.raises(weights.WeightsError, match=rf"{module}\.{name}, refused"):
            weights.load(network, tmp_path / "hostile.pth")


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_nested_values_take_no_exponential_time(network, values, writers, tmp_path, container):
    """Each dict has the one below it thirty times."""
    nested = b"}q\0"
    for level in range(1, 40):
        below = b"h" + bytes([level - 1])
        keys = b"".join(writers.Opcodes.value(f"key{number}") + below for number in range(30))
        nested = nested + b"0}q" + bytes([level]) + b"(" + keys + b"u"
    described, raw = writers.torch_parts(values)
    content = b"\x80\x02" + writers.Opcodes.value({"extra": nested, "model": described}) + b"."
    if container == "zip":
        writers.write_torch_archive(tmp_path / "net.pth", content, raw)
    else:
        system = b"\x80\x02}(" + writers.Opcodes.value("little_endian") + b"\x88u."
        keys = writers.Opcodes.program([str(key) for key in range(len(raw))])
        head = LEGACY_START + writers.Opcodes.program(1001) + system + content + keys
        storages = b"".join((len(storage) // 4).to_bytes(8, "little") + storage for storage in raw)
        (tmp_path / "net.pth").write_bytes(head + storages)
    assert_filled(network, weights.load(network, tmp_path / "net.pth"), values)


def test_a_class_of_the_user_is_refused_by_name(network, values, writers, tmp_path):
    described, raw = writers.torch_parts(values)
    extra = writers.Opcodes.call("__main__", "Settings")
    program = writers.Opcodes.program({"model": described, "extra": extra})
    writers.write_torch_archive(tmp_path / "net.pth", program, raw)
    with pytest.raises(weights.WeightsError, match=r"__main__\.Settings, refused: .*state_dict\(\)"):
        weights.load(network, tmp_path / "net.pth")
