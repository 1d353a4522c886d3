"""A reader of pictures in one folder and their instance masks, with one number per object, in another."""

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_segattn.data.folder import IMAGE_SUFFIXES, MASK_SUFFIXES, _by_stem
from keras_segattn.data.instances import Example, Instances, boxes_of, class_names_of
from keras_segattn.data.pictures import read_image

Labels = Mapping[str, Mapping[int, int]]


def instance_folder(
    images: str | PathLike[str],
    instances: str | PathLike[str],
    classes: str | PathLike[str] | Labels | None = None,
    *,
    void: int | None = None,
    class_names: Mapping[int, str] | Sequence[str] | None = None,
) -> Instances:
    """Open pictures and instance masks whose names share a stem: `images/cat.jpg` and `instances/cat.png`.

    Args:
        images: folder of `.jpg`, `.jpeg` or `.png` files.
        instances: folder of `.png` files of 8, 16 or 32 bits, whose pixels, or palette indices, are 0 for background
            and otherwise the number of an instance.
        classes: labels of the instances, from 1: a folder of class `.png` files, in which all pixels of an instance,
            except void ones, have its label (Pascal VOC's `SegmentationClass`); or a mapping, or a `.json` file of one,
            from the stem to a mapping from instance number to label, `{"cat": {"1": 8, "2": 8}}`; or `None` if all
            labels are 1.
        void: value of pixels, in instance and class files, that belong to nothing, such as VOC's 255.
        class_names: name of every label, as a mapping or as names counted from 1.

    Returns:
        Examples in the order of the names; `image/id` counts from 1. Objects are in the order of their numbers;
        boxes enclose the masks tightly.

    Raises:
        FileNotFoundError: if a folder or file is missing.
        ValueError: if a picture has no mask file or a mask no picture, or `classes` has another form; when reading, if
            a file is damaged, of another form or size, or an instance has no label. The message names the file.

    Example:
        >>> voc = instance_folder("JPEGImages", "SegmentationObject", "SegmentationClass", void=255)
    """
    pictures = _by_stem(Path(images), IMAGE_SUFFIXES)
    numbers = _by_stem(Path(instances), MASK_SUFFIXES)
    stems = sorted(numbers)
    alone = sorted(numbers.keys() - pictures.keys())
    if alone:
        raise ValueError(f"{numbers[alone[0]]} and {len(alone) - 1} others have no partner in {images}")
    labels: Mapping[str, Any] | None = None
    if isinstance(classes, Mapping):
        labels = classes
    elif classes is not None and Path(classes).suffix == ".json":
        labels = _read_labels(Path(classes))
    elif classes is not None:
        labels = _by_stem(Path(classes), MASK_SUFFIXES)
    if labels is not None:
        without = [stem for stem in stems if stem not in labels]
        if without:
            raise ValueError(f"{numbers[without[0]]} and {len(without) - 1} others have no labels in classes")

    def read(key: tuple[int, str]) -> Example:
        place, stem = key
        image, ids = read_image(pictures[stem]), read_numbers(numbers[stem])
        if image.shape[:2] != ids.shape:
            raise ValueError(f"{numbers[stem]}: is {ids.shape} (height, width), its image {image.shape[:2]}")
        found = [int(one) for one in np.unique(ids) if one not in (0, void)]
        mask = np.stack([ids == one for one in found]) if found else np.zeros((0, *ids.shape), bool)
        if labels is None:
            label = [1] * len(found)
        elif isinstance(labels[stem], Path):
            label = _labels_in(Path(labels[stem]), mask, found, void)
        else:
            label = [_label_of(labels[stem], one, numbers[stem]) for one in found]
        return {
            "image": image,
            "image/id": place,
            "image/filename": pictures[stem].name,
            "objects": {
                "bbox": boxes_of(mask),
                "label": np.array(label, np.int32),
                "is_crowd": np.zeros(len(found), bool),
                "mask": mask.astype(np.uint8),
            },
        }

    return Instances(list(enumerate(stems, 1)), read, class_names_of(class_names))


def read_numbers(path: Path) -> np.ndarray:
    """Read the whole numbers in a one-channel picture of 8, 16 or 32 bits.

    Args:
        path: path of the file.

    Returns:
        int64 `(height, width)`.

    Raises:
        ValueError: if the file is damaged, holds colours or negative numbers.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not a readable picture: {error}") from error
    if picture.mode not in ("P", "L", "1", "I", "I;16"):
        raise ValueError(f"{path}: expected instance numbers (modes P, L, I, I;16), found mode {picture.mode}")
    numbers = np.asarray(picture).astype(np.int64)
    if numbers.min() < 0:
        raise ValueError(f"{path}: expected numbers from 0, found {numbers.min()}")
    return numbers


def _read_labels(path: Path) -> Labels:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a JSON file of labels, found nothing")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise ValueError(f'{path}: expected {{"picture\'s stem": {{"instance number": label}}}}')
    return content


def _label_of(labels: Mapping[Any, int], number: int, path: Path) -> int:
    """Return the label of an instance; the keys of `labels` are integers, or strings as in JSON."""
    label = labels.get(number, labels.get(str(number)))
    if isinstance(label, bool) or not isinstance(label, int) or label < 1:
        raise ValueError(f"{path}: instance {number} needs a label from 1 in classes, found {label!r}")
    return label


def _labels_in(path: Path, masks: np.ndarray, numbers: list[int], void: int | None) -> list[int]:
    """Return the labels of instances according to a class file."""
    classes = read_numbers(path)
    if classes.shape != masks.shape[1:]:
        raise ValueError(f"{path}: is {classes.shape} (height, width), its instances {masks.shape[1:]}")
    labels = []
    for number, mask in zip(numbers, masks, strict=True):
        found = [int(label) for label in np.unique(classes[mask]) if label != void]
        if len(found) != 1 or found[0] < 1:
            raise ValueError(f"{path}: expected one label, from 1, for instance {number}, found {found}")
        labels += found
    return labels
