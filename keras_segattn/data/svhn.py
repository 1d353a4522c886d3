"""House numbers in photographs: the full numbers of SVHN (Netzer et al. 2011), their crops and their labels.

A label has `LONGEST` places, one per digit. The places after the last digit hold `BLANK`, an eleventh class (Goodfellow
et al. 2013, arXiv 1312.6082; Jaderberg et al. 2015, arXiv 1506.02025, section 4.2).
"""

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from PIL import Image
from rich.progress import track

from keras_segattn.arguments import check_positive_integer, is_number

LONGEST = 5
BLANK = 10
FIELDS = ("left", "top", "width", "height", "label")  # of a digit; left and top count from 0
HOW_TO_GET = "unpack train.tar.gz, test.tar.gz or extra.tar.gz of SVHN's full numbers (format 1) and give its folder"


class HouseNumber(NamedTuple):
    """A picture's file, the digits of its number, and boxes float32 `(n, 4)`, (x1, y1, x2, y2) in pixels."""

    image: Path
    digits: tuple[int, ...]
    boxes: np.ndarray


def svhn(folder: str | PathLike[str]) -> list[HouseNumber]:
    """Read the house numbers of a split of SVHN's full numbers; the 33,402 of `train` take two to three minutes.

    Args:
        folder: folder of `digitStruct.mat`, a MATLAB 7.3 file, and of the pictures it names, which are not opened.

    Returns:
        Numbers in the order of the file, with their digits from left to right, also as in the file. x2 and y2 of a box
        are just outside of the digit; a box may lie partly outside of the picture.

    Raises:
        FileNotFoundError: if the file or a picture is missing.
        ValueError: if the file is truncated or damaged, has another layout, or holds nothing; if a label is not within
            1..10 (10 is the digit 0), or a box is empty.

    Example:
        >>> train = svhn("svhn/train")
        >>> train[0].image.name, train[0].digits, train[0].boxes.shape
        ('1.png', (1, 9), (2, 4))
        >>> crop = number_crop(read_image(train[0].image), train[0].boxes)
    """
    folder = Path(folder)
    path = folder / "digitStruct.mat"
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise FileNotFoundError(f"{path}: expected a MATLAB 7.3 file, found {found}; {HOW_TO_GET}")
    try:
        with h5py.File(path, "r") as file:
            numbers = list(_numbers(file, folder))
    except (OSError, RuntimeError, KeyError, AttributeError, TypeError, ValueError) as error:  # what h5py raises
        raise ValueError(f"{path}: expected an intact digitStruct of SVHN: {error}; {HOW_TO_GET}") from error
    there = {one.name for one in folder.iterdir()}
    missing = [number.image for number in numbers if number.image.name not in there]
    if missing:
        raise FileNotFoundError(f"{missing[0]} and {len(missing) - 1} other pictures that {path} names are missing")
    return numbers


def number_crop(pixels: np.ndarray, boxes: np.ndarray, size: int = 64, *, enlarge: float = 0.3) -> np.ndarray:
    """Cut out the rectangle around a house number's digits, enlarged, and resize it to a square.

    Args:
        pixels: picture, uint8 `(height, width, 3)`.
        boxes: boxes of the digits, `(n, 4)`, (x1, y1, x2, y2) in pixels; n at least 1.
        size: side of the square, in pixels.
        enlarge: share of its width and height by which the rectangle grows, half of it on either side, up to the edge
            of the picture; Goodfellow et al. 2013 use 0.3.

    Returns:
        uint8 `(size, size, 3)`; the aspect ratio of the rectangle is not kept.

    Raises:
        ValueError: if an argument is wrong, there is no box, or nothing of the rectangle is within the picture.

    Example:
        >>> number_crop(np.zeros((100, 200, 3), np.uint8), np.array([[10, 20, 30, 60], [30, 20, 50, 60]])).shape
        (64, 64, 3)
    """
    check_positive_integer("size", size)
    if not is_number(enlarge) or enlarge < 0:
        raise ValueError(f"enlarge must be a share of at least 0, received {enlarge!r}")
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3 or not pixels.size:
        raise ValueError(f"expected a picture uint8 (height, width, 3), received {pixels.dtype} {pixels.shape}")
    boxes = np.asarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes) or not np.isfinite(boxes).all():
        raise ValueError(f"boxes must be one or more finite (x1, y1, x2, y2), received {boxes!r}")
    height, width = pixels.shape[:2]
    start, end = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    margin = (end - start) * enlarge / 2
    start, end = np.maximum(start - margin, 0), np.minimum(end + margin, (width, height))
    if (end <= start).any():
        raise ValueError(f"nothing of the boxes {boxes.tolist()} is within the picture of {width} × {height} pixels")
    box = (start[0], start[1], end[0], end[1])
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR, box))


