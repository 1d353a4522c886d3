"""Checks of the labels of every batch while it is read, before a loss sees them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf


@dataclass(frozen=True)
class Labels:
    """The labels of a batch, and the range in which they must be.

    Args:
        key: place of the labels in a batch: position in a tuple, or name in a dict, which may be the first of a tuple.
        least: least label.
        most: greatest label.
        ignored: label outside of the range that is allowed, too; `None` if there is none.
    """

    key: int | str
    least: int
    most: int
    ignored: int | None = None

    def of(self, batch: Any) -> Any:
        """Return the labels of a batch; `None` if it has none."""
        if isinstance(self.key, int):
            return batch[self.key] if isinstance(batch, tuple | list) and len(batch) > self.key else None
        named = batch[0] if isinstance(batch, tuple | list) and batch else batch
        return named.get(self.key) if isinstance(named, Mapping) else None

    def wrong(self, labels: Any) -> Any:
        """Return where labels, an array or a tensor of TensorFlow, are out of range."""
        outside = (labels < self.least) | (labels > self.most)
        return outside if self.ignored is None else outside & (labels != self.ignored)

    @property
    def expected(self) -> str:
        """Description of the range."""
        ignored = "" if self.ignored is None else f" or the ignore label {self.ignored}"
        return f"expected {self.least}..{self.most}{ignored}"


def checked(data: Any, labels: Labels, name: str) -> Any:
    """Return the same batches, whose labels are checked when they are read.

    Args:
        data: `tf.data.Dataset`, `keras.utils.PyDataset` or iterator; anything else is returned as it is.
        labels: place and range of the labels.
        name: name of the data in messages.

    Returns:
        Data of the same kind. While it is read, a label out of range raises `ValueError`, in a data set
        `tf.errors.InvalidArgumentError`; the message names the batch.
    """
    if isinstance(data, tf.data.Dataset):
        return _checked_dataset(data, labels, name)
    if isinstance(data, keras.utils.PyDataset):
        return _CheckedBatches(data, labels, name)
    return _checked_iterator(data, labels, name) if isinstance(data, Iterator) else data


def _checked_dataset(data: tf.data.Dataset, labels: Labels, name: str) -> tf.data.Dataset:
    if labels.of(data.element_spec) is None:
        return data

    def check(number: Any, batch: Any) -> Any:
        found = labels.of(batch)
        wrong = labels.wrong(found)
        message = ["batch", number, f"of {name} holds label", tf.boolean_mask(found, wrong)[:1]]
        with tf.control_dependencies([tf.debugging.Assert(~tf.reduce_any(wrong), [*message, labels.expected])]):
            return tf.nest.map_structure(tf.identity, batch)

    return data.enumerate().map(check, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _check(batch: Any, labels: Labels, number: int, name: str) -> Any:
    if (found := labels.of(batch)) is not None:
        array = keras.ops.convert_to_numpy(found)
        wrong = array[labels.wrong(array)]
        if wrong.size:
            raise ValueError(f"batch {number} of {name} holds label {wrong[0]}, {labels.expected}")
    return batch


def _checked_iterator(data: Iterator[Any], labels: Labels, name: str) -> Iterator[Any]:
    return (_check(batch, labels, number, name) for number, batch in enumerate(data))


class _CheckedBatches(keras.utils.PyDataset):
    def __init__(self, data: keras.utils.PyDataset, labels: Labels, name: str) -> None:
        super().__init__(data.workers, data.use_multiprocessing, data.max_queue_size)
        self.data, self.labels, self.name = data, labels, name

    @property
    def num_batches(self) -> int | None:
        return self.data.num_batches

    def __getitem__(self, index: int) -> Any:
        return _check(self.data[index], self.labels, index, self.name)

    def on_epoch_begin(self) -> None:
        self.data.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.data.on_epoch_end()
