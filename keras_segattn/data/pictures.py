"""Pictures and masks read from files, as arrays and as a data set."""

import contextlib
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import ExifTags, Image, ImageOps

from keras_segattn.arguments import check_choice

ELEMENT_SPEC = {
    "image": tf.TensorSpec((None, None, 3), tf.uint8),
    "segmentation_mask": tf.TensorSpec((None, None, 1), tf.uint8),
    "file_name": tf.TensorSpec((), tf.string),
}
# Suffixes by which pictures in a folder are recognised.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
# Orientations of EXIF that exchange height and width.
QUARTER_TURNS = (5, 6, 7, 8)
# Number of masks that are looked at before training, to warn if all objects are ignored.
FIRST_MASKS = 16
Palette = Sequence[tuple[int, int, int]]


def pictures_in(folder: str | PathLike[str]) -> list[Path]:
    """List the pictures of a folder, in the order of their names.

    Raises:
        ValueError: if the folder has no pictures.

    Example:
        >>> [path.name for path in pictures_in("photos")]
        ['a.jpg', 'b.png']
    """
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise ValueError(f"{folder} holds no pictures; expected files that end in {', '.join(SUFFIXES)}")
    return paths


def read_image(path: str | PathLike[str], *, upright: bool = True) -> np.ndarray:
    """Read a picture of any format and mode as RGB, without transparency.

    Args:
        path: path of the file.
        upright: whether the picture is turned as its EXIF orientation says; `False` keeps the raw pixels.

    Returns:
        uint8 `(height, width, 3)`, 0..255.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, no picture, or has 32 bits per channel, whose range is unknown.

    Example:
        >>> read_image("photo.jpg").shape
        (480, 640, 3)
    """
    return pixels_of(_open(path, upright), str(path))


def pixels_of(picture: Image.Image, name: str = "the picture") -> np.ndarray:
    """Convert a picture of any mode to RGB without transparency, turned as its EXIF orientation says.

    Args:
        picture: picture that Pillow opened or made.
        name: name of the picture in errors.

    Returns:
        uint8 `(height, width, 3)`, 0..255.

    Raises:
        ValueError: if the picture is damaged, or has 32 bits per channel, whose range is unknown.

    Example:
        >>> pixels_of(Image.open("photo.jpg")).shape
        (480, 640, 3)
    """
    with _readable(name):
        picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):  # Pillow would clip at 255 instead of scaling
        grey = np.round(np.asarray(picture) / 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    if picture.mode in ("I", "F"):
        raise ValueError(f"{name}: expected 8 or 16 bits per channel, found mode {picture.mode}")
    return _rgb(picture)


def read_mask(path: str | PathLike[str], palette: Palette | None = None, *, upright: bool = True) -> np.ndarray:
    """Read a mask as class indices.

    Args:
        path: path of a picture whose pixels, or palette indices, are the classes; with `palette`, of a colour picture.
        palette: RGB colour of every class, 0..255; a class is the index of its colour.
        upright: whether the mask is turned as its EXIF orientation says, as `read_image` does.

    Returns:
        uint8 `(height, width, 1)`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, has a colour outside the palette, or colours but no palette; or if the
            palette is not one of 1 to 256 different colours.

    Example:
        >>> read_mask("mask.png", palette=[(0, 0, 0), (128, 0, 0)]).max()
        1
    """
    if palette is None:
        labels = read_numbers(path, "a mask of class indices", "; give the palette of its colours", upright=upright)
        if labels.max() > 255:
            raise ValueError(f"{path}: expected labels 0..255, found {labels.min()}..{labels.max()}")
        return labels.astype(np.uint8)[..., None]
    picture = _open(path, upright)
    colours, known = _rgb(picture).astype(np.int64) @ (65536, 256, 1), _codes(palette)
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known[order], colours), len(known) - 1)]
    wrong = colours[known[place] != colours]
    if wrong.size:
        red, green, blue = wrong[0] >> 16, wrong[0] >> 8 & 255, wrong[0] & 255
        raise ValueError(f"{path}: colour ({red}, {green}, {blue}) is not in the palette of {len(known)} classes")
    return place.astype(np.uint8)[..., None]


def read_numbers(path: str | PathLike[str], expected: str, remedy: str = "", *, upright: bool = True) -> np.ndarray:
    """Read the whole numbers in a picture of one channel of 8, 16 or 32 bits, or its palette indices.

    Args:
        path: path of the file.
        expected: name for the picture in messages.
        remedy: end of the message if the picture has colours.
        upright: whether the picture is turned as its EXIF orientation says, as `read_image` does.

    Returns:
        int64 `(height, width)`, at least 0.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, or holds colours or negative numbers.
    """
    picture = _open(path, upright)
    if picture.mode not in ("P", "L", "1", "I") and not picture.mode.startswith("I;16"):
        raise ValueError(f"{path}: expected {expected} (modes P, L, I, I;16), found mode {picture.mode}{remedy}")
    numbers = np.asarray(picture).astype(np.int64)
    if numbers.min() < 0:
        raise ValueError(f"{path}: expected numbers from 0, found {numbers.min()}")
    return numbers


