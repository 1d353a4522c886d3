"""COCO's average precision of detected instances (Lin et al. 2014, arXiv 1405.0312), computed by pycocotools."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from keras_segattn.arguments import check_choice
from keras_segattn.metrics.detections import compared

# The scores in the order of the summary of pycocotools.
SCORES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def coco_average_precision(
    detections: Sequence[Mapping[str, Any]], ground_truth: Sequence[Mapping[str, Any]], kind: str = "segm"
) -> dict[str, float]:
    """Compute the average precision of at most 100 detections per picture, averaged over classes.

    Args:
        detections: one mapping of arrays per picture: `scores` `(D,)`, `classes` `(D,)`, labels from 1, 0 for entries
            to leave out, and `boxes` `(D, 4)`, (x1, y1, x2, y2) in pixels, or `masks`, either `(D, height, width)` of
            bool or 0 and 1 in the frame of the picture, or D run-length encodings of pycocotools.
        ground_truth: one example of `keras_segattn.data.Instances` per picture, in the same order.
        kind: `"segm"` to compare masks or `"bbox"` to compare boxes.

    Returns:
        `AP`, the mean over IoU 0.5, 0.55 … 0.95; `AP50` and `AP75`, at an IoU of 0.5 and 0.75; `APs`, `APm` and `APl`,
        of objects with an area below 32², in between, and above 96² pixels. All are within 0..1, or NaN where there are
        no such objects.

    Raises:
        ValueError: if `kind` is unknown, there are no pictures, the two arguments differ in their number, or an entry
            lacks something or has a wrong shape; the message names the picture.

    Example:
        >>> coco_average_precision(detections, scenes)["AP50"]
        0.63
    """
    check_choice("kind", kind, ("bbox", "segm"))
    if len(ground_truth) == 0:
        raise ValueError("there are no pictures to compare")
    images: list[dict[str, Any]] = []
    true: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for number, (truth, detected) in enumerate(compared(detections, ground_truth, kind), 1):
        images.append({"id": number, "height": truth.size[0], "width": truth.size[1]})
        areas = coco_mask.area(truth.masks)  # the mask's area, as in COCO's files, for boxes too
        for place, (label, mask) in enumerate(zip(truth.classes, truth.masks, strict=True)):
            crowd = int(truth.crowd[place])
            true.append(_annotation(len(true), number, label, truth.boxes[place], mask, areas[place], iscrowd=crowd))
        areas = coco_mask.area(detected.masks) if kind == "segm" else _box_areas(detected.boxes)
        for place, (label, score) in enumerate(zip(detected.classes, detected.scores, strict=True)):
            region = detected.masks[place] if kind == "segm" else None
            box, area = detected.boxes[place], areas[place]
            found.append(_annotation(len(found), number, label, box, region, area, score=float(score)))
    from pycocotools.cocoeval import COCOeval  # it imports matplotlib, which is slow

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its results
        evaluation = COCOeval(_indexed(images, true), _indexed(images, found), kind)
        evaluation.params.catIds = sorted({one["category_id"] for one in true})
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(np.nan if value < 0 else value) for name, value in zip(SCORES, evaluation.stats, strict=False)}


def _annotation(
    count: int, image: int, label: int, box: np.ndarray, mask: Any, area: float, **more: float
) -> dict[str, Any]:
    x1, y1, x2, y2 = (float(value) for value in box)
    return {
        "id": count + 1,
        "image_id": image,
        "category_id": int(label),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "segmentation": mask,
        "area": float(area),
        "iscrowd": 0,
        **more,
    }


def _box_areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=-1)


def _indexed(images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> Any:
    from pycocotools.coco import COCO

    coco = COCO()
    categories = [{"id": label, "name": str(label)} for label in sorted({one["category_id"] for one in annotations})]
    coco.dataset = {"images": images, "annotations": annotations, "categories": categories}
    coco.createIndex()
    return coco
