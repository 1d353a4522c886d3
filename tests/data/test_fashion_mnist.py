import gzip

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keras_segattn import data

SIZES = {"train": ("train", 60_000), "test": ("t10k", 10_000)}


def idx(array):
    """Return the bytes of an IDX file of unsigned bytes."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(length.to_bytes(4, "big") for length in array.shape)
    return header + array.tobytes()


def write_split(folder, split):
    prefix, count = SIZES[split]
    image = np.zeros((count, 28, 28), np.uint8)
    image[:, 0, 0] = np.arange(count) % 256
    image[0, 3, 5] = 255
    label = (np.arange(count) % 10).astype(np.uint8)
    for name, array in ((f"{prefix}-images-idx3-ubyte.gz", image), (f"{prefix}-labels-idx1-ubyte.gz", label)):
        (folder / name).write_bytes(gzip.compress(idx(array), compresslevel=1))


@pytest.fixture
def folder(tmp_path):
    write_split(tmp_path, "test")
    return tmp_path


def test_features_are_those_of_tfds(folder, tmp_path):
    ours = data.fashion_mnist("test", folder=folder)
    assert len(ours) == 10_000
    features = tfds.builder("fashion_mnist", data_dir=tmp_path, try_gcs=False).info.features
    assert ours.element_spec == {
        name: tf.TensorSpec(feature.shape, feature.dtype) for name, feature in features.items()
    }
    assert tuple(features["label"].names) == data.FASHION_MNIST_LABELS


def test_pictures_keep_their_place(folder):
    first, second = data.fashion_mnist("test", folder=folder).take(2).as_numpy_iterator()
    assert first["image"].dtype == np.uint8
    assert (first["image"][3, 5, 0], first["label"], second["image"][0, 0, 0], second["label"]) == (255, 0, 1, 1)


@settings(max_examples=25, deadline=None)
@given(array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4)), zipped=st.booleans())
def test_idx_files_come_back(tmp_path_factory, array, zipped):
    path = tmp_path_factory.mktemp("idx") / ("array.gz" if zipped else "array")
    path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    found = data.read_idx(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "IDX file of unsigned bytes"),
        (b"\x89PNG", "89 50 4e"),
        (bytes([0, 0, 13, 1, 0, 0, 0, 0]), "unsigned bytes"),  # float32
        (idx(np.zeros((2, 3), np.uint8))[:-1], r"truncated, expected \(2, 3\) bytes after the header, found 5"),
        (idx(np.zeros((2, 3), np.uint8)) + b"\0", "found 7"),
        (bytes([0, 0, 8, 3, 0, 0]), "truncated, expected a header of 16 bytes, found 6"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path, content, message):
    path = tmp_path / "array"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        data.read_idx(path)
    assert str(path) in str(caught.value)


def test_truncated_gzip_files_are_named(folder):
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"t10k-images.*truncated or corrupt.*dataset-fashion-mnist"):
        data.fashion_mnist("test", folder=folder)


def test_missing_files_say_how_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="apt-get install dataset-fashion-mnist"):
        data.fashion_mnist("train", folder=tmp_path)
    with pytest.raises(FileNotFoundError, match="a folder"):
        data.read_idx(tmp_path)


def test_files_of_another_set_are_refused(folder):
    images, labels = (folder / f"t10k-{name}-ubyte.gz" for name in ("images-idx3", "labels-idx1"))
    labels.write_bytes(gzip.compress(idx(np.full(10_000, 46, np.uint8))))  # EMNIST has labels up to 46
    with pytest.raises(ValueError, match=r"labels 0\.\.9, found 46"):
        data.fashion_mnist("test", folder=folder)
    images.write_bytes(gzip.compress(idx(np.zeros((5, 28, 28), np.uint8))))
    with pytest.raises(ValueError, match=r"expected an array \(10000, 28, 28\), found \(5, 28, 28\)"):
        data.fashion_mnist("test", folder=folder)


def test_unknown_split(folder):
    with pytest.raises(ValueError, match="split must be one of 'train', 'test'"):
        data.fashion_mnist("validation", folder=folder)