def exif_hint(path: str | PathLike[str], found: tuple[int, ...], expected: tuple[int, ...], *, upright: bool) -> str:
    """Return the end of an error about a picture's size: what to do if its EXIF orientation is the cause, or `""`.

    Args:
        path: path of the picture.
        found: (height, width) of the picture as it was read.
        expected: (height, width) that was expected.
        upright: whether the picture was turned as its EXIF orientation says.
    """
    with Image.open(path) as picture:
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
    if orientation not in QUARTER_TURNS or expected != found[::-1]:
        return ""
    if upright:
        return "; it was turned as its EXIF orientation says: give upright=False if the raw pixels were annotated"
    return "; it was not turned as its EXIF orientation says: give upright=True if the turned picture was annotated"


def pairs(
    images: Sequence[Path], masks: Sequence[Path], palette: Palette | None = None, *, upright: bool = True
) -> tf.data.Dataset:
    """Make a data set of pictures with their masks, in the order given, read when they are needed.

    Raises:
        ValueError: if the palette is not one of 1 to 256 different colours.
        tf.errors.InvalidArgumentError: while iterating, if a file is damaged or a pair differs in size; the
            message names the file.
    """

    def read(image_path: bytes, mask_path: bytes) -> tuple[np.ndarray, np.ndarray]:
        image = read_image(image_path.decode(), upright=upright)
        mask = read_mask(mask_path.decode(), palette, upright=upright)
        check_sizes(image, mask[..., 0], image_path.decode(), mask_path.decode(), upright=upright)
        return image, mask

    def features(image_path: tf.Tensor, mask_path: tf.Tensor, name: tf.Tensor) -> dict[str, tf.Tensor]:
        image, mask = tf.numpy_function(read, [image_path, mask_path], (tf.uint8, tf.uint8), stateful=False)
        return {
            "image": tf.ensure_shape(image, (None, None, 3)),
            "segmentation_mask": tf.ensure_shape(mask, (None, None, 1)),
            "file_name": name,
        }

    check_choice("upright", upright, (True, False))
    if palette is not None:
        _codes(palette)  # raises now rather than at the first file
    names = [path.name for path in images]
    paths = tf.data.Dataset.from_tensor_slices((list(map(str, images)), list(map(str, masks)), names))
    return paths.map(features, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def check_sizes(
    image: np.ndarray,
    mask: np.ndarray,
    image_path: str | PathLike[str],
    mask_path: str | PathLike[str],
    *,
    upright: bool,
) -> None:
    """Raise `ValueError` unless a mask is as large as its picture; the message names the mask."""
    if image.shape[:2] != mask.shape:
        raise ValueError(
            f"{mask_path}: mask is {mask.shape} (height, width), its image {image.shape[:2]}"
            f"{exif_hint(image_path, image.shape[:2], mask.shape, upright=upright)}"
        )


def _codes(palette: Palette) -> np.ndarray:
    """Return every colour as one number, 65536 red + 256 green + blue."""
    colours = np.array(palette, dtype=object)
    if (
        colours.ndim == 2
        and colours.shape[1] == 3
        and len(colours) <= 256
        and all(isinstance(value, int | np.integer) and 0 <= value <= 255 for value in colours.flat)
    ):
        codes = colours.astype(np.int64) @ (65536, 256, 1)
        if len(np.unique(codes)) == len(codes):
            return codes
    raise ValueError(f"palette must be 1 to 256 different (red, green, blue) of integers 0..255, received {palette!r}")


def _rgb(picture: Image.Image) -> np.ndarray:
    if "transparency" in picture.info:  # Pillow warns when it converts straight to RGB
        picture = picture.convert("RGBA")
    return np.asarray(picture.convert("RGB"))


def _open(path: str | PathLike[str], upright: bool) -> Image.Image:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a picture, found {'a folder' if path.is_dir() else 'nothing'}")
    with _readable(path), path.open("rb") as file:
        picture = Image.open(file)
        if not upright:  # Pillow turns TIFF files when it loads them
            picture.getexif().pop(ExifTags.Base.Orientation, None)
        picture.load()
        return ImageOps.exif_transpose(picture) if upright else picture


@contextlib.contextmanager
def _readable(name: str | Path) -> Iterator[None]:
    """Raise `ValueError` with the name of the picture if Pillow cannot read it."""
    try:
        yield
    except (OSError, ValueError, SyntaxError, TypeError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name}: not a readable picture: {error}") from error
