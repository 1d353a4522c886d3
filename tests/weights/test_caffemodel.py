import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn import weights
from keras_segattn.weights import caffemodel

KERNEL = np.arange(24, dtype="float32").reshape(2, 3, 2, 2)
BIAS = np.array([1.5, -2], "float32")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("double", [False, True])
def test_blobs(writers, tmp_path, version, double):
    path = tmp_path / "net.caffemodel"
    writers.write_caffemodel(path, {"conv.weight": KERNEL, "conv.bias": BIAS}, version, double)
    tensors = caffemodel.read(path).tensors
    assert list(tensors) == ["conv.blob0", "conv.blob1"]
    np.testing.assert_array_equal(tensors["conv.blob0"], KERNEL)
    np.testing.assert_array_equal(tensors["conv.blob1"].ravel(), BIAS)
    assert tensors["conv.blob1"].shape == ((2,) if version == 2 else (1, 1, 1, 2))


def test_numbers_one_by_one_and_dimensions_unpacked(writers, tmp_path):
    """Repeated fields may be written without packing, as old protobuf versions do."""
    floats = b"".join(writers.varint(5 << 3 | 5) + struct.pack("<f", number) for number in BIAS)
    blob = floats + writers.field(7, writers.field(1, 2))
    layer = writers.field(1, b"scale") + writers.field(7, blob)
    (tmp_path / "net.caffemodel").write_bytes(writers.field(100, layer))
    np.testing.assert_array_equal(caffemodel.read(tmp_path / "net.caffemodel").tensors["scale.blob0"], BIAS)


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        (lambda w: w.field(2, w.field(1, w.field(1, b"conv"))), "format V0"),
        (lambda w: w.field(100, w.field(7, w.blob(BIAS, 2))), "a layer with blobs and no name"),
        (lambda w: 2 * w.field(100, w.field(1, b"a") + w.field(7, w.blob(BIAS, 2))), "two layers named 'a'"),
        (
            lambda w: w.field(100, w.field(1, b"a") + w.field(7, w.field(5, bytes(4)) + w.field(1, 3))),
            "1 numbers in a blob",
        ),
        (lambda w: w.field(100, w.field(1, b"a")), "no tensor at all"),
        (lambda _: b"\x0b", "wire type 3"),
        (lambda _: b"\xff" * 11, "more than ten bytes"),
    ],
)
def test_what_is_no_network(writers, tmp_path, layers, found):
    (tmp_path / "net.caffemodel").write_bytes(layers(writers))
    with pytest.raises(weights.WeightsError, match=rf"net\.caffemodel: expected .*{found}"):
        caffemodel.read(tmp_path / "net.caffemodel")


@given(st.binary(min_size=1, max_size=64))
@settings(max_examples=50, deadline=None)
def test_arbitrary_bytes_never_pass(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "noise.caffemodel"
    path.write_bytes(content)
    with pytest.raises(weights.WeightsError, match="noise"):
        caffemodel.read(path)
