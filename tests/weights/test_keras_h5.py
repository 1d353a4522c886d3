import h5py
import keras
import numpy as np
import pytest

from keras_segattn import weights


def assert_values(model, values):
    for layer in model.layers:
        for variable in layer.weights:
            np.testing.assert_array_equal(variable, values[f"{layer.name}.{variable.name}"])


@pytest.mark.parametrize("name", ["whole.h5", "only.weights.h5"])
def test_file_of_a_trained_model(network, writers, tmp_path, name):
    """The file of a trained model also has optimiser and random state, which are reported as ignored."""
    network.compile("adam", "mse")
    network.fit(np.ones((2, 6, 4, 3)), np.ones((2, 5)), verbose=0)
    values = {f"{layer.name}.{v.name}": np.array(v) for layer in network.layers for v in layer.weights}
    if name == "whole.h5":
        network.save(tmp_path / name)
    else:
        network.save_weights(tmp_path / name)
        with h5py.File(tmp_path / name, "a") as file:  # as earlier versions of Keras 3 wrote it
            file["layers/dropout/seed_generator/vars/0"] = np.zeros(2, "uint32")
    fresh = writers.small_network()
    report = weights.load(fresh, tmp_path / name)
    assert report.complete
    assert any("optimizer" in ignored for ignored in report.ignored)
    assert all("optimizer" in ignored or "seed_generator" in ignored for ignored in report.ignored)
    assert_values(fresh, values)


def composite(name):
    steps = keras.Input((5, 3))
    x = keras.layers.LSTM(4, return_sequences=True, name="lstm")(steps)
    return keras.Model(steps, keras.layers.MultiHeadAttention(2, 3, name="attention")(x, x), name=name)


@pytest.mark.parametrize("suffix", [".weights.h5", ".safetensors", ".h5"])
def test_composite_layers_round_trip(tmp_path, suffix):
    source, target = composite("source"), composite("target")
    path = tmp_path / f"composite{suffix}"
    if suffix == ".h5":
        source.save(path)
    else:
        weights.save(source, path)
    report = weights.load(target, path)
    assert report.complete
    assert "lstm_cell/recurrent_kernel" in {match.variable for match in report.matched}
    for ours, theirs in zip(target.weights, source.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_whole_sequential_model(tmp_path):
    def build():
        return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(2)])

    source, target = build(), build()
    source.save(tmp_path / "net.h5")
    assert weights.load(target, tmp_path / "net.h5").complete
    for ours, theirs in zip(target.weights, source.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_keras_3_file_of_another_model(network, tmp_path):
    weights.save(composite("other"), tmp_path / "other.weights.h5")
    with pytest.raises(weights.WeightsError, match=r"do not fit model 'small'(.|\n)*missing: conv1\.kernel"):
        weights.load(network, tmp_path / "other.weights.h5")


def test_layer_names_with_slashes(writers, tmp_path):
    image = keras.Input((4, 4, 2))
    model = keras.Model(image, keras.layers.Conv2D(3, 1, name="fire2_squeeze")(image))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["layer_names0"] = [b"fire2"]
        file.attrs["layer_names1"] = [b"fire2/squeeze"]
        file["fire2/squeeze/fire2/squeeze_W:0"] = np.ones((1, 1, 2, 3))
    with pytest.raises(weights.WeightsError, match="unexpected: fire2/squeeze"):
        weights.load(model, tmp_path / "a.h5")


def test_hdf5_of_another_kind(network, tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(weights.WeightsError, match=r"data\.h5: expected .*found HDF5 with \['images'\]"):
        weights.load(network, tmp_path / "data.h5")


def test_tensor_in_another_file_is_refused(network, writers, tmp_path):
    """An external data set would read any file of this machine into the model."""
    (tmp_path / "secret").write_bytes(bytes(4 * 5))
    values = writers.random_values(network)
    del values["fc.bias"]
    writers.write_legacy_h5(tmp_path / "net.h5", values)
    with h5py.File(tmp_path / "net.h5", "a") as file:
        file["fc"].create_dataset("fc/bias:0", (5,), "f4", external=[(str(tmp_path / "secret"), 0, 20)])
    with pytest.raises(weights.WeightsError, match="refers to another file"):
        weights.load(network, tmp_path / "net.h5")


def test_tensor_never_written_is_refused(network, writers, tmp_path):
    values = writers.random_values(network)
    del values["fc.bias"]
    writers.write_legacy_h5(tmp_path / "net.h5", values)
    with h5py.File(tmp_path / "net.h5", "a") as file:
        file["fc"].create_dataset("fc/bias:0", (5,), "f4")
    with pytest.raises(weights.WeightsError, match="with 0 bytes of 20 written"):
        weights.load(network, tmp_path / "net.h5")
