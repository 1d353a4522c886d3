"""Detected and true instances of pictures, with run-length encoded masks, as both average precisions compare them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from keras_segattn.metrics.run_lengths import check_run_lengths

Rle = dict[str, Any]


@dataclass(frozen=True)
class Truth:
    """The true instances of a picture.

    Args:
        size: (height, width) of the picture.
        boxes: `(n, 4)`, (x1, y1, x2, y2).
        classes: `(n,)`, labels from 1.
        crowd: `(n,)`, bool.
        masks: n run-length encodings of pycocotools.
    """

    size: tuple[int, int]
    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    masks: list[Rle]


@dataclass(frozen=True)
class Found:
    """The instances that were detected in a picture, without unused entries.

    Args:
        boxes: `(n, 4)`, (x1, y1, x2, y2); zeros if only masks are compared.
        scores: `(n,)`.
        classes: `(n,)`, labels from 1.
        masks: n run-length encodings of pycocotools; empty if only boxes are compared.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    masks: list[Rle]


def compared(
    detections: Sequence[Mapping[str, Any]], ground_truth: Sequence[Mapping[str, Any]], kind: str
) -> Iterator[tuple[Truth, Found]]:
    """Yield the true and the detected instances, picture by picture.

    Args:
        detections: one mapping per picture with `scores` `(D,)`, `classes` `(D,)`, 0 for unused entries, and `boxes`
            `(D, 4)` for kind `"bbox"` or `masks` for kind `"segm"`: `(D, height, width)` of bool or 0 and 1, in the
            frame of the picture, or D run-length encodings of `pycocotools`.
        ground_truth: one example of `keras_segattn.data.Instances` per picture, in the same order.
        kind: `"bbox"` or `"segm"`.

    Yields:
        True and detected instances of each picture.

    Raises:
        ValueError: if the lengths differ, or something is missing, has a wrong shape or is not finite; the message
            names the picture.
    """
    if len(detections) != len(ground_truth):
        raise ValueError(f"expected detections of {len(ground_truth)} pictures, received {len(detections)}")
    for number, (detection, example) in enumerate(zip(detections, ground_truth, strict=True)):
        if not {"image", "objects"} <= example.keys():
            raise ValueError(
                f"ground truth of picture {number}: expected image and objects, received {sorted(example)}"
            )
        objects, size = example["objects"], example["image"].shape[:2]
        truth = Truth(size, objects["bbox"], objects["label"], objects["is_crowd"], _encoded(objects["mask"]))
        yield truth, _found(detection, size, kind, f"detections of picture {number}")


def _found(detection: Mapping[str, Any], size: tuple[int, int], kind: str, name: str) -> Found:
    key = "boxes" if kind == "bbox" else "masks"
    missing = {"scores", "classes", key} - detection.keys()
    if missing:
        raise ValueError(f"{name} lack {sorted(missing)}: they have {sorted(detection)}")
    scores, classes = np.asarray(detection["scores"], np.float64), np.asarray(detection["classes"])
    if scores.ndim != 1 or classes.shape != scores.shape or not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(
            f"{name}: expected scores (D,) and integer classes (D,), received {scores.shape} and {classes.dtype} "
            f"{classes.shape}"
        )
    used = classes != 0
    if not np.isfinite(scores[used]).all():
        raise ValueError(f"{name}: scores hold NaN or infinity")
    boxes, masks = np.zeros((len(scores), 4)), []
    if kind == "bbox":
        boxes = np.asarray(detection["boxes"], np.float64)
        if boxes.shape != (len(scores), 4) or not np.isfinite(boxes[used]).all():
            raise ValueError(f"{name}: expected finite boxes ({len(scores)}, 4), received {boxes.shape} {boxes}")
    else:
        masks = _masks(detection["masks"], used, size, name)
    return Found(boxes[used], scores[used], classes[used], masks)


def _masks(masks: Any, used: np.ndarray, size: tuple[int, int], name: str) -> list[Rle]:
    if len(masks) != len(used):
        raise ValueError(f"{name}: expected {len(used)} masks, received {len(masks)}")
    if len(masks) == 0:
        return []
    if isinstance(masks[0], Mapping):
        chosen = [dict(mask) for mask, use in zip(masks, used, strict=True) if use]
        for mask in chosen:
            try:
                check_run_lengths(mask, size)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        return chosen
    array = np.asarray(masks)
    if array.shape != (len(used), *size):
        raise ValueError(f"{name}: expected masks {(len(used), *size)} in the picture's frame, received {array.shape}")
    array = array[used]
    if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name}: expected masks of 0 and 1, received others: threshold probabilities at 0.5")
    return _encoded(array)


def _encoded(masks: np.ndarray) -> list[Rle]:
    return coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0), np.uint8))
