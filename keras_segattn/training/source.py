"""Sources of batches: one interface to the kinds of data that training accepts, and checks of the first batch."""

from collections.abc import Sized
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from keras_segattn import graph
from keras_segattn.training.label_checks import Labels, checked


class EpochBatches(Protocol):
    """Batches as a function of the epoch, such as `keras_segattn.data.MaskBatches`.

    `batches(epoch)` returns the finite `tf.data.Dataset` of that epoch, also for a symbolic scalar int64 epoch;
    `len(batches)` is the number of steps of every epoch.
    """

    def __call__(self, epoch: Any) -> tf.data.Dataset:
        """Return the batches of one epoch."""

    def __len__(self) -> int: ...


Data: TypeAlias = EpochBatches | tf.data.Dataset | keras.utils.PyDataset


@dataclass(frozen=True)
class Source:
    """Batches `(image float32 (b, h, w, channels), mask integer (b, h, w))` of one data set.

    Args:
        data: data that the user gave.
        name: name of the data in error messages.
        steps: number of batches per epoch.
        labels: place and range of the labels, which are checked in every batch that is trained or evaluated on.
    """

    data: Data
    name: str
    steps: int
    labels: Labels | None = None

    @classmethod
    def of(cls, data: Data, name: str, labels: Labels | None = None) -> "Source":
        """Wrap `data`; a dataset that does not know its length is counted in one pass.

        Raises:
            TypeError: if it is none of the kinds of `Data`.
            ValueError: if it is empty or endless.
        """
        if isinstance(data, tf.data.Dataset):
            cardinality = int(data.cardinality())
            if cardinality == tf.data.INFINITE_CARDINALITY:
                raise ValueError(f"{name} never ends: take(n) or drop repeat(); every epoch is one pass over it")
            if cardinality == tf.data.UNKNOWN_CARDINALITY:
                steps = int(data.reduce(np.int64(0), lambda count, *_: count + 1))
                data = data.apply(tf.data.experimental.assert_cardinality(steps))
            else:
                steps = cardinality
        elif isinstance(data, keras.utils.PyDataset):
            steps = data.num_batches
        elif callable(data) and isinstance(data, Sized):
            steps = len(data)
        else:
            raise TypeError(
                f"{name} must be a tf.data.Dataset, a keras.utils.PyDataset or batches as a function of the epoch "
                f"with a length, received {type(data).__name__}"
            )
        if steps == 0:
            raise ValueError(f"{name} is empty: it holds no batch")
        return cls(data, name, steps, labels)

    @property
    def by_epoch(self) -> bool:
        """Return whether the batches are a function of the epoch, so that training can resume within an epoch."""
        return not isinstance(self.data, tf.data.Dataset | keras.utils.PyDataset)

    def first_batch(self, epoch: int) -> Any:
        """Return one batch of an epoch, for checks."""
        if isinstance(self.data, keras.utils.PyDataset):
            return self.data[0]
        dataset = self.data if isinstance(self.data, tf.data.Dataset) else self.data(epoch)
        return next(iter(dataset))

    def epochs(self, first: int, last: int) -> tuple[Any, int | None]:
        """Return data and `steps_per_epoch` with which `fit` trains the epochs `first` to `last - 1`."""
        if isinstance(self.data, tf.data.Dataset):
            return shardable(self._checked(self.data)), None
        if isinstance(self.data, keras.utils.PyDataset):
            return self._checked(self.data), None
        epochs = tf.data.Dataset.range(first, last).flat_map(lambda epoch: self._checked(self.data(epoch)))
        epochs = epochs.apply(tf.data.experimental.assert_cardinality((last - first) * self.steps))
        return shardable(epochs.prefetch(tf.data.AUTOTUNE)), self.steps

    def remaining(self, epoch: int, step: int, epochs: int) -> list[tuple[int, int, Any, int | None]]:
        """List the calls of `fit` that remain: (first epoch, last epoch, data, steps per epoch)."""
        calls: list[tuple[int, int, Any, int | None]] = []
        if step:
            calls.append((epoch, epoch + 1, *self.rest_of_epoch(epoch, step)))
            epoch += 1
        if epoch < epochs:
            calls.append((epoch, epochs, *self.epochs(epoch, epochs)))
        return calls

    def rest_of_epoch(self, epoch: int, step: int) -> tuple[Any, int]:
        """Return data and `steps_per_epoch` with which `fit` trains an epoch without its first `step` batches."""
        return shardable(self._checked(self.data(epoch)).skip(step)), self.steps - step

    def _checked(self, data: Any) -> Any:
        return data if self.labels is None else checked(data, self.labels, self.name)


