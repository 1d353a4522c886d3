"""Fashion-MNIST (Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747) from the files of Debian's package."""

from os import PathLike
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_segattn.arguments import check_choice
from keras_segattn.data.idx import read_idx

# The folder in which the Debian package dataset-fashion-mnist installs its files.
FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")
HOW_TO_GET = (
    "install the Debian package (`apt-get install dataset-fashion-mnist`), or unpack it without installing "
    "(`apt-get download dataset-fashion-mnist; dpkg-deb -x dataset-fashion-mnist_*.deb DIR`) and give "
    "folder='DIR/usr/share/datasets/fashion-mnist'"
)
# TFDS' name of a split → prefix of the files' names, and their number of pictures.
SPLITS = {"train": ("train", 60_000), "test": ("t10k", 10_000)}
FASHION_MNIST_LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def fashion_mnist(split: str, *, folder: str | PathLike[str] = FASHION_MNIST_FOLDER) -> tf.data.Dataset:
    """Open Fashion-MNIST, with the features of the TFDS set of that name. Nothing is downloaded.

    Args:
        split: `"train"` (60,000 pictures) or `"test"` (10,000).
        folder: folder of the four gzipped IDX files; by default the one in which Debian's package installs them.

    Returns:
        Data set in the order of the files: `image` uint8 `(28, 28, 1)`, 0..255, and `label` int64 scalar, 0..9, the
        index into `FASHION_MNIST_LABELS`.

    Raises:
        FileNotFoundError: if a file is missing; the message says how to get it.
        ValueError: if the split is unknown or a file is damaged or holds something else.

    Example:
        >>> train = fashion_mnist("train").map(lambda example: (example["image"], example["label"]))
    """
    check_choice("split", split, tuple(SPLITS))
    prefix, count = SPLITS[split]
    image = _part(Path(folder) / f"{prefix}-images-idx3-ubyte.gz", (count, 28, 28))
    label = _part(Path(folder) / f"{prefix}-labels-idx1-ubyte.gz", (count,))
    if label.max() >= len(FASHION_MNIST_LABELS):
        raise ValueError(f"{Path(folder) / prefix}-labels-idx1-ubyte.gz: expected labels 0..9, found {label.max()}")
    return tf.data.Dataset.from_tensor_slices({"image": image[..., None], "label": label.astype(np.int64)})


def _part(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = read_idx(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}: {HOW_TO_GET}") from None
    except ValueError as error:
        raise ValueError(f"{error}; {HOW_TO_GET}") from error
    if array.shape != shape:
        raise ValueError(f"{path}: expected an array {shape}, found {array.shape}; {HOW_TO_GET}")
    return array
