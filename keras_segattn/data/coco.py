"""Instances in the JSON of COCO (Lin et al. 2014, arXiv 1405.0312)."""

from collections import defaultdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from keras_segattn.arguments import check_choice
from keras_segattn.data.coco_json import by_id, read_json
from keras_segattn.data.instances import Example, Instances
from keras_segattn.data.pictures import read_image


def coco_instances(
    annotations: str | PathLike[str], images: str | PathLike[str], *, contiguous: bool = True
) -> Instances:
    """Open pictures and instances of an `instances_*.json`; pictures and masks are read when they are asked for.

    Args:
        annotations: JSON file; its masks may be polygons, uncompressed or compressed run lengths.
        images: folder of the pictures.
        contiguous: whether labels are 1..n in the order of the category ids (COCO's 1..90 become 1..80), or the
            category ids themselves.

    Returns:
        Examples in the order of the file; pictures without objects are among them.

    Raises:
        FileNotFoundError: if the file is missing; when reading, if a picture is.
        ValueError: if the file is no JSON of this form, or an annotation names an unknown picture or category or lacks
            a field; when reading, if a picture is damaged or not of the size that the file says, or a mask is
            malformed. The message names the file and the annotation.

    Example:
        >>> validation = coco_instances("annotations/instances_val2017.json", "val2017")
    """
    check_choice("contiguous", contiguous, (True, False))
    path, folder = Path(annotations), Path(images)
    content = read_json(path, "a COCO instances file")
    pictures = by_id(path, content, "images", {"file_name": str, "height": int, "width": int})
    categories = by_id(path, content, "categories", {"name": str})
    objects = by_id(
        path, content, "annotations", {"image_id": int, "category_id": int, "bbox": list, "segmentation": (list, dict)}
    )
    labels = {one: place if contiguous else one for place, one in enumerate(sorted(categories), 1)}
    if labels and min(labels.values()) < 1:
        raise ValueError(f"{path}: category id {min(labels)} is no label (0 is background); give contiguous=True")
    of_picture = defaultdict(list)
    for key, annotation in objects.items():
        for field, known in (("image_id", pictures), ("category_id", categories)):
            if annotation[field] not in known:
                raise ValueError(f"{path}: annotation {key} has the unknown {field} {annotation[field]}")
        bbox = annotation["bbox"]
        if len(bbox) != 4 or not all(isinstance(v, int | float) and np.isfinite(v) for v in bbox) or min(bbox[2:]) < 0:
            raise ValueError(f"{path}: annotation {key}: expected bbox [x, y, width, height], found {bbox}")
        of_picture[annotation["image_id"]].append(annotation)

    def read(key: int) -> Example:
        picture, found = pictures[key], of_picture[key]
        height, width = picture["height"], picture["width"]
        image = read_image(folder / picture["file_name"])
        if image.shape[:2] != (height, width):
            raise ValueError(
                f"{folder / picture['file_name']}: is {image.shape[:2]} (height, width), {path} says {(height, width)}"
            )
        mask = np.zeros((len(found), height, width), np.uint8)
        for place, annotation in enumerate(found):
            name = f"{path}: annotation {annotation['id']}"
            mask[place] = coco_mask.decode(to_rle(annotation["segmentation"], height, width, name))
        bbox = np.array([annotation["bbox"] for annotation in found], np.float32).reshape(-1, 4)
        bbox[:, 2:] += bbox[:, :2]
        return {
            "image": image,
            "image/id": key,
            "image/filename": picture["file_name"],
            "objects": {
                "bbox": bbox,
                "label": np.array([labels[annotation["category_id"]] for annotation in found], np.int32),
                "is_crowd": np.array([bool(annotation.get("iscrowd", 0)) for annotation in found], bool),
                "mask": mask,
            },
        }

    return Instances(list(pictures), read, {labels[key]: one["name"] for key, one in categories.items()})


def to_rle(segmentation: Any, height: int, width: int, name: str) -> dict[str, Any]:
    """Convert a mask in any of COCO's three forms to compressed run lengths.

    Args:
        segmentation: polygons `[[x, y, …], …]`, or `{"size": [height, width], "counts": …}` with a list of
            run lengths or a string.
        height: height of the picture, in pixels.
        width: width of the picture, in pixels.
        name: name of the mask, for messages.

    Returns:
        `{"size": [height, width], "counts": bytes}` for `pycocotools.mask`.

    Raises:
        ValueError: if the mask is malformed or of another size.

    Example:
        >>> pycocotools.mask.decode(to_rle([[0, 0, 4, 0, 4, 3]], 3, 4, "a triangle"))
    """
    if isinstance(segmentation, list):
        for polygon in segmentation:
            numbers = isinstance(polygon, list) and all(isinstance(v, int | float) and np.isfinite(v) for v in polygon)
            if not numbers or len(polygon) < 6 or len(polygon) % 2:
                raise ValueError(f"{name}: expected polygons [x, y, …] of at least 3 points, found {polygon!r:.200}")
        if not segmentation:
            raise ValueError(f"{name}: expected at least one polygon, found none")
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise ValueError(f"{name}: expected a mask of size {[height, width]}, found {size}")
    if isinstance(counts, list):
        runs = all(isinstance(run, int) and run >= 0 for run in counts)
        if not runs or sum(counts) != height * width:
            raise ValueError(f"{name}: expected run lengths that sum to {height * width}, found {counts!r:.200}")
        return coco_mask.frPyObjects(segmentation, height, width)
    if not isinstance(counts, str | bytes):
        raise ValueError(f"{name}: expected counts to be a list or a string, found {type(counts).__name__}")
    code = np.frombuffer(counts.encode("utf-8") if isinstance(counts, str) else counts, np.uint8)
    # pycocotools does not check the string: characters from "0" up hold six bits, one of them for "number goes on".
    if code.size == 0 or code.min() < 48 or code.max() > 111 or (code[-1] - 48) & 32:
        raise ValueError(f"{name}: malformed compressed run lengths")
    rle = {"size": [height, width], "counts": code.tobytes()}
    try:
        coco_mask.decode(rle)
    except ValueError as error:
        raise ValueError(f"{name}: malformed compressed run lengths ({error})") from error
    return rle
