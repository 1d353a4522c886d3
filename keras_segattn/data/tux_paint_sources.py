"""The stamps and photographs that `keras_segattn.data.tux_paint` and `digit_strings` compose, in fixed splits."""

import hashlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from os import PathLike
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from keras_segattn.data.debian import files_of

# Class → folders of stamps. The label of a class is its position, counted from 1.
TUX_PAINT_CLASSES = {
    "mammal": ("animals/mammals", "animals/marsupials"),
    "bird": ("animals/birds",),
    "food": ("food/fruit", "food/nuts", "food/vegetables"),
    "flower": ("plants/flowers",),
    "vehicle": ("vehicles", "military/vehicles"),
}
# Stamps in these folders that are left out: drawings, silhouettes, toys and single wheels.
NO_PHOTOGRAPHS = {"hedgehog", "echidna", "edward_bear", "whale", "7spoke256", "wheel_tractor"}
# Split → its share of the stamps of every class, and of the photographs.
SPLITS = {"train": 0.7, "validation": 0.15, "test": 0.15}
# The resource files of GCompris that hold photographs without objects of the classes.
RESOURCES = {"details.rcc", "explore_monuments.rcc"}
PICTURES = {".jpg", ".jpeg", ".png", ".webp"}
SMALLEST = 256  # side of a photograph in a resource file, in pixels; below it are thumbnails
HOW_TO_GET = "run `apt-get download tuxpaint-stamps-default gcompris-qt-data` and give the .deb files"


def read_stamps(source: str | PathLike[str], split: str, side: int) -> list[list[tuple[str, Image.Image]]]:
    """Read the photographic cut-outs of a split.

    Args:
        source: Debian's `tuxpaint-stamps-default_*.deb`, or the folder it was unpacked into.
        split: `"train"`, `"validation"` or `"test"`.
        side: longest side wanted, in pixels; larger stamps are scaled down to it.

    Returns:
        For every class of `TUX_PAINT_CLASSES`, names such as `"animals/birds/owl"` and RGBA pictures.

    Raises:
        FileNotFoundError: if the source is missing.
        ValueError: if it is damaged or holds no stamp of a class for the split.
    """
    files = {_stamp(name): content for name, content in files_of(source, lambda name: bool(_stamp(name)))}
    found = []
    for label, folders in TUX_PAINT_CLASSES.items():
        names = [stamp for stamp in files if stamp.startswith(tuple(f"{folder}/" for folder in folders))]
        chosen = split_of(names, split)
        if not chosen:
            raise ValueError(f"{source}: {len(names)} stamps of {label!r} leave none for {split!r}; {HOW_TO_GET}")
        found.append([(name, _decode(f"{source}: {name}", files[name], "RGBA", side)) for name in chosen])
    return found


def read_photographs(source: str | PathLike[str], split: str, side: int) -> list[Image.Image]:
    """Read the photographs of a split.

    Args:
        source: Debian's `gcompris-qt-data_*.deb`, the folder it was unpacked into, or a folder of pictures.
        split: `"train"`, `"validation"` or `"test"`.
        side: shorter side wanted, in pixels; larger photographs are scaled down to it.

    Returns:
        RGB pictures.

    Raises:
        FileNotFoundError: if the source is missing.
        ValueError: if it is damaged or holds no photograph for the split.
    """
    files = dict(files_of(source, lambda name: PurePosixPath(name).name in RESOURCES))
    if files:
        found = {f"{name}#{n}": webp for name, content in files.items() for n, webp in enumerate(_webp_in(content))}
    else:
        found = dict(files_of(source, lambda name: PurePosixPath(name).suffix.lower() in PICTURES))
    photographs = {name: _decode(f"{source}: {name}", content, "RGB") for name, content in found.items()}
    if files:
        photographs = {name: one for name, one in photographs.items() if min(one.size) >= SMALLEST}
    chosen = split_of(photographs, split)
    if not chosen:
        raise ValueError(f"{source}: {len(photographs)} photographs leave none for {split!r}; {HOW_TO_GET}")
    for name in chosen:
        width, height = photographs[name].size
        factor = max(1, min(width, height) / side)
        photographs[name] = photographs[name].resize((round(width / factor), round(height / factor)))
    return [photographs[name] for name in chosen]


def piece_of(
    photograph: Image.Image,
    size: tuple[int, int],
    share: float,
    place: np.ndarray,
    mirrored: bool,
    method: Image.Resampling = Image.Resampling.BICUBIC,
) -> Image.Image:
    """Cut out a piece of a photograph, and resize it.

    Args:
        photograph: RGB picture.
        size: (height, width) of the result, in pixels.
        share: sides of the piece as a share of the largest piece of this aspect ratio, above 0 and at most 1.
        place: position (x, y) of the piece, from 0 at the left or top to 1 at the right or bottom.
        mirrored: whether to mirror the piece left to right.
        method: method of resizing.

    Returns:
        RGB picture.
    """
    height, width = size
    factor = min(photograph.width / width, photograph.height / height) * share
    extent = np.array([width, height]) * factor
    left, top = (np.array(photograph.size) - extent) * place
    box = (left, top, left + extent[0], top + extent[1])
    piece = photograph.resize((width, height), method, box)
    return piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else piece


def split_of(names: Iterable[str], split: str) -> list[str]:
    """Return the names of a split: all names, sorted by their hashes, are cut into one contiguous share per split.

    Args:
        names: names to split, all different.
        split: `"train"`, `"validation"` or `"test"`.

    Returns:
        Names that are in no other split.
    """
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    place = list(SPLITS).index(split)
    start, end = (round(len(ordered) * sum(list(SPLITS.values())[:stop])) for stop in (place, place + 1))
    return ordered[start:end]


def _stamp(name: str) -> str:
    """Return the name of a photographic stamp's file, such as `"animals/birds/owl"`, or `""` for any other file."""
    path = PurePosixPath("/" + name)
    parts = path.parts[path.parts.index("stamps") + 1 :] if "stamps" in path.parts else path.parts[1:]
    stamp = "/".join(parts).removesuffix(".png")
    folders = tuple(f"{folder}/" for folders in TUX_PAINT_CLASSES.values() for folder in folders)
    drawn = "cartoon" in parts or path.stem in NO_PHOTOGRAPHS or path.stem.endswith(("_mirror", "_flip"))
    return stamp if path.suffix == ".png" and stamp.startswith(folders) and not drawn else ""


def _webp_in(resource: bytes) -> Iterator[bytes]:
    """Yield the WebP files in a resource file of Qt, which stores them as they are."""
    start = resource.find(b"RIFF")
    while start >= 0:
        end = start + 8 + int.from_bytes(resource[start + 4 : start + 8], "little")
        if resource[start + 8 : start + 12] == b"WEBP" and end <= len(resource):
            yield resource[start:end]
            start = end - 1
        start = resource.find(b"RIFF", start + 1)


def _decode(name: str, content: bytes, mode: str, side: int | None = None) -> Image.Image:
    try:
        picture = Image.open(BytesIO(content)).convert(mode)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name}: not a readable picture: {error}") from error
    if mode == "RGBA":
        picture = picture.crop(picture.getchannel("A").getbbox())
    if side is not None:
        picture.thumbnail((side, side))
    return picture
