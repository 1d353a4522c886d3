"""Data in the layout of Pascal VOC's segmentation task."""

from os import PathLike
from pathlib import Path

import tensorflow as tf

from keras_segattn.data.pictures import pairs
from keras_segattn.data.text import read_lines


def voc(root: str | PathLike[str], split: str = "train", *, upright: bool = True) -> tf.data.Dataset:
    """Open pictures and class masks of a folder like `VOCdevkit/VOC2012` (Everingham et al. 2010).

    Args:
        root: folder that holds `JPEGImages`, `SegmentationClass` and `ImageSets/Segmentation`.
        split: name of a list in `ImageSets/Segmentation`, such as `"train"`, `"val"` or `"trainval"`.
        upright: whether pictures and masks are turned as their EXIF orientations say, see `folder`.

    Returns:
        Data set in the order of the list, with the features of `keras_segattn.data`; label 255 is void.

    Raises:
        FileNotFoundError: if the list or a file it names is missing.
        ValueError: if the list is empty or not UTF-8, or an argument is wrong.
        tf.errors.InvalidArgumentError: while iterating, if a file is damaged or a mask is not as large as its
            picture; the message names the file.

    Example:
        >>> train = voc("VOCdevkit/VOC2012", "train")
    """
    root = Path(root)
    names = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    stems = [stem for line in read_lines(names, "the list of a Pascal VOC split") if (stem := line.strip())]
    if not stems:
        raise ValueError(f"{names} lists no pictures")
    images = [root / "JPEGImages" / f"{stem}.jpg" for stem in stems]
    masks = [root / "SegmentationClass" / f"{stem}.png" for stem in stems]
    for path in (*images, *masks):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: {names} lists it, found nothing")
    return pairs(images, masks, upright=upright)
