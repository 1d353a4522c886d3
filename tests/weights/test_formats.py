"""Files are recognised by their content, whatever their names."""

import io
import pickle
import tarfile
import zipfile

import keras
import numpy as np
import pytest

from keras_segattn import weights
from keras_segattn.training.checkpoint import Progress, save_checkpoint


def write_keras(path, values, writers):
    model = writers.small_network()
    fill(model, values)
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)
    model.save(path.with_suffix(".keras"))
    path.with_suffix(".keras").rename(path)


def fill(model, values):
    for layer in model.layers:
        layer.set_weights([values[f"{layer.name}.{variable.name}"] for variable in layer.weights])


def write_npz(path, values, save=np.savez):
    with path.open("wb") as file:
        save(file, **values)


def with_paths(values):
    return {name.replace(".", "/") + ":0": value for name, value in values.items()}


@pytest.fixture
def formats(writers):
    """Format → writer of the small network's values, given in Keras's layout."""
    return {name: write for name, (_, write) in writers.FORMATS.items()} | {
        "Keras": lambda path, values: write_keras(path, values, writers),
        ".npz of Keras": write_npz,
        ".npz with paths": lambda path, values: write_npz(
            path, {f"{k.replace('.', '/')}:0": v for k, v in values.items()}
        ),
        ".npz of PyTorch": lambda path, values: write_npz(path, writers.foreign(values)),
        "compressed .npz": lambda path, values: write_npz(path, values, np.savez_compressed),
    }


NAMES = ("net.bin", "net.pth", "net.h5", "net.safetensors", "net.caffemodel", "net.keras", "net.ckpt", "net.npz", "net")
FORMATS = (
    *("torch zip", "torch legacy", "safetensors", "Caffe V2", "Caffe V1", "Keras 1", "Keras 2", "Keras 3", "pickle"),
    *("Keras", ".npz of Keras", ".npz with paths", ".npz of PyTorch", "compressed .npz"),
)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_recognised_under_any_name(network, writers, formats, tmp_path, kind):
    values = writers.random_values(network)
    path = tmp_path / ("first.weights.h5" if kind == "Keras 3" else "first")
    formats[kind](path, values)
    for name in NAMES:
        path = path.rename(tmp_path / name)
        network.set_weights([np.zeros(variable.shape) for variable in network.weights])
        assert weights.load(network, path).complete
        for layer in network.layers:
            for variable in layer.weights:
                np.testing.assert_array_equal(variable, values[f"{layer.name}.{variable.name}"])


def zipped(**files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def tarred():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return content.getvalue()


def saved(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def archive_of(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


OTHERS = {
    "TensorFlow Lite": (b"\x1c\0\0\0TFL3" + bytes(40), "a TensorFlow Lite model"),
    "SavedModel": (b"\x08\x01\x12\x80" + bytes(40), "a TensorFlow SavedModel"),
    "tar": (tarred(), "a tar archive"),
    "gzip": (b"\x1f\x8b\x08" + bytes(40), "a gzip archive"),
    "array": (saved(np.ones(3)), "a single NumPy array"),
    "web page": (b"<!DOCTYPE html><html>", "a web page"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    "JSON": (b'{"metadata": {}}', "JSON text"),
    "document": (zipped(**{"word/document.xml": "<x/>"}), "another zip archive, of 'word/document.xml'"),
    "TorchScript": (zipped(**{"net/data.pkl": b"\x80\x02}.", "net/code/net.py": ""}), r"TorchScript.*state_dict\(\)"),
    "Keras with pickled weights": (zipped(**{"config.json": "{}", "model.weights.npz": ""}), "weights_format='h5'"),
    "arrays without names": (archive_of(arr_0=np.ones(3)), "arrays without names"),
    "objects": (archive_of(**{"fc.bias": np.array([{}], object)}), "allow_pickle"),
    "graph": (b"\x0a\x03abc\x0a\x03abc\x22\x02\x08\x01", "bytes"),
    "damaged zip": (b"PK\3\4" + bytes(40), "File is not a zip file"),
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("name", ["net.pth", "net.tflite", "net"])
def test_other_files_are_named_for_what_they_are(network, tmp_path, kind, name):
    content, found = OTHERS[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(weights.WeightsError, match=rf"{name}: expected .*{found}"):
        weights.load(network, tmp_path / name)


def test_npz_is_never_unpickled(network, tmp_path):
    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / "marker"), "w"))

    with zipfile.ZipFile(tmp_path / "net.npz", "w") as archive:
        archive.writestr("fc.bias.npy", saved(np.ones(3))[:-24] + pickle.dumps(Attack()))
        archive.writestr("fc.kernel.npy", pickle.dumps(Attack()))
    with pytest.raises(weights.WeightsError, match=r"net\.npz: expected"):
        weights.load(network, tmp_path / "net.npz")
    assert not (tmp_path / "marker").exists()


def test_checkpoint_of_a_run_is_no_weight_file(network, tmp_path):
    optimizer = keras.optimizers.SGD()
    optimizer.build(network.trainable_variables)
    save_checkpoint(tmp_path / "checkpoint.npz", network, optimizer, Progress())
    with pytest.raises(weights.WeightsError, match=r"the checkpoint of a training run: give its best\.keras"):
        weights.load(network, tmp_path / "checkpoint.npz")


def test_part_of_a_tensorflow_checkpoint(network, tmp_path):
    (tmp_path / "net.ckpt.data-00000-of-00001").write_bytes(bytes(100))
    with pytest.raises(weights.WeightsError, match=r"one part of a TensorFlow checkpoint: give 'net\.ckpt'"):
        weights.load(network, tmp_path / "net.ckpt.data-00000-of-00001")


def test_builder_starts_from_a_whole_model(tmp_path):
    from keras_segattn import SqueezeNet1_1

    arguments = {"input_shape": (48, 48, 3), "classes": 3, "alpha": 0.0625}
    source = SqueezeNet1_1(**arguments)
    source.save(tmp_path / "best.keras")
    copy = SqueezeNet1_1(**arguments, weights=tmp_path / "best.keras")
    for ours, theirs in zip(copy.weights, source.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
