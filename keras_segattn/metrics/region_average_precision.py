"""AP^r: average precision of detected regions (Hariharan et al. 2014, "Simultaneous Detection and Segmentation")."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from keras_segattn.arguments import check_choice
from keras_segattn.metrics.detections import compared

IOU_THRESHOLDS = np.arange(1, 10) / 10
INTERPOLATIONS = ("area", "11 points")


def region_average_precision(
    detections: Sequence[Mapping[str, Any]], ground_truth: Sequence[Mapping[str, Any]], interpolation: str = "area"
) -> dict[str, Any]:
    """Compute the mean AP^r at a mask IoU of 0.5 and 0.7, and AP^r_vol, its mean over IoU 0.1, 0.2 … 0.9.

    As in Pascal VOC, each detection, from the highest score down, is compared with the one object of its class and
    picture that it overlaps most. It is a hit if their IoU reaches the threshold and the object was not hit before,
    else it is false. Crowds are treated as VOC treats difficult objects: neither they nor detections that hit them
    count.

    Args:
        detections: one mapping of arrays per picture: `scores` `(D,)`, `classes` `(D,)`, labels from 1, 0 for entries
            to leave out, and `masks`, either `(D, height, width)` of bool or 0 and 1 in the frame of the picture, or D
            run-length encodings of pycocotools.
        ground_truth: one example of `keras_segattn.data.Instances` per picture, in the same order.
        interpolation: `"area"` for the area under the precision, made monotone, as in VOC since 2010, or `"11 points"`
            for its mean at recall 0, 0.1 … 1, as in VOC 2007.

    Returns:
        `AP50`, `AP70` and `AP_vol`, means over the classes that occur, 0..1, NaN if none occurs; `classes`: label →
        float64 `(9,)`, the AP^r of a class at each IoU.

    Raises:
        ValueError: if `interpolation` is unknown, there are no pictures, the two arguments differ in their number, or
            an entry lacks something or has a wrong shape; the message names the picture.

    Example:
        >>> region_average_precision(detections, scenes)["AP50"]
        0.61
    """
    check_choice("interpolation", interpolation, INTERPOLATIONS)
    if len(ground_truth) == 0:
        raise ValueError("there are no pictures to compare")
    objects: dict[int, int] = defaultdict(int)
    scores: dict[int, list[float]] = defaultdict(list)
    outcomes: dict[int, list[np.ndarray]] = defaultdict(list)
    for truth, found in compared(detections, ground_truth, "segm"):
        for label in np.unique(np.concatenate([truth.classes, found.classes])):
            true, mine = np.flatnonzero(truth.classes == label), np.flatnonzero(found.classes == label)
            mine = mine[np.argsort(-found.scores[mine], kind="stable")]
            crowd = truth.crowd[true]
            objects[int(label)] += int(np.count_nonzero(~crowd))
            overlaps = np.zeros((len(mine), len(true)))
            if overlaps.size:
                masks = [found.masks[one] for one in mine], [truth.masks[one] for one in true]
                overlaps = coco_mask.iou(*masks, [0] * len(true))
            outcomes[int(label)] += _outcomes(overlaps, crowd)
            scores[int(label)] += found.scores[mine].tolist()
    classes = {}
    for label in sorted(label for label, count in objects.items() if count):
        order = np.argsort(-np.array(scores[label]), kind="stable")
        outcome = np.array(outcomes[label]).reshape(-1, len(IOU_THRESHOLDS))[order]
        classes[label] = np.array([_average_precision(one, objects[label], interpolation) for one in outcome.T])
    mean = np.mean(list(classes.values()), axis=0) if classes else np.full(len(IOU_THRESHOLDS), np.nan)
    return {"AP50": float(mean[4]), "AP70": float(mean[6]), "AP_vol": float(mean.mean()), "classes": classes}


def _outcomes(overlaps: np.ndarray, crowd: np.ndarray) -> list[np.ndarray]:
    """Judge each detection, in descending order of score, at each IoU: 1 hit, 0 false, -1 does not count."""
    taken = np.zeros((len(crowd), len(IOU_THRESHOLDS)), bool)
    outcomes = []
    for row in overlaps:
        outcome = np.zeros(len(IOU_THRESHOLDS), np.int8)
        if row.size:
            best = int(np.argmax(row))
            near = row[best] >= IOU_THRESHOLDS
            outcome[near & ~taken[best]] = 1
            taken[best] |= near
            if crowd[best]:
                outcome[near] = -1
        outcomes.append(outcome)
    return outcomes


def _average_precision(outcome: np.ndarray, objects: int, interpolation: str) -> float:
    """Compute the average precision of a class with objects from outcomes in descending order of score."""
    hits = np.cumsum(outcome == 1)
    recall, precision = hits / objects, hits / np.maximum(1, np.cumsum(outcome >= 0))
    if interpolation == "11 points":
        levels = np.arange(11) / 10
        return float(np.mean([precision[recall >= level].max(initial=0) for level in levels]))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * envelope))
