"""Training batches of cropped regions, each with the class of the object that it overlaps."""

import math
from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_segattn.arguments import check_number, check_positive_integer
from keras_segattn.data.augmentation import check_integer
from keras_segattn.data.epochs import EpochDataset
from keras_segattn.data.instances import Example
from keras_segattn.fields import Picture
from keras_segattn.ops.boxes import box_iou
from keras_segattn.ops.crop_and_warp import check_crop, crop_and_warp

# A region is foreground from this overlap on (Girshick et al. 2014, section 2.3).
FOREGROUND = 0.5


class RegionBatches(EpochDataset):
    """Crops of random regions for fine-tuning a classifier as R-CNN does (Girshick et al. 2014, section 2.3).

    Of every batch, a fixed share are regions that overlap an object by at least half (intersection over union), with
    its class as label; the others overlap less and are background, class 0. Both are drawn with replacement from the
    regions of all pictures, as Caffe's window layer does, and half of the crops are mirrored. True boxes are regions,
    too. Objects that are crowds, and regions that lie in one by half, are left out.

    Args:
        examples: pictures with their instances, as `data.coco_instances` gives them; labels from 1.
        proposals: boxes `(n, 4)` of each picture, in its pixels.
        preprocessing: normalisation of the network, whose mean colour must be 0.
        size: height and width of a crop, in pixels.
        batch_size: number of crops per batch; the published number is 128.
        steps: number of batches per epoch.
        foreground: share of foreground regions in a batch, rounded down.
        padding: width of the context in a crop, see `ops.crop_and_warp`.
        mode: form of a crop, see `ops.crop_and_warp`.
        seed: seed of all random choices.

    Raises:
        ValueError: if an argument is wrong, or there are no foreground or no background regions.

    Example:
        >>> batches = RegionBatches(scenes, boxes, preprocessing=preprocessing_of(model), size=227, steps=1000)
        >>> crops, labels = batches[0]
    """

    def __init__(
        self,
        examples: Sequence[Example],
        proposals: Sequence[np.ndarray],
        *,
        preprocessing: Picture,
        size: int,
        steps: int,
        batch_size: int = 128,
        foreground: float = 0.25,
        padding: int = 16,
        mode: str = "warp",
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("steps", steps), ("batch_size", batch_size)):
            check_positive_integer(name, value)
        check_number("foreground", foreground, 0, 1)
        check_integer("seed", seed)
        check_crop(size, padding, mode)
        if len(examples) != len(proposals):
            raise ValueError(f"expected proposals of {len(examples)} pictures, received those of {len(proposals)}")
        self.examples, self.preprocessing, self.size = examples, preprocessing, size
        self.steps, self.batch_size, self.seed = steps, batch_size, seed
        self.padding, self.mode = padding, mode
        self.positives = math.floor(foreground * batch_size)
        self.boxes, windows = [], []
        for number, (example, proposed) in enumerate(zip(examples, proposals, strict=True)):
            boxes = regions_of(example, proposed)
            labels = labels_of(example, boxes)
            self.boxes.append(boxes)
            windows += [(number, place, label) for place, label in enumerate(labels.tolist()) if label >= 0]
        found = np.array(windows, "int64").reshape(-1, 3)
        self.foreground, self.background = found[found[:, 2] > 0], found[found[:, 2] == 0]
        for count, regions, kind in (
            (self.positives, self.foreground, "foreground"),
            (batch_size - self.positives, self.background, "background"),
        ):
            if count and not len(regions):
                raise ValueError(f"the pictures have no {kind} regions, and every batch needs {count}")

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return self.steps

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a batch of the epoch: crops float32 `(batch, size, size, channels)` and labels int32 `(batch,)`."""
        random = np.random.default_rng([self.seed, self.epoch, index])
        chosen = np.concatenate(
            [
                self.foreground[random.integers(0, len(self.foreground), self.positives)],
                self.background[random.integers(0, len(self.background), self.batch_size - self.positives)],
            ]
        )
        crops = np.zeros((self.batch_size, self.size, self.size, len(self.preprocessing.mean)), np.float32)
        for number in np.unique(chosen[:, 0]):
            here = chosen[:, 0] == number
            image = self.preprocessing(self.examples[number]["image"][None])
            boxes = self.boxes[number][chosen[here, 1]]
            crops[here] = ops.convert_to_numpy(crop_and_warp(image, boxes[None], self.size, self.padding, self.mode))[0]
        mirrored = random.random(self.batch_size) < 0.5
        crops[mirrored] = crops[mirrored, :, ::-1]
        return crops, chosen[:, 2].astype("int32")


def regions_of(example: Example, proposals: np.ndarray) -> np.ndarray:
    """Return the true boxes of a picture, then its proposals, float32 `(n, 4)`."""
    objects = example["objects"]
    boxes = np.asarray(proposals, np.float32).reshape(-1, 4)
    return np.concatenate([objects["bbox"][~objects["is_crowd"]], boxes]).astype(np.float32)


def overlaps_of(example: Example, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the overlaps (IoU) of boxes with the objects that are no crowds, `(n, objects)`, and their labels."""
    objects = example["objects"]
    real = ~objects["is_crowd"]
    overlaps = ops.convert_to_numpy(box_iou(boxes, objects["bbox"][real].reshape(-1, 4)))
    return overlaps, objects["label"][real]


def labels_of(example: Example, boxes: np.ndarray) -> np.ndarray:
    """Return the class of each region: 0 for background, -1 for regions that lie in a crowd by half."""
    overlaps, classes = overlaps_of(example, boxes)
    found = np.zeros(len(boxes), "int64")
    if len(classes):
        found = np.where(overlaps.max(axis=1) >= FOREGROUND, classes[overlaps.argmax(axis=1)], 0)
    for crowd in example["objects"]["bbox"][example["objects"]["is_crowd"]]:
        sides = np.minimum(boxes[:, 2:], crowd[2:]) - np.maximum(boxes[:, :2], crowd[:2])
        area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        found[(found == 0) & (2 * sides.clip(0).prod(axis=1) >= area)] = -1
    return found