def shardable(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return `dataset` such that each worker of a cluster takes its share of every batch."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)


def check_model(model: keras.Model) -> int:
    """Check a segmentation model, and return its number of classes.

    Raises:
        TypeError: if it is not a functional model.
        ValueError: if it does not have one image input and one output `(batch, height, width, classes)`.
    """
    model = graph.functional(model)
    for name, shape in (("input", model.input_shape), ("output", model.output_shape)):
        if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] is None:
            raise ValueError(
                f"expected one {name} (batch, height, width, channels) of {model.name!r}, received {shape}"
            )
    classes = model.output_shape[-1]
    if classes < 2:
        raise ValueError(f"expected logits of at least 2 classes, {model.name!r} has output {model.output_shape}")
    return classes


def check_logits(model: keras.Model, outputs: Any = None) -> None:
    """Raise `ValueError` if an output is a softmax or sigmoid, on which a loss of logits would train wrongly.

    Args:
        model: functional model.
        outputs: outputs that are trained; `None` checks all outputs.
    """
    for tensor in keras.tree.flatten(model.output if outputs is None else outputs):
        if activation := graph.final_activation(tensor):
            raise ValueError(
                f"{graph.producer(tensor).name!r} of {model.name!r} ends in {activation}; the loss expects "
                "logits: build the model with classifier_activation=None"
            )


def check_batch(batch: Any, model: keras.Model, ignore_label: int | None, name: str) -> None:
    """Check that a batch fits the model.

    Args:
        batch: pair `(image, mask)`.
        model: segmentation model.
        ignore_label: label that is no class, or `None`.
        name: name of the data in error messages.

    Raises:
        ValueError: if structure, shapes, dtypes or values are wrong; the message says what was received.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ValueError(f"{name} must give (image, mask) batches, received {type(batch).__name__}")
    image, mask = (keras.ops.convert_to_numpy(part) for part in batch)
    if image.ndim != 4 or mask.ndim != 3:
        raise ValueError(
            f"{name} must give images (batch, height, width, channels) and masks (batch, height, width), "
            f"received {image.shape} and {mask.shape}"
        )
    check_images(image, model, name)
    output = tuple(model.compute_output_shape(image.shape))
    if output[:3] != mask.shape:
        raise ValueError(f"{model.name!r} gives {output} for images {image.shape}, but the masks are {mask.shape}")
    check_labels(mask, output[-1], ignore_label, name)


def check_images(images: Any, model: keras.Model, name: str) -> None:
    """Check that a batch of images fits a model with one image input.

    Raises:
        ValueError: if rank, shape, dtype or values are wrong; the message says what was received.
    """
    image = keras.ops.convert_to_numpy(images)
    if image.ndim != 4:
        raise ValueError(f"{name} must give images (batch, height, width, channels), received {image.shape}")
    if any(want not in (None, have) for have, want in zip(image.shape[1:], model.input_shape[1:], strict=True)):
        raise ValueError(f"{name} gives images {image.shape}, {model.name!r} expects {model.input_shape}")
    if not np.issubdtype(image.dtype, np.floating) or not np.isfinite(image).all():
        raise ValueError(f"images of {name} must be finite floating point numbers (first batch: {image.dtype})")


def check_labels(mask: np.ndarray, classes: int, ignore_label: int | None, name: str) -> None:
    """Raise `ValueError` unless every label is a class 0..classes-1 or the ignore label."""
    if not np.issubdtype(mask.dtype, np.integer):
        raise ValueError(f"masks of {name} must be integers, received {mask.dtype}")
    labels = np.unique(mask)
    wrong = labels[((labels < 0) | (labels >= classes)) & (labels != (-1 if ignore_label is None else ignore_label))]
    if wrong.size:
        raise ValueError(
            f"labels of {name} must be 0..{classes - 1} or the ignore label {ignore_label}, "
            f"received {', '.join(map(str, wrong[:10]))}"
        )
