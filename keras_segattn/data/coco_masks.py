"""Masks in COCO's three forms: polygons, run lengths and compressed run lengths."""

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from keras_segattn.data.coco_json import BrokenEntryError, coordinates, field, whole_number

# Greatest number of characters of one compressed run length: 35 bits, of which pycocotools keeps 32.
LONGEST_RUN = 7
# Polygons, or compressed run lengths as `pycocotools.mask` takes them.
Mask = list[list[float]] | dict[str, Any]


def read_segmentation(value: Any, height: int, width: int) -> Mask:
    """Check a mask in any of COCO's forms in full, without drawing it.

    Args:
        value: polygons `[[x, y, …], …]`, or `{"size": [height, width], "counts": …}` with a list of run lengths or a
            string.
        height: height of the picture, in pixels.
        width: width of the picture, in pixels.

    Returns:
        Mask for `draw_mask`: the polygons of at least 3 points, or compressed run lengths.

    Raises:
        BrokenEntryError: if the mask is malformed or of another size, or its runs do not fill the picture.

    Example:
        >>> draw_mask(read_segmentation([[0, 0, 4, 0, 4, 3]], 3, 4), 3, 4)
    """
    if isinstance(value, list):
        polygons = [polygon for polygon in map(_polygon, value) if len(polygon) >= 6]
        if value and not polygons:
            raise BrokenEntryError("polygons [x, y, …] of at least 3 points", value)
        return polygons
    if not isinstance(value, dict):
        raise BrokenEntryError("polygons or run lengths", value)
    size = field(value, "size", _whole_numbers)
    if size != [height, width]:
        raise BrokenEntryError("a mask of its picture's size", {"mask": size, "picture": [height, width]})
    counts = value.get("counts")
    runs = decode_runs(counts).tolist() if isinstance(counts, str) else field(value, "counts", _whole_numbers)
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        found = {"sum": sum(runs), "height × width": height * width, "shortest": min(runs, default=None)}
        raise BrokenEntryError("run lengths that sum to height × width", found)
    if isinstance(counts, str):
        return {"size": size, "counts": counts.encode()}
    compressed: dict[str, Any] = coco_mask.frPyObjects({"size": size, "counts": runs}, height, width)
    return compressed


def decode_runs(code: str) -> np.ndarray:
    """Decode the compressed run lengths of a mask.

    A character is 48 plus six bits: five of a number in two's complement, the least significant first, and a bit that
    is set if the number goes on. From the fourth number on, a number is the difference to the run before the last one.

    Args:
        code: compressed run lengths.

    Returns:
        int64 `(n,)`, alternately outside and inside the mask; neither the signs nor the sum are checked.

    Raises:
        BrokenEntryError: if the code has a wrong character, ends within a number, or has a number of over 35 bits.
    """
    digits = np.frombuffer(code.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int64) - 48
    if not digits.size or digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        raise BrokenEntryError("well-formed compressed run lengths", code)
    last = np.flatnonzero(digits < 32)
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if lengths.max() > LONGEST_RUN:
        raise BrokenEntryError(f"compressed run lengths of at most {LONGEST_RUN} characters", code)
    places = np.arange(digits.size) - np.repeat(first, lengths)
    runs = np.add.reduceat((digits & 31) << (5 * places), first)
    runs -= np.where(digits[last] & 16, 1 << (5 * lengths), 0)
    for start in (1, 2):
        runs[start::2] = np.cumsum(runs[start::2])
    return runs


def draw_mask(mask: Mask, height: int, width: int) -> np.ndarray:
    """Draw a mask that `read_segmentation` returned.

    Returns:
        uint8 `(height, width)`, 1 inside and 0 outside; all 0 if there are no polygons.
    """
    if isinstance(mask, list):
        if not mask:
            return np.zeros((height, width), np.uint8)
        mask = coco_mask.merge(coco_mask.frPyObjects(mask, height, width))
    drawn: np.ndarray = coco_mask.decode(mask)
    return drawn


def _polygon(value: Any) -> list[float]:
    polygon = coordinates(value)
    if len(polygon) % 2:
        raise BrokenEntryError("polygons [x, y, …] of an even number of coordinates", value)
    return polygon


def _whole_numbers(value: Any) -> list[int]:
    if not isinstance(value, list):
        raise BrokenEntryError("a list of whole numbers", value)
    return [whole_number(one) for one in value]
