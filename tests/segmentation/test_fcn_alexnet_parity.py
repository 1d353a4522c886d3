"""Ours equal the released `voc-fcn-alexnet` and CaffeNet's dense top, in PyTorch from the prototxts, through files."""

import math
import zlib

import numpy as np
import pytest

import keras_segattn
from keras_segattn import weights

# Rounding of float32 sums over up to 9,216 products in nine layers, accumulated in another order.
RELATIVE_DIFFERENCE = 1e-4
LOCAL_SIZE, ALPHA, BETA = 5, 1e-4, 0.75
# layer → (outputs, inputs of a group, kernel)
CONVOLUTIONS = {
    "conv1": (96, 3, 11),
    "conv2": (256, 48, 5),
    "conv3": (384, 256, 3),
    "conv4": (384, 192, 3),
    "conv5": (256, 192, 3),
}
FCN_HEAD = {"fc6": (4096, 256, 6), "fc7": (4096, 4096, 1), "score_fr": (21, 4096, 1)}


def blobs(layers):
    """Random blobs by layer and number, seeded by their names alone and scaled to keep activations near one."""
    values = {}
    for layer, (outputs, inputs, *kernel) in layers.items():
        shape = (outputs, inputs, *kernel, *kernel)
        for number, blob_shape in enumerate((shape, shape[:1])):
            generator = np.random.default_rng(zlib.crc32(f"{layer}.{number}".encode()))
            scale = math.sqrt(2 / math.prod(shape[1:])) if number == 0 else 0.1
            values[f"{layer}.blob{number}"] = scale * generator.standard_normal(blob_shape, dtype="float32")
    return values


def caffenet_backbone(x, values, pad):
    """conv1 to pool5 of the prototxt: pooling before normalisation, sizes rounded up."""
    import torch
    from torch.nn import functional as f

    def conv(x, layer, stride=1, pad=0, group=1):
        kernel, bias = (torch.from_numpy(values[f"{layer}.blob{number}"]) for number in (0, 1))
        return f.relu(f.conv2d(x, kernel, bias, stride, pad, groups=group))

    def pool(x):
        return f.max_pool2d(x, 3, 2, ceil_mode=True)

    def norm(x):
        # Caffe's formula written out, channel by channel, instead of torch's local_response_norm.
        half = LOCAL_SIZE // 2
        sums = [(x[:, max(0, c - half) : c + half + 1] ** 2).sum(1) for c in range(x.shape[1])]
        return x / (1 + ALPHA / LOCAL_SIZE * torch.stack(sums, 1)) ** BETA

    x = norm(pool(conv(x, "conv1", stride=4, pad=pad)))
    x = norm(pool(conv(x, "conv2", pad=2, group=2)))
    x = conv(conv(x, "conv3", pad=1), "conv4", pad=1, group=2)
    return pool(conv(x, "conv5", pad=1, group=2))


def fcn_alexnet(image, values):
    import torch
    from torch.nn import functional as f

    x = caffenet_backbone(torch.from_numpy(image.transpose(0, 3, 1, 2)), values, pad=100)
    for layer in ("fc6", "fc7", "score_fr"):
        x = f.conv2d(x, *(torch.from_numpy(values[f"{layer}.blob{number}"]) for number in (0, 1)))
        x = x if layer == "score_fr" else f.relu(x)
    x = f.conv_transpose2d(x, torch.from_numpy(values["upscore.blob0"]), stride=32)
    height, width = image.shape[1:3]
    return x[:, :, 18 : 18 + height, 18 : 18 + width].numpy().transpose(0, 2, 3, 1)


def relative_difference(found, expected):
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


def image(height, width):
    # Intensities as in real pictures, because response normalisation hardly changes smaller activations.
    return 70 * np.random.default_rng(height).standard_normal((1, height, width, 3), dtype="float32")


def write_caffemodel(path, values):
    """Format V2 of Caffe: layers (field 100) of a name (1) and blobs (7) of packed floats (5) and a shape (7)."""

    def varint(number):
        head = b""
        while number >= 0x80:
            head, number = head + bytes([number & 0x7F | 0x80]), number >> 7
        return head + bytes([number])

    def field(number, content):
        return varint(number << 3 | 2) + varint(len(content)) + content

    layers = {}
    for name, value in values.items():
        shape = field(1, b"".join(map(varint, value.shape)))
        layers.setdefault(name.partition(".")[0], []).append(field(7, field(5, value.tobytes()) + field(7, shape)))
    parts = [field(100, field(1, layer.encode()) + b"".join(found)) for layer, found in layers.items()]
    path.write_bytes(b"".join(parts))


@pytest.mark.parity
def test_fcn_alexnet_equals_the_prototxt(tmp_path):
    values = blobs(CONVOLUTIONS | FCN_HEAD)
    upscore = np.random.default_rng(1).standard_normal((21, 21, 63, 63), dtype="float32")
    values["upscore.blob0"] = upscore / 63
    path = tmp_path / "fcn-alexnet-pascal.caffemodel"
    write_caffemodel(path, values)

    model = keras_segattn.FCNAlexNet()
    report = weights.load(model, path)
    path.unlink()
    assert report.complete
    assert len(report.matched) == len(model.weights) == len(values)
    for size in ((65, 91), (149, 75)):
        expected = fcn_alexnet(image(*size), values)
        assert expected.shape == (1, *size, 21)
        assert relative_difference(model(image(*size)), expected) <= RELATIVE_DIFFERENCE


@pytest.mark.parity
def test_caffenet_equals_the_prototxt(tmp_path):
    import safetensors.numpy
    import torch
    from torch.nn import functional as f

    values = blobs(CONVOLUTIONS | {"fc6": (4096, 9216), "fc7": (4096, 4096), "fc8": (1000, 4096)})
    path = tmp_path / "caffenet.safetensors"
    leaves = {"blob0": "weight", "blob1": "bias"}
    safetensors.numpy.save_file({f"{n[:-5]}{leaves[n[-5:]]}": v for n, v in values.items()}, path)

    model = keras_segattn.CaffeNet()
    assert weights.load(model, path).complete
    path.unlink()
    x = caffenet_backbone(torch.from_numpy(image(227, 227).transpose(0, 3, 1, 2)), values, pad=0).flatten(1)
    for layer in ("fc6", "fc7", "fc8"):
        x = f.linear(x, *(torch.from_numpy(values[f"{layer}.blob{number}"]) for number in (0, 1)))
        x = x if layer == "fc8" else f.relu(x)
    assert relative_difference(model(image(227, 227)), x.numpy()) <= RELATIVE_DIFFERENCE
