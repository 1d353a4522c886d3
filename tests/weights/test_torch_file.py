import subprocess
import sys

import numpy as np
import pytest

from keras_segattn import weights
from keras_segattn.weights import torch_file

# Functions that a hostile file would call, as (module, name, arguments).
ATTACKS = {
    "os.system": ("posix", "system", "touch {marker}"),
    "eval": ("builtins", "eval", "open({marker!r}, 'w')"),
    "exec in Python 2 naming": ("__builtin__", "eval", "open({marker!r}, 'w')"),
    "getattr": ("builtins", "getattr", "x"),
    "partial": ("functools", "partial", "x"),
    "nested torch.load": ("torch.storage", "_load_from_bytes", "x"),
    "dotted name": ("collections", "OrderedDict.__init__", "x"),
    "dotted name of an inert value": ("argparse", "Namespace.__init__", "x"),
    "function beside inert values": ("argparse", "open", "{marker}"),
    "array beside a function": ("numpy", "load", "{marker}"),
    "our own code": ("keras_segattn.weights.saving", "save", "x"),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("container", ["zip", "legacy", "bare pickle"])
def test_hostile_pickle_is_refused_by_name_and_has_no_effect(network, writers, tmp_path, attack, container):
    module, name, argument = ATTACKS[attack]
    marker = tmp_path / "marker"
    call = writers.Opcodes.call(module, name, argument.format(marker=str(marker)))
    program = writers.Opcodes.program({"conv1.weight": call})
    path = tmp_path / "hostile.pth"
    if container == "zip":
        writers.write_torch_archive(path, program, [])
    elif container == "legacy":
        path.write_bytes(torch_file.LEGACY_START + writers.Opcodes.program(1001) + program)
    else:
        path.write_bytes(program)
    before = network.get_weights()
    with pytest.raises(weights.WeightsError, match=r"hostile\.pth: expected .*refused") as error:
        weights.load(network, path)
    assert f"{module}.{name}" in str(error.value)
    assert not marker.exists()
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_attack_of_these_tests_is_real(writers, tmp_path):
    """If Python itself unpickles the same bytes, in a separate process, the command does run."""
    marker = tmp_path / "marker"
    program = writers.Opcodes.program({"x": writers.Opcodes.call("posix", "system", f"touch {marker}")})
    (tmp_path / "hostile.pkl").write_bytes(program)
    code = f"import pickle; pickle.load(open({str(tmp_path / 'hostile.pkl')!r}, 'rb'))"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert marker.exists()


def test_pickle_cannot_alter_the_reader(network, writers, tmp_path):
    """BUILD sets attributes on any object on the stack, here on the objects of names that the reader allows."""
    for module, name in (
        ("collections", "OrderedDict"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch", "FloatStorage"),
    ):
        state = writers.Opcodes.value((b"N", {"keys": 1, "_call": 1, "name": "x", "__call__": 1}))
        program = writers.Opcodes.program({"x": writers.Opcodes.name(module, name) + state + b"b"})
        writers.write_torch_archive(tmp_path / "hostile.pth", program, [])
        with pytest.raises(weights.WeightsError, match="hostile"):
            weights.load(network, tmp_path / "hostile.pth")
        values = writers.random_values(network)
        writers.write_torch_zip(tmp_path / "good.pth", writers.foreign(values))
        assert weights.load(network, tmp_path / "good.pth").complete


def test_pickle_cannot_reserve_memory(network, tmp_path):
    """A file of ten bytes, which makes Python's own unpickler fill 32 GB, is refused."""
    (tmp_path / "hostile.pkl").write_bytes(b"\x80\x02Nr\xff\xff\xff\x7f.")
    with pytest.raises(weights.WeightsError, match="found NoneType"):
        weights.load(network, tmp_path / "hostile.pkl")


def test_whole_pickled_model_is_refused_with_advice(writers, tmp_path):
    path = tmp_path / "model.pth"
    program = writers.Opcodes.program(writers.Opcodes.call("torchvision.models.vgg", "VGG"))
    writers.write_torch_archive(path, program, [])
    with pytest.raises(weights.WeightsError, match=r"torchvision\.models\.vgg\.VGG, refused: .*state_dict\(\)"):
        torch_file.read(path)


def test_views_share_a_storage(writers, tmp_path):
    storage = np.arange(12, dtype="float32")
    tensor = writers.Opcodes.tensor
    described = {
        "transposed.weight": tensor("FloatStorage", "0", 12, 0, (4, 3), (1, 4)),
        "slice.weight": tensor("FloatStorage", "0", 12, 5, (2,), (3,)),
        "expanded.weight": tensor("FloatStorage", "0", 12, 2, (2, 2), (0, 1)),
        "empty.weight": tensor("FloatStorage", "0", 12, 12, (0, 3), (3, 1)),
    }
    program = writers.Opcodes.program(described)
    writers.write_torch_archive(tmp_path / "views.pth", program, [storage.tobytes()])
    tensors = torch_file.read(tmp_path / "views.pth").tensors
    np.testing.assert_array_equal(tensors["transposed.weight"], storage.reshape(3, 4).T)
    np.testing.assert_array_equal(tensors["slice.weight"], [5, 8])
    np.testing.assert_array_equal(tensors["expanded.weight"], [[2, 3], [2, 3]])
    assert tensors["empty.weight"].shape == (0, 3)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (13,), (1,)), (11, (2,), (1,)), (-1, (2,), (1,)), (0, (2,), (-1,)), (0, (2, 2), (1,))],
)
def test_tensor_outside_its_storage_is_refused(writers, tmp_path, offset, shape, strides):
    described = {"a.weight": writers.Opcodes.tensor("FloatStorage", "0", 12, offset, shape, strides)}
    writers.write_torch_archive(tmp_path / "bad.pth", writers.Opcodes.program(described), [bytes(48)])
    with pytest.raises(
        weights.WeightsError, match=r"bad\.pth: expected an intact PyTorch checkpoint, found ValueError: a tensor"
    ):
        torch_file.read(tmp_path / "bad.pth")


