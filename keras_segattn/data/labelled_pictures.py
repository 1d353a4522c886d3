"""Pictures with or without classes, and training batches of them for classifiers and generators."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.data.augmentation import check_integer
from keras_segattn.data.examples import read
from keras_segattn.data.pictures import SUFFIXES
from keras_segattn.fields import Picture


class LabelledPictures(NamedTuple):
    """Pictures and their classes.

    Attributes:
        pictures: paths, or arrays uint8 `(height, width, 1 or 3)`.
        labels: integers `(count,)`, 0..classes-1; `None` if the pictures have no classes.
    """

    pictures: Sequence[Any] | np.ndarray
    labels: np.ndarray | None


def class_folder(root: str | PathLike[str]) -> tuple[LabelledPictures, tuple[str, ...]]:
    """Find pictures in one folder per class: `root/cat/1.jpg`, `root/dog/2.jpg`.

    Args:
        root: folder of these folders, which are named after the classes.

    Returns:
        The pictures, with the classes in the order of their names, and these names.

    Raises:
        FileNotFoundError: if the folder is missing, or has no folders of pictures.
        ValueError: if a class has no pictures.

    Example:
        >>> pictures, names = class_folder("flowers")
    """
    root = Path(root)
    folders = _class_folders(root)
    if not folders:
        raise FileNotFoundError(f"{root}: expected a folder of pictures for each class, found none")
    files = [_pictures_in(folder) for folder in folders]
    for folder, found in zip(folders, files, strict=True):
        if not found:
            raise ValueError(f"{folder}: expected {', '.join(SUFFIXES)} files, found none")
    labels = np.repeat(np.arange(len(folders)), [len(found) for found in files])
    return LabelledPictures([path for found in files for path in found], labels), tuple(f.name for f in folders)


def picture_folder(root: str | PathLike[str]) -> tuple[LabelledPictures, tuple[str, ...] | None]:
    """Find pictures in a folder without classes, or in one folder per class as `class_folder` does.

    Args:
        root: folder of pictures, or of folders of pictures.

    Returns:
        The pictures, and the names of the classes or `None`.

    Raises:
        FileNotFoundError: if the folder is missing, or there are no pictures.
        ValueError: if a class has no pictures.
    """
    root = Path(root)
    if _class_folders(root):
        return class_folder(root)
    found = _pictures_in(root)
    if not found:
        raise FileNotFoundError(f"{root}: expected {', '.join(SUFFIXES)} files, found none")
    return LabelledPictures(found, None), None


class PictureBatches:
    """The batches of any epoch: a function of the epoch's number, so that a resumed training sees the same ones.

    Pictures are read and resized as in prediction.

    Args:
        source: pictures and their classes.
        field: normalisation of the network, and its way of resizing pictures.
        shape: `(height, width, channels)` of the network, all fixed: pictures are resized to it.
        batch_size: number of pictures per batch.
        mirror: whether to mirror left to right half of the time.
        shuffle: whether each epoch has an order of its own.
        seed: seed of order and mirroring.
        drop_remainder: whether to leave out a last, smaller batch, unless it is the only one.

    Raises:
        ValueError: if an argument is wrong or there are no pictures.
        tf.errors.InvalidArgumentError: while iterating, if a file is damaged; the message names it.

    Example:
        >>> batches = PictureBatches(pictures, preprocessing_of(model), (224, 224, 3), batch_size=32, shuffle=True)
        >>> for image, label in batches(0): ...
    """

    def __init__(
        self,
        source: LabelledPictures,
        field: Picture,
        shape: tuple[int, int, int],
        *,
        batch_size: int,
        mirror: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        drop_remainder: bool = False,
    ) -> None:
        check_positive_integer("batch_size", batch_size)
        for side in shape:
            check_positive_integer("height, width and channels of shape", side)
        check_choice("mirror", mirror, (True, False))
        check_choice("shuffle", shuffle, (True, False))
        check_integer("seed", seed)
        if not len(source.pictures):
            raise ValueError("there are no pictures")
        if source.labels is not None:
            _check_labels(source.labels, source.pictures)
        self.source, self.field, self.shape, self.batch_size = source, field, shape, batch_size
        self.mirror, self.shuffle, self.seed = mirror, shuffle, seed
        self.drop_remainder = drop_remainder and len(source.pictures) >= batch_size

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        whole, rest = divmod(len(self.source.pictures), self.batch_size)
        return whole + (rest > 0 and not self.drop_remainder)

    def __call__(self, epoch: int | tf.Tensor) -> tf.data.Dataset:
        """Return the batches of one epoch.

        Args:
            epoch: number from 0 up, an integer or a scalar integer tensor.

        Returns:
            Data set of images float32 `(batch, *shape)`, normalised, or of `(image, label)` with labels int64
            `(batch,)`.
        """
        epoch = tf.cast(epoch, tf.int64)
        order = tf.range(len(self.source.pictures), dtype=tf.int64)
        if self.shuffle:
            order = tf.random.experimental.stateless_shuffle(
                order, seed=tf.stack([tf.cast(self.seed, tf.int64), epoch])
            )
        batches = (
            tf.data.Dataset.from_tensor_slices(order)
            .map(lambda index: self._example(index, epoch), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .batch(self.batch_size, drop_remainder=self.drop_remainder)
            .map(self._normalised, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        )
        return batches.apply(tf.data.experimental.assert_cardinality(len(self))).prefetch(tf.data.AUTOTUNE)

    def _example(self, index: tf.Tensor, epoch: tf.Tensor) -> Any:
        image = tf.ensure_shape(tf.numpy_function(self._read, [index, epoch], tf.uint8, stateful=False), self.shape)
        if self.source.labels is None:
            return image
        return image, tf.gather(tf.constant(self.source.labels, tf.int64), index)

    def _read(self, index: np.int64, epoch: np.int64) -> np.ndarray:
        image = read(self.field, self.shape, self.source.pictures[int(index)], {}).array
        mirrored = self.mirror and np.random.default_rng([self.seed, int(epoch), int(index)]).random() < 0.5
        return np.ascontiguousarray(image[:, ::-1]) if mirrored else image

    def _normalised(self, image: tf.Tensor, label: tf.Tensor | None = None) -> Any:
        image = self.field(image)
        return image if label is None else (image, label)


def _check_labels(labels: np.ndarray, pictures: Sequence[Any] | np.ndarray) -> None:
    """Raise `ValueError` unless there is one class from 0 for each picture."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.shape != (len(pictures),):
        raise ValueError(f"expected labels to be integers ({len(pictures)},), received {labels.dtype} {labels.shape}")
    if labels.min() < 0:
        place = int(labels.argmin())
        name = pictures[place] if isinstance(pictures[place], str | PathLike) else f"picture {place}"
        raise ValueError(f"{name}: expected a label from 0, received {labels[place]}")


def _class_folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: expected a folder of pictures, found none")
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _pictures_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
