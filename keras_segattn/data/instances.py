"""Pictures with instances, in the form that every reader of instances returns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np

Example = dict[str, Any]


class Instances(Sequence[Example]):
    """Pictures with their instances, read when they are asked for.

    An example is a dict of NumPy arrays, with the names of TFDS's `coco`:

    * `image`: uint8 `(height, width, 3)`, RGB, 0..255
    * `image/id`: int; `image/filename`: str
    * `objects`: dict of arrays for n instances
        * `bbox`: float32 `(n, 4)`, (x1, y1, x2, y2) in pixels; x2 and y2 are just outside of the object
        * `label`: int32 `(n,)`, from 1
        * `is_crowd`: bool `(n,)`, regions of many objects that are not told apart
        * `mask`: uint8 `(n, height, width)`, 1 inside, 0 outside

    Args:
        keys: arguments for `read`, one per picture.
        read: function from a key to the example.
        class_names: name of every label.

    Example:
        >>> scenes = coco_instances("annotations.json", "images")
        >>> scenes[0]["objects"]["mask"].shape, len(scenes[:100]), scenes.class_names[1]
        ((5, 256, 256), 100, 'mammal')
    """

    def __init__(self, keys: Sequence[Any], read: Callable[[Any], Example], class_names: Mapping[int, str]) -> None:
        self._keys, self._read, self.class_names = keys, read, dict(class_names)

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> "Instances": ...
    def __getitem__(self, index: int | slice) -> "Example | Instances":
        """Read the example at an index, or return the examples of a slice without reading them yet."""
        if isinstance(index, slice):
            return Instances(self._keys[index], self._read, self.class_names)
        return self._read(self._keys[index])

    def __iter__(self) -> Iterator[Example]:
        return map(self._read, self._keys)


def check_example(example: Any, name: str) -> None:
    """Raise `ValueError` unless `example` has the form that `Instances` documents.

    Args:
        example: value to check, of any type.
        name: name of the example, for the message.
    """
    try:
        image, objects = example["image"], example["objects"]
        bbox, label, crowd, mask = (objects[key] for key in ("bbox", "label", "is_crowd", "mask"))
    except (TypeError, KeyError, IndexError) as error:
        raise ValueError(f"{name}: expected an example with image and objects, missing {error}") from error
    count = len(label)
    expected = {
        "image": (image, np.uint8, (*np.shape(image)[:2], 3)),
        "objects/bbox": (bbox, np.float32, (count, 4)),
        "objects/label": (label, np.int32, (count,)),
        "objects/is_crowd": (crowd, np.bool_, (count,)),
        "objects/mask": (mask, np.uint8, (count, *np.shape(image)[:2])),
    }
    for key, (array, dtype, shape) in expected.items():
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
            found = f"{getattr(array, 'dtype', type(array).__name__)} {np.shape(array)}"
            raise ValueError(f"{name}: expected {key} to be {np.dtype(dtype)} {shape}, received {found}")
    if not np.isfinite(bbox).all():
        raise ValueError(f"{name}: objects/bbox holds NaN or infinity")
    if (bbox[:, 2:] < bbox[:, :2]).any():
        raise ValueError(f"{name}: expected objects/bbox (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2, received {bbox}")
    if count and label.min() < 1:
        raise ValueError(f"{name}: expected labels from 1, received {label.min()}")
    if count and mask.max() > 1:
        raise ValueError(f"{name}: expected masks of 0 and 1, received {mask.max()}")


def check_names(labels: np.ndarray, class_names: Mapping[int, str], name: str) -> None:
    """Raise `ValueError` unless all labels of a picture have a name, or there are no names; the message names it."""
    unknown = [label for label in labels.tolist() if class_names and label not in class_names]
    if unknown:
        raise ValueError(f"{name}: label {unknown[0]} is not among the class_names {dict(class_names)!r:.200}")


def class_names_of(labels: Mapping[int, str] | Sequence[str] | None) -> dict[int, str]:
    """Return label → name, from such a mapping or from names counted from 1."""
    if labels is None:
        return {}
    return dict(labels) if isinstance(labels, Mapping) else dict(enumerate(labels, 1))


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """Return the tight boxes of masks.

    Args:
        masks: `(n, height, width)`, bool or 0 and 1.

    Returns:
        float32 `(n, 4)`, (x1, y1, x2, y2) in pixels, x2 and y2 just outside; zeros for an empty mask.
    """
    found = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(found, masks, strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows):
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return found
