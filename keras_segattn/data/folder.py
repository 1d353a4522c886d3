"""A reader of pictures in one folder and their masks in another."""

from os import PathLike
from pathlib import Path

import tensorflow as tf

from keras_segattn.data.pictures import Palette, pairs

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
MASK_SUFFIXES = (".png",)


def folder(
    images: str | PathLike[str], masks: str | PathLike[str], *, palette: Palette | None = None
) -> tf.data.Dataset:
    """Open pictures and masks whose names share a stem: `images/cat.jpg` and `masks/cat.png`.

    Args:
        images: folder of `.jpg`, `.jpeg` or `.png` files.
        masks: folder of `.png` files: class indices, palette indices, or colours of `palette`.
        palette: RGB colour of every class, if masks are coloured; a class is the index of its colour.

    Returns:
        Data set in the order of the names, with the features of `keras_segattn.data`.

    Raises:
        FileNotFoundError: if a folder is missing or holds no pictures.
        ValueError: if a picture has no mask, or a mask no picture, two files share a stem, or `palette` is wrong.
        tf.errors.InvalidArgumentError: while iterating, if a file is damaged, a colour is not in the palette, or a
            mask is not as large as its picture; the message names the file.

    Example:
        >>> for features in folder("images", "masks"): ...
    """
    pictures, labels = _by_stem(Path(images), IMAGE_SUFFIXES), _by_stem(Path(masks), MASK_SUFFIXES)
    for one, other, place in ((pictures, labels, masks), (labels, pictures, images)):
        alone = sorted(one.keys() - other.keys())
        if alone:
            raise ValueError(f"{one[alone[0]]} and {len(alone) - 1} others have no partner in {place}")
    stems = sorted(pictures)
    return pairs([pictures[stem] for stem in stems], [labels[stem] for stem in stems], palette)


def _by_stem(directory: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory}: expected a folder of {', '.join(suffixes)} files, found none")
    found: dict[str, Path] = {}
    for path in sorted(directory.iterdir()):
        if path.suffix.lower() in suffixes:
            if path.stem in found:
                raise ValueError(f"{found[path.stem]} and {path} share a name")
            found[path.stem] = path
    if not found:
        raise FileNotFoundError(f"{directory}: expected {', '.join(suffixes)} files, found none")
    return found
