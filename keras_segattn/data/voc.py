"""Data in the layout of Pascal VOC's segmentation task."""

from os import PathLike
from pathlib import Path

import tensorflow as tf

from keras_segattn.data.pictures import pairs


def voc(root: str | PathLike[str], split: str = "train") -> tf.data.Dataset:
    """Open pictures and class masks of a folder like `VOCdevkit/VOC2012` (Everingham et al. 2010).

    Args:
        root: folder that holds `JPEGImages`, `SegmentationClass` and `ImageSets/Segmentation`.
        split: name of a list in `ImageSets/Segmentation`, such as `"train"`, `"val"` or `"trainval"`.

    Returns:
        Data set in the order of the list, with the features of `keras_segattn.data`; label 255 is void.

    Raises:
        FileNotFoundError: if the list or a file it names is missing.
        ValueError: if the list is empty.
        tf.errors.InvalidArgumentError: while iterating, if a file is damaged or a mask is not as large as its
            picture; the message names the file.

    Example:
        >>> train = voc("VOCdevkit/VOC2012", "train")
    """
    root = Path(root)
    names = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not names.is_file():
        raise FileNotFoundError(f"{names}: expected the list of a Pascal VOC split, found nothing")
    stems = names.read_text(encoding="utf-8").split()
    if not stems:
        raise ValueError(f"{names} lists no pictures")
    images = [root / "JPEGImages" / f"{stem}.jpg" for stem in stems]
    masks = [root / "SegmentationClass" / f"{stem}.png" for stem in stems]
    for path in (*images, *masks):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: {names} lists it, found nothing")
    return pairs(images, masks)
