"""A reader of pictures in one folder and their masks in another."""

from os import PathLike
from pathlib import Path

import tensorflow as tf

from keras_segattn.data.pictures import SUFFIXES, Palette, pairs
from keras_segattn.data.text import normalized

MASK_SUFFIXES = (".png",)


def folder(
    images: str | PathLike[str], masks: str | PathLike[str], *, palette: Palette | None = None, upright: bool = True
) -> tf.data.Dataset:
    """Open pictures and masks whose names share a stem: `images/cat.jpg` and `masks/cat.png`.

    Args:
        images: folder of pictures: `.jpg`, `.png`, `.webp`, `.bmp`, `.gif` or `.tif` files.
        masks: folder of `.png` files: class indices, palette indices, or colours of `palette`.
        palette: RGB colour of every class, if masks are coloured; a class is the index of its colour. Masks of 0 and
            255 have the palette `[(0, 0, 0), (255, 255, 255)]`.
        upright: whether pictures and masks are turned as their EXIF orientations say. Give `False` if the masks were
            drawn on the raw pixels.

    Returns:
        Data set in the order of the names, with the features of `keras_segattn.data`.

    Raises:
        FileNotFoundError: if a folder is missing or holds no pictures.
        ValueError: if a picture has no mask, or a mask no picture, two files share a stem, or an argument is wrong.
        tf.errors.InvalidArgumentError: while iterating, if a file is damaged, a colour is not in the palette, or a
            mask is not as large as its picture; the message names the file.

    Example:
        >>> for features in folder("images", "masks"): ...
    """
    pictures, labels = _by_stem(Path(images), SUFFIXES), _by_stem(Path(masks), MASK_SUFFIXES)
    for one, other, place in ((pictures, labels, masks), (labels, pictures, images)):
        alone = sorted(one.keys() - other.keys())
        if alone:
            raise ValueError(f"{one[alone[0]]} and {len(alone) - 1} others have no partner in {place}")
    stems = sorted(pictures)
    return pairs([pictures[stem] for stem in stems], [labels[stem] for stem in stems], palette, upright=upright)


def _by_stem(directory: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory}: expected a folder of {', '.join(suffixes)} files, found none")
    found: dict[str, Path] = {}
    for path in sorted(directory.iterdir()):
        if path.suffix.lower() in suffixes:
            stem = normalized(path.stem)  # file systems keep names in different Unicode forms
            if stem in found:
                raise ValueError(f"{found[stem]} and {path} share a name")
            found[stem] = path
    if not found:
        raise FileNotFoundError(f"{directory}: expected {', '.join(suffixes)} files, found none")
    return found
