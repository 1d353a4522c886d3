"""Training batches from a data set of pictures and masks."""

import warnings
from collections import Counter
from typing import Any

import numpy as np
import tensorflow as tf

from keras_segattn.arguments import check_positive_integer
from keras_segattn.data.augmentation import Augmentation, check_integer, check_size
from keras_segattn.data.graph_fitting import resized
from keras_segattn.data.pictures import FIRST_MASKS
from keras_segattn.fields import Picture

# Number of decoded pictures kept in memory to draw from; a data set below this size is shuffled perfectly.
SHUFFLE_BUFFER = 1000


class MaskBatches:
    """The batches of any epoch: a function of the epoch's number, so that a resumed training sees the same ones.

    Args:
        source: data set with the features `image`, `segmentation_mask` and `file_name` of the readers here, of
            known length.
        batch_size: number of pictures per batch.
        classes: number of classes; a label beyond them that is not `ignore_label` is an error.
        preprocessing: preprocessing of the model, `registry.preprocessing_of(model)`; `None` leaves RGB 0..255.
        size: (height, width) to which pictures are resized (bilinearly, masks to the nearest label); `None` keeps
            their sizes, which must then be equal within a batch.
        augmentation: random changes, whose crop is the size; not together with `size`. Its `ignore_label`, which
            padded pixels get, must equal the one here.
        ignore_label: label of pixels that do not count; `None` if there is none. The first masks are read to warn if
            nothing but one class is left without this label, as in masks of 0 and 255.
        shuffle: whether each epoch has an order of its own.
        seed: seed of order and augmentation.
        drop_remainder: whether to leave out a last, smaller batch.

    Raises:
        ValueError: if an argument is wrong, a feature is missing or of another form, or the source is empty or of
            unknown length.
        tf.errors.InvalidArgumentError: if one of the first files is damaged.

    Example:
        >>> batches = MaskBatches(folder("images", "masks"), batch_size=8, classes=3, size=(256, 256))
        >>> for image, mask in batches(0): ...
    """

    def __init__(
        self,
        source: tf.data.Dataset,
        *,
        batch_size: int,
        classes: int,
        preprocessing: Picture | None = None,
        size: tuple[int, int] | None = None,
        augmentation: Augmentation | None = None,
        ignore_label: int | None = 255,
        shuffle: bool = False,
        seed: int = 0,
        drop_remainder: bool = False,
    ) -> None:
        check_positive_integer("batch_size", batch_size)
        check_positive_integer("classes", classes)
        if size is not None and augmentation is not None:
            raise ValueError("give size or augmentation, not both: an augmentation's crop is the size")
        if size is not None:
            check_size("size", size)
        check_integer("seed", seed)
        if ignore_label is not None:
            check_integer("ignore_label", ignore_label)
        if augmentation is not None and augmentation.ignore_label != ignore_label:
            raise ValueError(
                f"the augmentation pads masks with label {augmentation.ignore_label}, which would count: "
                f"expected ignore_label to be the same, received {ignore_label!r}"
            )
        _check_features(source)
        count = int(source.cardinality())
        if count < 0:
            raise ValueError("the data set must have a known length: apply tf.data.experimental.assert_cardinality")
        if count == 0:
            raise ValueError("the data set is empty")
        if drop_remainder and count < batch_size:
            raise ValueError(f"{count} pictures make no whole batch of {batch_size}")
        self.source, self.count, self.batch_size, self.classes = source, count, batch_size, classes
        self.preprocessing, self.size, self.augmentation = preprocessing, size, augmentation
        self.ignore_label, self.shuffle, self.seed, self.drop_remainder = ignore_label, shuffle, seed, drop_remainder
        self._warn_if_all_is_ignored()

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        whole, rest = divmod(self.count, self.batch_size)
        return whole + (rest > 0 and not self.drop_remainder)

    def __call__(self, epoch: int | tf.Tensor) -> tf.data.Dataset:
        """Return the batches of one epoch.

        Args:
            epoch: number from 0 up, an integer or a scalar integer tensor.

        Returns:
            Data set of `(image, mask)`: float32 `(batch, height, width, channels)`, preprocessed, and int32
            `(batch, height, width)`.

        Raises:
            tf.errors.InvalidArgumentError: while iterating, if a picture is not finite, its mask is of another size
                or a label is out of range, or if pictures of one batch differ in size; the message names the files.
        """
        epoch = tf.cast(epoch, tf.int64)
        pictures = self.source
        if self.shuffle:
            pictures = shuffled(pictures, min(self.count, SHUFFLE_BUFFER), (self.seed, epoch))
        prepared = pictures.enumerate().map(
            lambda index, features: self._prepare(features, (self.seed * 1_000_003 + epoch, index)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,  # whatever the options of the source
        )
        if self._resizes:
            batches = prepared.batch(self.batch_size, drop_remainder=self.drop_remainder)
        else:  # where pictures differ in size, `batch` would fail without naming them
            batches = prepared.padded_batch(self.batch_size, drop_remainder=self.drop_remainder).map(_of_one_size)
        return batches.apply(tf.data.experimental.assert_cardinality(len(self))).prefetch(tf.data.AUTOTUNE)

    def _warn_if_all_is_ignored(self) -> None:
        if self.ignore_label is None or self.classes == 1:
            return
        names, pixels = [], Counter[int]()
        for features in self.source.take(FIRST_MASKS).as_numpy_iterator():
            names.append(features["file_name"].decode())
            labels, counts = np.unique(features["segmentation_mask"], return_counts=True)
            pixels.update(dict(zip(labels.tolist(), counts.tolist(), strict=True)))
        ignored = pixels.pop(self.ignore_label, 0)
        if ignored and len(pixels) < 2:
            warnings.warn(
                f"the masks of {names[0]} and {len(names) - 1} other pictures hold no labels but {[*pixels]} and the "
                f"ignored label {self.ignore_label} ({ignored / (ignored + pixels.total()):.0%} of the pixels): if it "
                "is a class, as in masks of 0 and 255, give the reader palette=[(0, 0, 0), (255, 255, 255)], or make "
                f"its label less than {self.classes}",
                stacklevel=3,
            )

    @property
    def _resizes(self) -> bool:
        return self.size is not None or self.augmentation is not None

    def _prepare(self, features: dict[str, tf.Tensor], seed: tuple[Any, Any]) -> tuple[tf.Tensor, ...]:
        """Return picture and mask and, if pictures keep their sizes, their name and shape for `_of_one_size`."""
        image, mask, name = features["image"], features["segmentation_mask"], features["file_name"]
        with tf.control_dependencies(self._checks(image, mask, name)):
            image, mask = tf.identity(image), tf.identity(mask)
        if self.augmentation is not None:
            image, mask = self.augmentation(image, mask, tf.stack(seed))
        elif self.size is not None:
            pixels = image.dtype == tf.uint8  # resized as in prediction
            image = resized(image, self.size) if pixels else tf.image.resize(image, self.size, antialias=True)
            mask = tf.image.resize(mask, self.size, method="nearest")
        image = tf.cast(image, tf.float32) if self.preprocessing is None else self.preprocessing(image)
        image, mask = tf.ensure_shape(image, (None, None, None)), tf.cast(mask[..., 0], tf.int32)
        return (image, mask) if self._resizes else (image, mask, name, tf.shape(image))

    def _checks(self, image: tf.Tensor, mask: tf.Tensor, name: tf.Tensor) -> list[tf.Operation]:
        labels = tf.cast(mask, tf.int64)
        wrong = (labels < 0) | (labels >= self.classes)
        if self.ignore_label is not None:
            wrong &= labels != self.ignore_label
        expected = (
            f"expected 0..{self.classes - 1} or the ignored label {self.ignore_label}; if masks hold grey levels or "
            "colours rather than classes, give the reader their palette"
        )
        image_size, mask_size = tf.shape(image)[:2], tf.shape(mask)[:2]
        checks = [
            tf.debugging.Assert(
                tf.reduce_all(image_size == mask_size),
                ["mask of", name, "has (height, width)", mask_size, "its image", image_size],
            ),
            tf.debugging.Assert(
                tf.logical_not(tf.reduce_any(wrong)),
                ["mask of", name, "holds label", tf.reduce_max(tf.boolean_mask(mask, wrong)), expected],
            ),
        ]
        if image.dtype.is_floating:
            finite = tf.reduce_all(tf.math.is_finite(image))
            checks.append(tf.debugging.Assert(finite, ["image of", name, "holds NaN or infinity"]))
        return checks


def _of_one_size(image: tf.Tensor, mask: tf.Tensor, name: tf.Tensor, shape: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return images and masks of a padded batch, and check that nothing was padded."""
    differs = tf.reduce_any(shape != shape[0], axis=-1)
    other = tf.argmax(tf.cast(differs, tf.int32))
    message = [
        "pictures of one batch differ in (height, width, channels):",
        name[0],
        shape[0],
        name[other],
        shape[other],
    ]
    remedy = "; give size= or augmentation=, which make them equal, or batch_size=1"
    with tf.control_dependencies([tf.debugging.Assert(~tf.reduce_any(differs), [*message, remedy])]):
        return tf.identity(image), tf.identity(mask)


def _check_features(source: tf.data.Dataset) -> None:
    """Raise `ValueError` unless the data set has pictures, masks with one integer per pixel, and names."""
    if not isinstance(source, tf.data.Dataset) or not isinstance(source.element_spec, dict):
        raise ValueError(f"expected a data set of features by name, received {source!r}")
    missing = {"image", "segmentation_mask", "file_name"} - set(source.element_spec)
    if missing:
        raise ValueError(f"the data set lacks the features {sorted(missing)}: it has {source.element_spec}")
    image, mask, name = (source.element_spec[key] for key in ("image", "segmentation_mask", "file_name"))
    if not image.shape.is_compatible_with((None, None, None)) or image.dtype.is_bool:
        raise ValueError(f"image must be numbers of (height, width, channels), received {image}")
    if not mask.shape.is_compatible_with((None, None, 1)) or not mask.dtype.is_integer:
        raise ValueError(f"segmentation_mask must be integers of (height, width, 1), received {mask}")
    if not name.shape.is_compatible_with(()) or name.dtype != tf.string:
        raise ValueError(f"file_name must be one string, received {name}")


def shuffled(dataset: tf.data.Dataset, buffer: int, seed: tuple[int, tf.Tensor]) -> tf.data.Dataset:
    """Shuffle like `dataset.shuffle`, but as a function of the seed alone, which may be a tensor.

    `dataset.shuffle` mixes in TensorFlow's global seed, which may differ when training resumes, and takes only
    integers.
    """
    structure = dataset.element_spec
    variant = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(dataset),
        buffer_size=buffer,
        seed=seed[0],
        seed2=seed[1] + 1,  # (0, 0) would mean: draw a seed
        output_types=[spec.dtype for spec in tf.nest.flatten(structure)],
        output_shapes=[spec.shape for spec in tf.nest.flatten(structure)],
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(variant, structure)
