import numpy as np
import pytest
import safetensors.numpy

import keras_segattn
from keras_segattn import weights


@pytest.mark.parametrize("suffix", [".weights.h5", ".safetensors"])
def test_round_trip_replaces_an_older_file(tmp_path, suffix):
    arguments = dict(keras_segattn.model_card("FCN8s").tiny)
    source, target = keras_segattn.FCN8s(**arguments), keras_segattn.FCN8s(**arguments)
    path = tmp_path / f"fcn{suffix}"
    path.write_bytes(b"older")
    assert weights.save(source, path) == path
    assert list(tmp_path.iterdir()) == [path]
    report = weights.load(target, path)
    assert report.complete
    for ours, theirs in zip(target.weights, source.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_safetensors_say_their_layout(network, tmp_path):
    weights.save(network, tmp_path / "net.safetensors")
    with safetensors.safe_open(tmp_path / "net.safetensors", framework="numpy") as file:
        assert file.metadata() == {"keras_segattn.layout": "keras"}
        assert file.get_tensor("conv1.kernel").shape == (3, 3, 3, 4)
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    safetensors.numpy.save_file(tensors, tmp_path / "net.safetensors", {"keras_segattn.layout": "nchw"})
    with pytest.raises(weights.WeightsError, match="found 'nchw'"):
        weights.load(network, tmp_path / "net.safetensors")


@pytest.mark.parametrize("suffix", [".weights.h5", ".safetensors"])
def test_failed_save_leaves_the_older_file(network, tmp_path, monkeypatch, suffix):
    def fail(*_arguments, **_options):
        raise OSError("no space left on device")

    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"older")
    monkeypatch.setattr("keras.Model.save_weights", fail)
    monkeypatch.setattr("safetensors.numpy.save_file", fail)
    with pytest.raises(OSError, match="no space"):
        weights.save(network, path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"older"


def test_bad_destinations(network, tmp_path):
    with pytest.raises(ValueError, match=r"ending in \.weights\.h5 or \.safetensors, received 'net\.h5'"):
        weights.save(network, tmp_path / "net.h5")
    with pytest.raises(FileNotFoundError, match="expected a folder"):
        weights.save(network, tmp_path / "none" / "net.safetensors")