def test_storage_shorter_than_described(writers, tmp_path):
    described = {"a.weight": writers.Opcodes.tensor("FloatStorage", "0", 12, 0, (12,), (1,))}
    writers.write_torch_archive(tmp_path / "bad.pth", writers.Opcodes.program(described), [bytes(44)])
    with pytest.raises(weights.WeightsError, match="44 bytes in net/data/0, not 48"):
        torch_file.read(tmp_path / "bad.pth")


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64"])
def test_dtypes(writers, tmp_path, dtype):
    values = np.arange(6).reshape(2, 3).astype(dtype)
    writers.write_torch_zip(tmp_path / "a.pth", {"a.weight": values})
    found = torch_file.read(tmp_path / "a.pth").tensors["a.weight"]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values)


def test_bfloat16_is_widened(writers, tmp_path):
    values = np.array([1.0, -2.5, 0.0, 3.140625], "float32")
    upper_halves = (values.view("u4") >> 16).astype("u2").tobytes()
    described = {"a.weight": writers.Opcodes.tensor("BFloat16Storage", "0", 4, 0, (4,), (1,))}
    writers.write_torch_archive(tmp_path / "a.pth", writers.Opcodes.program(described), [upper_halves])
    np.testing.assert_array_equal(torch_file.read(tmp_path / "a.pth").tensors["a.weight"], values)


@pytest.mark.parametrize("content", [{}, {"epoch": 1}, "text", 3, ["a"]])
def test_checkpoint_without_tensors(writers, tmp_path, content):
    writers.write_torch_archive(tmp_path / "a.pth", writers.Opcodes.program(content), [])
    with pytest.raises(weights.WeightsError, match=r"a\.pth: expected a state dict of tensors"):
        torch_file.read(tmp_path / "a.pth")


@pytest.mark.parity
@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_torch_itself(tmp_path, zipped):
    import torch

    base = torch.arange(24.0).reshape(4, 6)
    state = {
        "module.transposed.weight": base.t(),
        "module.slice.weight": base[1:3, ::2],
        "module.bfloat.weight": torch.tensor([1.0, -2.5], dtype=torch.bfloat16),
        "module.half.weight": torch.tensor([1.0, -2.5], dtype=torch.float16),
        "module.double.weight": torch.nn.Parameter(torch.tensor([1 / 3], dtype=torch.float64)),
        "module.bn.num_batches_tracked": torch.tensor(3),
    }
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(3))])
    checkpoint = {
        "epoch": 1,
        "best": np.float64(0.5),
        "optim_state_dict": optimizer.state_dict(),
        "model_state_dict": state,
        "others": [
            torch.eye(2).to_sparse(),
            torch.zeros(2).to(torch.float8_e4m3fn),
            torch.zeros(2, dtype=torch.uint16),
        ],
        "noise": torch.Generator().get_state(),
    }
    torch.save(checkpoint, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    file = torch_file.read(tmp_path / "a.pth")
    assert file.ignored == ("epoch", "best", "optim_state_dict", "others", "noise")
    assert list(file.tensors) == list(state)
    for name, tensor in state.items():
        expected = tensor.detach().float() if tensor.dtype == torch.bfloat16 else tensor.detach()
        np.testing.assert_array_equal(file.tensors[name], expected.numpy())


@pytest.mark.parity
def test_small_torch_network_gives_the_same_outputs(tmp_path):
    """The network has a grouped convolution, a normalisation, a transposed convolution and a dense layer over a map."""
    import keras
    import torch

    from keras_segattn.layers.grouped_conv2d import GroupedConv2D

    torch.manual_seed(0)
    theirs = torch.nn.Sequential()
    theirs.add_module("conv", torch.nn.Conv2d(4, 6, 3, padding=1, groups=2))
    theirs.add_module("bn", torch.nn.BatchNorm2d(6))
    theirs.add_module("relu", torch.nn.ReLU())
    theirs.add_module("up", torch.nn.ConvTranspose2d(6, 3, 4, stride=2))
    theirs.add_module("flatten", torch.nn.Flatten())
    theirs.add_module("fc", torch.nn.Linear(3 * 12 * 8, 7))
    with torch.no_grad():
        theirs(torch.randn(8, 4, 5, 3))  # moves the running statistics away from 0 and 1
    torch.save(theirs.eval().state_dict(), tmp_path / "net.pth")

    image = keras.Input((5, 3, 4))
    x = GroupedConv2D(6, 3, padding="same", groups=2, name="conv")(image)
    x = keras.layers.BatchNormalization(epsilon=1e-5, name="bn")(x)
    x = keras.layers.Conv2DTranspose(3, 4, 2, name="up")(keras.layers.ReLU()(x))
    x = keras.layers.Dense(7, name="fc")(keras.layers.Flatten()(x))
    ours = keras.Model(image, x)
    assert weights.load(ours, tmp_path / "net.pth").complete
    batch = np.random.default_rng(0).standard_normal((2, 5, 3, 4), dtype="float32")
    with torch.no_grad():
        expected = theirs(torch.from_numpy(batch.transpose(0, 3, 1, 2))).numpy()
    # the tolerance allows float32 sums in another order
    np.testing.assert_allclose(ours(batch), expected, rtol=1e-4, atol=1e-5)
