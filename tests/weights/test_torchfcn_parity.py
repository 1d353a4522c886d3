"""Random weights of torchfcn, loaded from files, give the same scores here."""

import importlib
import sys
import types
import zlib

import numpy as np
import pytest

import keras_segattn
from keras_segattn import weights

# Rounding of float32 sums over 25,088 products in fc6 and nineteen layers, accumulated in another order.
RELATIVE_DIFFERENCE = 1e-4
SIZES = ((64, 80), (97, 65))


def torchfcn_model(monkeypatch, name):
    """Load a torchfcn network from its model file alone, as the package itself imports data sets and torchvision."""
    [folder] = importlib.util.find_spec("torchfcn").submodule_search_locations
    monkeypatch.setitem(sys.modules, "fcn", types.ModuleType("fcn"))
    for package, path in (("torchfcn", folder), ("torchfcn.models", f"{folder}/models")):
        stub = types.ModuleType(package)
        stub.__path__ = [path]
        monkeypatch.setitem(sys.modules, package, stub)
    module = importlib.import_module(f"torchfcn.models.{name.lower().removesuffix('atonce')}")
    return getattr(module, name)()


def randomize(network, at_once):
    """Draw random weights from one NumPy generator per tensor name, scaled to keep activations near one.

    Score layers after the at-once factors are larger by the inverse factors, so that the comparison depends on every
    stream.
    """
    import torch

    gains = {"score_pool4.weight": 1e2, "score_pool3.weight": 1e4} if at_once else {}

    for name, tensor in network.state_dict().items():
        generator = np.random.default_rng(zlib.crc32(name.encode()))
        fan_in = max(tensor[0].numel(), 1)
        values = generator.standard_normal(tensor.shape, dtype="float32") * np.sqrt(2 / fan_in)
        values *= gains.get(name, 1)
        tensor.copy_(torch.from_numpy(values))


@pytest.mark.parity
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "ours", "suffix"),
    [
        # Each has 134 million weights. FCN-8s has all layers of the others.
        pytest.param("FCN32s", {}, "pth", marks=pytest.mark.thorough),
        pytest.param("FCN16s", {}, "safetensors", marks=pytest.mark.thorough),
        ("FCN8s", {}, "pth"),
        pytest.param("FCN8sAtOnce", {"at_once": True}, "safetensors", marks=pytest.mark.thorough),
    ],
)
def test_scores_equal_torchfcn(monkeypatch, tmp_path, name, ours, suffix):
    import safetensors.torch
    import torch

    theirs = torchfcn_model(monkeypatch, name).eval()
    randomize(theirs, at_once=bool(ours))
    path = tmp_path / f"fcn.{suffix}"
    if suffix == "pth":
        torch.save(theirs.state_dict(), path)
    else:
        safetensors.torch.save_file(theirs.state_dict(), path)

    model = keras_segattn.get_model(name.removesuffix("AtOnce"), **ours)
    report = weights.load(model, path)
    path.unlink()
    assert report.complete
    assert len(report.matched) == len(model.weights) == len(theirs.state_dict())

    for height, width in SIZES:
        image = np.random.default_rng(height).standard_normal((1, height, width, 3), dtype="float32")
        with torch.no_grad():
            expected = theirs(torch.from_numpy(image.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
        found = np.asarray(model(image))
        assert found.shape == expected.shape == (1, height, width, 21)
        difference = np.abs(found - expected).max() / np.abs(expected).max()
        assert difference <= RELATIVE_DIFFERENCE
