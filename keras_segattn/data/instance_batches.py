"""Training batches from pictures with instances."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from PIL import Image

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.data.augmentation import check_integer, check_size
from keras_segattn.data.epochs import EpochDataset
from keras_segattn.data.fitting import resized
from keras_segattn.data.instances import Example, boxes_of, check_example
from keras_segattn.fields import Picture


class InstanceBatches(EpochDataset):
    """Batches of pictures and padded ground truth, all of one size: for `fit`, or to iterate over.

    A batch is a dict of NumPy arrays for B pictures, each with G slots for objects (rows that may be empty):

    * `image`: float32 `(B, height, width, channels)`, preprocessed; black outside the picture, as in prediction
    * `boxes`: float32 `(B, G, 4)`, (x1, y1, x2, y2) in pixels of `image`
    * `classes`: int32 `(B, G)`, labels from 1; 0 in empty slots, which come last; negative labels for crowds
    * `masks`: uint8 `(B, G, height, width)`, 0 or 1

    Pictures are resized bilinearly (with anti-aliasing when they shrink), masks to the nearest pixel. If a picture is
    cut, boxes enclose the remaining part of each mask. Objects that keep no pixel, or less than one pixel of width or
    height, are left out; there is a warning about the first one that has no more in the example itself.

    Args:
        examples: sequence of examples in the form of `keras_segattn.data.Instances`.
        batch_size: number of pictures per batch; the last batch of an epoch may be smaller.
        size: (height, width) of the batch's pictures, in pixels.
        slots: greatest number of objects per picture, G.
        preprocessing: preprocessing of the model, `registry.preprocessing_of(model)`; `None` leaves RGB 0..255.
        keep_aspect: whether a picture keeps its aspect ratio and is padded at its right or bottom, or is stretched.
        flip: whether to mirror left to right half of the time.
        scale: lowest and highest factor of a uniformly drawn zoom; a picture that is then too large is cut at a random
            place, one that is too small is put at a random place.
        overflow: treatment of pictures with more objects than slots: `"largest"` keeps the objects with the largest
            boxes (crowds last) and warns once, `"error"` raises.
        shuffle: whether each epoch has an order of its own.
        seed: seed of order, flips and zoom. They are a function of it and of the attribute `epoch`, see `EpochDataset`.
        cache: whether to keep the pictures in memory once read, as bytes and packed bits: about 240 kB for a 256 × 256
            picture with 5 objects.
        workers: number of threads that make batches ahead.

    Raises:
        ValueError: if an argument is wrong or there are no examples; while iterating, if an example has another form
            than `Instances` documents, or has too many objects and `overflow="error"`.

    Example:
        >>> batches = InstanceBatches(scenes, batch_size=8, size=(256, 256), slots=8, flip=True, shuffle=True)
        >>> model.fit(batches, epochs=10)
    """

    def __init__(
        self,
        examples: Sequence[Example],
        *,
        batch_size: int,
        size: tuple[int, int],
        slots: int,
        preprocessing: Picture | None = None,
        keep_aspect: bool = True,
        flip: bool = False,
        scale: tuple[float, float] = (1.0, 1.0),
        overflow: str = "largest",
        shuffle: bool = False,
        seed: int = 0,
        cache: bool = False,
        workers: int = 1,
    ) -> None:
        check_positive_integer("batch_size", batch_size)
        check_size("size", size)
        check_positive_integer("slots", slots)
        for name, value in (("keep_aspect", keep_aspect), ("flip", flip), ("shuffle", shuffle), ("cache", cache)):
            check_choice(name, value, (True, False))
        if not isinstance(scale, tuple | list) or len(scale) != 2 or not 0 < scale[0] <= scale[1] < math.inf:
            raise ValueError(f"scale must be (lowest, highest) with 0 < lowest <= highest, received {scale!r}")
        check_choice("overflow", overflow, ("largest", "error"))
        check_integer("seed", seed)
        check_positive_integer("workers", workers)
        if len(examples) == 0:
            raise ValueError("there are no examples")
        super().__init__(workers=workers)
        self.examples, self.batch_size, self.size, self.slots = examples, batch_size, tuple(size), slots
        self.preprocessing, self.keep_aspect, self.flip, self.scale = preprocessing, keep_aspect, flip, tuple(scale)
        self.overflow, self.shuffle, self.seed = overflow, shuffle, seed
        self._cache: dict[int, tuple[Any, ...]] | None = {} if cache else None
        self._highest: tuple[int, int] | None = None
        self._told: set[str] = set()

    def check_classes(self, classes: int) -> None:
        """Check that a detector has all labels of the examples.

        Unless the labels have names, which say the highest, every example is read once for this.

        Args:
            classes: number of classes of the detector, background included.

        Raises:
            ValueError: if a label is not below `classes`; the message names the example.
        """
        names = getattr(self.examples, "class_names", None)
        if isinstance(names, Mapping) and names and max(names) < classes:
            return
        if self._highest is None:
            highest = [self._labels(number).max(initial=0) for number in range(len(self.examples))]
            place = int(np.argmax(highest))
            self._highest = int(highest[place]), place
        label, place = self._highest
        if label >= classes:
            raise ValueError(
                f"{self._name(place)} has label {label}, but the detector has {classes} classes, background included, "
                f"that is labels 1..{classes - 1}: build it with classes={label + 1}, or number the labels from 1 "
                "without gaps (contiguous=True of COCO's reader)"
            )

    def _labels(self, number: int) -> np.ndarray:
        example = self.examples[number]
        check_example(example, self._name(number, example))
        labels: np.ndarray = example["objects"]["label"]
        return labels

    def _name(self, number: int, example: Any = None) -> str:
        """Return the name of an example in messages."""
        example = self.examples[number] if example is None else example
        known = isinstance(example, Mapping) and "image/filename" in example
        return f"example {number} ({example['image/filename'] if known else 'no name'})"

    @property
    def num_batches(self) -> int:
        """Number of batches in an epoch."""
        return math.ceil(len(self.examples) / self.batch_size)

    def __len__(self) -> int:
        return self.num_batches

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Make batch `index` of the epoch, `0 <= index < len(self)`."""
        if not 0 <= index < self.num_batches:
            raise IndexError(f"there are {self.num_batches} batches, received index {index}")
        order: Any = range(len(self.examples))
        epoch = self.epoch
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.examples))
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        count = len(chosen)
        pixels = np.zeros((count, *self.size, 3), np.uint8)
        batch: dict[str, np.ndarray] = {
            "boxes": np.zeros((count, self.slots, 4), np.float32),
            "classes": np.zeros((count, self.slots), np.int32),
            "masks": np.zeros((count, self.slots, *self.size), np.uint8),
        }
        for place, number in enumerate(chosen):
            random = np.random.default_rng([self.seed, epoch, int(number)])
            self._fill({name: array[place] for name, array in batch.items()}, pixels[place], number, random)
        image = pixels if self.preprocessing is None else keras.ops.convert_to_numpy(self.preprocessing(pixels))
        return {"image": image.astype(np.float32), **batch}

    def _fill(
        self,
        slots: dict[str, np.ndarray],
        pixels: np.ndarray,
        number: int,
        random: np.random.Generator,
    ) -> None:
        """Write example `number` into its rows of a batch, whose arrays are zero before."""
        image, boxes, classes, masks = self._read(int(number))
        height, width = image.shape[:2]
        if self.flip and random.random() < 0.5:
            image, masks = image[:, ::-1], masks[..., ::-1]
            boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=-1)
        factors = np.array(self.size) / (height, width)
        if self.keep_aspect:
            factors[:] = factors.min()
        zoom = random.uniform(self.scale[0], self.scale[1])
        target = np.maximum(1, np.round(factors * (height, width) * zoom)).astype(int)
        start = np.zeros(2, int)
        if self.scale != (1.0, 1.0):
            start = np.floor((np.array(self.size) - target + 1) * random.random(2)).astype(int)
        # `to` is the part of the batch's picture that the resized picture covers, `of` the same part of the latter.
        ends = np.minimum(start + target, self.size)
        to = tuple(slice(max(first, 0), last) for first, last in zip(start, ends, strict=True))
        of = tuple(slice(max(-first, 0), last - first) for first, last in zip(start, ends, strict=True))
        pixels[to] = resized(image, (int(target[0]), int(target[1])))[of]
        boxes = boxes * np.tile((target / (height, width))[::-1], 2) + np.tile(start[::-1], 2)
        boxes = np.clip(boxes, 0, np.tile(self.size[::-1], 2)).astype(np.float32)
        sides = boxes[:, 2:] - boxes[:, :2]
        order = np.lexsort((-sides.prod(axis=-1), classes < 0))
        kept = 0
        for one in order[(sides[order] >= 1).all(axis=-1)]:
            mask = _resized(masks[one], target)[of]
            if not mask.any():
                continue
            if kept == self.slots:
                self._overflow(int(number))
                break
            slots["boxes"][kept], slots["classes"][kept], slots["masks"][kept][to] = boxes[one], classes[one], mask
            if (target > self.size).any():
                slots["boxes"][kept] = boxes_of(slots["masks"][kept][None])[0]
            kept += 1

    def _read(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return image, boxes, signed classes and masks of an example, from memory if they are cached."""
        if self._cache is not None and number in self._cache:
            image, boxes, classes, bits = self._cache[number]
            return image, boxes, classes, np.unpackbits(bits, axis=-1, count=image.shape[1])
        example = self.examples[number]
        check_example(example, self._name(number, example))
        image, objects = example["image"], example["objects"]
        boxes, masks = objects["bbox"], objects["mask"]
        lost = np.flatnonzero(~masks.any(axis=(1, 2)) | (boxes[:, 2:] - boxes[:, :2] < 1).any(axis=1))
        if lost.size:
            what = (
                f"{self._name(number, example)} has an object {lost[0]} without pixels, or with a box of less than one"
            )
            self._warn_once("lost", f"{what}: it is left out, as are others like it")
        classes = np.where(objects["is_crowd"], -objects["label"], objects["label"])
        if self._cache is not None:
            self._cache[number] = (image, boxes, classes, np.packbits(masks, axis=-1))
        return image, boxes, classes, masks

    def _overflow(self, number: int) -> None:
        message = f"example {number} has more objects than the {self.slots} slots"
        if self.overflow == "error":
            raise ValueError(f"{message}: give more slots or overflow='largest'")
        self._warn_once("overflow", f"{message}: the largest are kept, here and in others")

    def _warn_once(self, about: str, message: str) -> None:
        if about not in self._told:
            self._told.add(about)
            warnings.warn(message, stacklevel=2)


def _resized(mask: np.ndarray, target: np.ndarray) -> np.ndarray:
    height, width = (int(side) for side in target)
    if mask.shape[:2] == (height, width):
        return mask
    return np.asarray(Image.fromarray(np.ascontiguousarray(mask)).resize((width, height), Image.Resampling.NEAREST))
