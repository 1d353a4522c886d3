"""Instances in the JSON of COCO (Lin et al. 2014, arXiv 1405.0312)."""

from collections import defaultdict
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_segattn.arguments import check_choice
from keras_segattn.data.coco_json import (
    LARGEST,
    BrokenEntries,
    BrokenEntryError,
    Tally,
    by_id,
    coordinates,
    field,
    flag,
    positive_number,
    read_json,
    string,
    whole_number,
)
from keras_segattn.data.coco_masks import Mask, draw_mask, read_segmentation
from keras_segattn.data.instances import Example, Instances
from keras_segattn.data.pictures import exif_hint, read_image


class _Picture(NamedTuple):
    file_name: str
    height: int
    width: int


class _Object(NamedTuple):
    picture: int
    category: int
    box: list[float]
    is_crowd: bool
    mask: Mask


def coco_instances(
    annotations: str | PathLike[str],
    images: str | PathLike[str],
    *,
    contiguous: bool = True,
    upright: bool = True,
    skip_broken: bool = False,
) -> Instances:
    """Open pictures and instances of an `instances_*.json`; pictures and masks are read when they are asked for.

    Every entry of the file is checked when it is opened. Whole numbers may be written `1`, `1.0`, `"1"` or `"1.0"`. Two
    things are read with a warning: an object with the segmentation `[]`, whose mask is empty, and polygons of fewer
    than 3 points beside others, which cover no pixel.

    Args:
        annotations: JSON file; its masks may be polygons, uncompressed or compressed run lengths.
        images: folder of the pictures.
        contiguous: whether labels are 1..n in the order of the category ids (COCO's 1..90 become 1..80), or the
            category ids themselves.
        upright: whether pictures are turned as their EXIF orientation says. Give `False` if the annotations were made
            on the raw pixels.
        skip_broken: whether broken entries, and pictures whose file is missing, are left out and counted in one
            warning, rather than an error.

    Returns:
        Examples in the order of the file; pictures without objects are among them.

    Raises:
        FileNotFoundError: if the file or a picture is missing.
        ValueError: if the file is no JSON of this form, or an entry lacks a field, has one of another type or a
            malformed mask, or names an unknown picture or category; when reading, if a picture is damaged or not of the
            size that the file says. The message names the file and the annotation.

    Example:
        >>> validation = coco_instances("annotations/instances_val2017.json", "val2017")
    """
    check_choice("contiguous", contiguous, (True, False))
    check_choice("upright", upright, (True, False))
    path, folder = Path(annotations), Path(images)
    broken = BrokenEntries(path, skip_broken)
    content = read_json(path, "a COCO instances file")
    pictures = by_id(content, "image", _picture, broken)
    missing = [key for key, picture in pictures.items() if not (folder / picture.file_name).is_file()]
    if missing and not skip_broken:
        raise FileNotFoundError(
            f"{folder / pictures[missing[0]].file_name} and {len(missing) - 1} other pictures that {path} names are "
            "missing; skip_broken=True leaves them out"
        )
    for key in missing:
        broken.add("expected the file of a picture", f"image {key}")
        del pictures[key]
    categories = by_id(content, "category", lambda entry: field(entry, "name", string), broken)
    labels = {one: place if contiguous else one for place, one in enumerate(sorted(categories), 1)}
    for label in labels.values():
        if not 1 <= label <= LARGEST:
            raise ValueError(f"{path}: category id {label} is no label (0 is background); give contiguous=True")

    def read_object(entry: dict[str, Any]) -> _Object:
        key, category = field(entry, "image_id", whole_number), field(entry, "category_id", whole_number)
        for name, one, known in (("image_id", key, pictures), ("category_id", category, categories)):
            if one not in known:
                raise BrokenEntryError(f"a known {name}", one)
        _, height, width = pictures[key]
        box, is_crowd = field(entry, "bbox", _box), field(entry, "iscrowd", flag)
        mask = field(entry, "segmentation", lambda value: read_segmentation(value, height, width))
        if not mask:
            odd.add("an object without a mask, whose mask is empty", f"annotation {entry['id']}")
        elif isinstance(mask, list) and len(mask) < len(entry["segmentation"]):
            odd.add("polygons of fewer than 3 points left out", f"annotation {entry['id']}")
        return _Object(key, category, box, is_crowd, mask)

    odd = Tally(str(path))
    objects = by_id(content, "annotation", read_object, broken)
    broken.warn()
    odd.warn()
    of_picture = defaultdict(list)
    for one in objects.values():
        of_picture[one.picture].append(one)

    def read(key: int) -> Example:
        (file_name, height, width), found = pictures[key], of_picture[key]
        file = folder / file_name
        image = read_image(file, upright=upright)
        if image.shape[:2] != (height, width):
            raise ValueError(
                f"{file}: is {image.shape[:2]} (height, width), {path} says {(height, width)}"
                f"{exif_hint(file, image.shape[:2], (height, width), upright=upright)}"
            )
        mask = np.zeros((len(found), height, width), np.uint8)
        for place, one in enumerate(found):
            mask[place] = draw_mask(one.mask, height, width)
        bbox = np.array([one.box for one in found], np.float32).reshape(-1, 4)
        bbox[:, 2:] += bbox[:, :2]
        return {
            "image": image,
            "image/id": key,
            "image/filename": file_name,
            "objects": {
                "bbox": bbox,
                "label": np.array([labels[one.category] for one in found], np.int32),
                "is_crowd": np.array([one.is_crowd for one in found], bool),
                "mask": mask,
            },
        }

    return Instances(list(pictures), read, {labels[key]: name for key, name in categories.items()})


def _picture(entry: dict[str, Any]) -> _Picture:
    return _Picture(
        field(entry, "file_name", string),
        field(entry, "height", positive_number),
        field(entry, "width", positive_number),
    )


def _box(value: Any) -> list[float]:
    box = coordinates(value)
    if len(box) != 4 or min(box[2:]) < 0:
        raise BrokenEntryError("[x, y, width, height]", value)
    return box