def digit_labels(numbers: Sequence[Sequence[int]]) -> np.ndarray:
    """Make the labels of numbers, one class per place.

    Args:
        numbers: digits 0..9 of each number, 1 to `LONGEST` of them; leave out longer numbers, which SVHN hardly has.

    Returns:
        int32 `(n, LONGEST)`, `BLANK` after the last digit.

    Raises:
        ValueError: if a number is empty, too long, or has something else than digits.

    Example:
        >>> digit_labels([(1, 9), (2, 3, 0)])
        array([[ 1,  9, 10, 10, 10],
               [ 2,  3,  0, 10, 10]], dtype=int32)
    """
    labels = np.full((len(numbers), LONGEST), BLANK, np.int32)
    for row, digits in zip(labels, numbers, strict=True):
        if not 1 <= len(digits) <= LONGEST or not all(digit in range(10) for digit in digits):
            raise ValueError(f"expected 1 to {LONGEST} digits 0..9, received {digits!r}")
        row[: len(digits)] = digits
    return labels


def _numbers(file: h5py.File, folder: Path) -> Iterator[HouseNumber]:
    """Read the numbers in `digitStruct`. Messages do not name the file."""
    struct = file.get("digitStruct")
    if not isinstance(struct, h5py.Group) or not {"name", "bbox"} <= set(struct):
        raise ValueError(f"no group digitStruct of name and bbox in it, which has {sorted(file)[:5]}")
    (count, names), (boxes, groups) = (_objects(file, struct[field]) for field in ("name", "bbox"))
    if count != boxes or not count:
        raise ValueError(f"{count} names and {boxes} groups of boxes")
    for name, group in track(zip(names, groups, strict=True), folder.name, total=count):
        image = folder / _text(name)
        if not isinstance(group, h5py.Group) or not set(FIELDS) <= set(group):
            raise ValueError(f"{image.name}: bbox is no group of {', '.join(FIELDS)}")
        yield HouseNumber(image, *_digits(image.name, [_column(file, group[field]) for field in FIELDS]))


def _objects(file: h5py.File, field: Any) -> tuple[int, Iterable[Any]]:
    """Return number and objects that a field of a struct refers to; if it is no reference, it is the only object."""
    if isinstance(field, h5py.Dataset) and h5py.check_ref_dtype(field.dtype) is h5py.Reference:
        references = field[()].ravel()
        return len(references), (file[reference] for reference in references)
    return 1, (field,)


def _text(name: Any) -> str:
    """Decode the name of a file, which is stored in UTF-16."""
    if not isinstance(name, h5py.Dataset) or name.dtype != np.uint16:
        raise ValueError(f"a name is no characters but {name}")
    text = name[()].tobytes().decode("utf-16-le")
    if text in ("", "..") or Path(text).name != text:  # the name must not lead out of the folder
        raise ValueError(f"{text!r} is not the name of a file")
    return text


def _column(file: h5py.File, field: Any) -> list[float]:
    """Read a field for all digits of a number, which is stored as one value or as references to several."""
    _, found = _objects(file, field)
    column = []
    for one in found:
        if not isinstance(one, h5py.Dataset) or one.size != 1 or one.dtype.kind not in "fiu":
            raise ValueError(f"{field.name}: expected numbers, found {one}")
        column.append(float(one[()].item()))
    return column


def _digits(name: str, columns: list[list[float]]) -> tuple[tuple[int, ...], np.ndarray]:
    """Return digits and boxes from the columns of `FIELDS`."""
    if len({len(column) for column in columns}) != 1 or not columns[0]:
        raise ValueError(f"{name}: {dict(zip(FIELDS, map(len, columns), strict=True))} values for its digits")
    left, top, width, height, label = np.array(columns)
    if not np.isin(label, range(1, 11)).all():
        raise ValueError(f"{name}: labels {label.tolist()}, not all of 1..10")
    boxes = np.stack([left, top, left + width, top + height], axis=-1).astype(np.float32)
    if not np.isfinite(boxes).all() or min(width.min(), height.min()) <= 0:
        raise ValueError(f"{name}: boxes {boxes.tolist()}, not all of some extent")
    return tuple(int(one) % 10 for one in label), boxes
