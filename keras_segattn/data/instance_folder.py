"""A reader of pictures in one folder and their instance masks, with one number per object, in another."""

import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from keras_segattn.arguments import check_choice
from keras_segattn.data.coco_json import BrokenEntryError, positive_number, read_json, whole_number
from keras_segattn.data.folder import MASK_SUFFIXES, _by_stem
from keras_segattn.data.instances import Example, Instances, boxes_of, check_names, class_names_of
from keras_segattn.data.pictures import FIRST_MASKS, SUFFIXES, check_sizes, read_image, read_numbers
from keras_segattn.data.text import normalized

Labels = Mapping[str, Mapping[int, int]]
NUMBERS = "instance numbers"


def instance_folder(
    images: str | PathLike[str],
    instances: str | PathLike[str],
    classes: str | PathLike[str] | Labels | None = None,
    *,
    void: int | None = None,
    class_names: Mapping[int, str] | Sequence[str] | None = None,
    upright: bool = True,
) -> Instances:
    """Open pictures and instance masks whose names share a stem: `images/cat.jpg` and `instances/cat.png`.

    Args:
        images: folder of pictures: `.jpg`, `.png`, `.webp`, `.bmp`, `.gif` or `.tif` files.
        instances: folder of `.png` files of 8, 16 or 32 bits, whose pixels, or palette indices, are 0 for background
            and otherwise the number of an instance.
        classes: labels of the instances, from 1: a folder of class `.png` files, in which all pixels of an instance,
            except void ones, have its label (Pascal VOC's `SegmentationClass`); or a mapping, or a `.json` file of one,
            from the stem to a mapping from instance number to label, `{"cat": {"1": 8, "2": 8}}`; or `None` if all
            labels are 1.
        void: value of pixels, in instance and class files, that belong to nothing, such as VOC's 255. There is a
            warning if the first files hold nothing else but background.
        class_names: name of every label, as a mapping or as names counted from 1.
        upright: whether pictures and masks are turned as their EXIF orientations say. Give `False` if the masks were
            drawn on the raw pixels.

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
    check_choice("upright", upright, (True, False))
    pictures = _by_stem(Path(images), SUFFIXES)
    numbers = _by_stem(Path(instances), MASK_SUFFIXES)
    stems = sorted(numbers)
    alone = sorted(numbers.keys() - pictures.keys())
    if alone:
        raise ValueError(f"{numbers[alone[0]]} and {len(alone) - 1} others have no partner in {images}")
    labels: Mapping[str, Any] | None = None
    if isinstance(classes, Mapping):
        labels = _checked_labels(classes, "classes")
    elif classes is not None and Path(classes).suffix == ".json":
        labels = _checked_labels(read_json(Path(classes), "a JSON file of labels"), str(classes))
    elif classes is not None:
        labels = _by_stem(Path(classes), MASK_SUFFIXES)
    if labels is not None:
        without = [stem for stem in stems if stem not in labels]
        if without:
            raise ValueError(f"{numbers[without[0]]} and {len(without) - 1} others have no labels in classes")

    if void is not None:
        _warn_if_all_is_void([numbers[stem] for stem in stems[:FIRST_MASKS]], void)
    names = class_names_of(class_names)

    def read(key: tuple[int, str]) -> Example:
        place, stem = key
        image = read_image(pictures[stem], upright=upright)
        ids = read_numbers(numbers[stem], NUMBERS, upright=upright)
        check_sizes(image, ids, pictures[stem], numbers[stem], upright=upright)
        found = [int(one) for one in np.unique(ids) if one not in (0, void)]
        mask = np.stack([ids == one for one in found]) if found else np.zeros((0, *ids.shape), bool)
        if labels is None:
            label = [1] * len(found)
        elif isinstance(labels[stem], Path):
            label = _labels_in(labels[stem], mask, found, void, upright)
        else:
            unknown = [one for one in found if one not in labels[stem]]
            if unknown:
                raise ValueError(f"{numbers[stem]}: instance {unknown[0]} needs a label from 1 in classes, found none")
            label = [labels[stem][one] for one in found]
        check_names(np.array(label), names, str(numbers[stem]))
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

    return Instances(list(enumerate(stems, 1)), read, names)


def _checked_labels(content: Any, name: str) -> Labels:
    """Return stem → instance number → label; the numbers are strings in JSON.

    Raises:
        ValueError: if something has another form; the message names it.
    """
    if not isinstance(content, Mapping) or not all(isinstance(entry, Mapping) for entry in content.values()):
        raise ValueError(
            f'{name}: expected {{"picture\'s stem": {{"instance number": label}}}}, found {content!r:.200}'
        )
    found: dict[str, dict[int, int]] = {}
    for stem, entry in content.items():
        try:
            found[normalized(stem)] = {whole_number(number): positive_number(label) for number, label in entry.items()}
        except BrokenEntryError as error:
            raise ValueError(f"{name}: instances and labels of {stem!r}: {error}") from error
    return found


def _warn_if_all_is_void(paths: Sequence[Path], void: int) -> None:
    found = set[int]().union(*(np.unique(read_numbers(path, NUMBERS)).tolist() for path in paths))
    if found - {0} == {void}:
        warnings.warn(
            f"{paths[0]} and {len(paths) - 1} others hold no numbers but 0 and the void value {void}, so no object: "
            f"if {void} is an object, leave out void=",
            stacklevel=3,
        )


def _labels_in(path: Path, masks: np.ndarray, numbers: list[int], void: int | None, upright: bool) -> list[int]:
    """Return the labels of instances according to a class file."""
    classes = read_numbers(path, NUMBERS, upright=upright)
    if classes.shape != masks.shape[1:]:
        raise ValueError(f"{path}: is {classes.shape} (height, width), its instances {masks.shape[1:]}")
    labels = []
    for number, mask in zip(numbers, masks, strict=True):
        found = [int(label) for label in np.unique(classes[mask]) if label != void]
        if len(found) != 1 or found[0] < 1:
            raise ValueError(
                f"{path}: expected one label, from 1, for instance {number}, found {found}; "
                "give void= if it is the value of pixels that belong to nothing"
            )
        labels += found
    return labels
