"""Zip archives, which PyTorch's, Keras' and NumPy's files are."""

import zipfile
from pathlib import Path

from keras_segattn.weights.restricted import corrupt_as

ZIP = b"PK\3\4"


def members(path: Path, expected: str) -> list[str]:
    """List the names of the files in an archive.

    Raises:
        WeightsError: if the archive is damaged.
    """
    with corrupt_as(path, expected), zipfile.ZipFile(path) as archive:
        return archive.namelist()
