"""Masks in COCO's three forms: polygons, run lengths and compressed run lengths."""

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from keras_segattn.data.coco_json import BrokenEntryError, coordinates, field, whole_number
from keras_segattn.metrics.run_lengths import decode_runs

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
    runs = _compressed(counts) if isinstance(counts, str) else field(value, "counts", _whole_numbers)
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        found = {"sum": sum(runs), "height × width": height * width, "shortest": min(runs, default=None)}
        raise BrokenEntryError("run lengths that sum to height × width", found)
    if isinstance(counts, str):
        return {"size": size, "counts": counts.encode()}
    compressed: dict[str, Any] = coco_mask.frPyObjects({"size": size, "counts": runs}, height, width)
    return compressed


def _compressed(code: str) -> list[int]:
    try:
        runs: list[int] = decode_runs(code).tolist()
    except ValueError as error:
        raise BrokenEntryError("well-formed compressed run lengths", code) from error
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
