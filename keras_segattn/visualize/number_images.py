"""Masks as pictures of numbers for other programs to read, with one value per class or per instance."""

from typing import Any

import numpy as np
from PIL import Image

from keras_segattn.arguments import check_positive_integer
from keras_segattn.visualize.colours import palette

# Pascal VOC's colour of ignored pixels.
_IGNORED = (224, 224, 192)


def class_image(mask: np.ndarray, ignore_label: int | None = 255, *, classes: int | None = None) -> Image.Image:
    """Turn a mask into a picture whose values are the numbers of the classes, in the colours of `palette`.

    Args:
        mask: integers `(height, width)`: 0..classes-1 or `ignore_label`.
        ignore_label: label of pixels of no class, which is kept as their value; `None` if there is none.
        classes: number of classes, which determines the colours and the mode; `None` for as many as the mask needs.

    Returns:
        Image of the mask's height and width in mode `"P"`, or above 256 classes in mode `"I;16"`, which has no colours.
        Write it as `.png`, because JPEG changes values.

    Raises:
        ValueError: if shape or dtype is wrong, or the mask holds another label.

    Example:
        >>> save(class_image(mask), "mask.png")
        >>> np.array_equal(np.asarray(Image.open("mask.png")), mask)
        True
    """
    mask = np.asarray(mask)
    if not np.issubdtype(mask.dtype, np.integer) or mask.ndim != 2 or not mask.size:
        raise ValueError(f"expected a mask of integers (height, width), received {mask.dtype} {mask.shape}")
    counted = np.ones(mask.shape, bool) if ignore_label is None else mask != ignore_label
    if classes is None:
        classes = 1 + int(mask[counted].max(initial=0))
    check_positive_integer("classes", classes)
    wrong = mask[(counted & (mask >= classes)) | (mask < 0) | (mask > np.iinfo("uint16").max)]
    if wrong.size:
        ignored = "" if ignore_label is None else f" or {ignore_label}"
        expected = f"labels 0..{classes - 1}{ignored}, all within 0..{np.iinfo('uint16').max}"
        raise ValueError(f"expected {expected}, received a mask that holds {wrong[0]}")
    if classes > 256 or mask.max() > 255:
        return Image.fromarray(mask.astype("uint16"))
    colours = np.zeros((256, 3), "uint8")
    if ignore_label is not None and 0 <= ignore_label < 256:
        colours[ignore_label] = _IGNORED
    colours[:classes] = palette(classes)
    image = Image.fromarray(mask.astype("uint8"))
    image.putpalette(colours.tobytes())
    return image


def instance_image(masks: Any) -> Image.Image:
    """Combine the masks of instances in one picture: k where the k-th instance is, 0 where none is.

    Where several overlap, the first of them is on top; detectors return instances in descending order of score.

    Args:
        masks: bool `(n, height, width)`, at most 65535 masks.

    Returns:
        Image of the masks' height and width in mode `"L"`, or above 255 instances in mode `"I;16"`. Write it as `.png`,
        because JPEG changes values.

    Raises:
        ValueError: if shape or dtype is wrong, or there are too many masks.

    Example:
        >>> save(instance_image(found["masks"]), "instances.png")
    """
    masks = np.asarray(masks)
    if masks.dtype != bool or masks.ndim != 3 or not (masks.shape[1] and masks.shape[2]):
        raise ValueError(f"expected bool masks (n, height, width), received {masks.dtype} {masks.shape}")
    if len(masks) > np.iinfo("uint16").max:
        raise ValueError(f"expected at most {np.iinfo('uint16').max} masks, received {len(masks)}")
    numbers = np.zeros(masks.shape[1:], "uint8" if len(masks) <= 255 else "uint16")
    for index in range(len(masks) - 1, -1, -1):
        numbers[masks[index]] = index + 1
    return Image.fromarray(numbers)
