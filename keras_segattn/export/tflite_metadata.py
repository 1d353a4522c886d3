"""What travels inside a `.tflite`: a JSON of facts and the labels, as a zip archive behind the flatbuffer.

Interpreters read a flatbuffer from its start and ignore what follows; zip readers look for their directory at the
end. So both can be one file, and no other package is needed to read it: `unzip -p model.tflite metadata.json`.
"""

import importlib.metadata
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from keras_segattn.export.report import ExportError
from keras_segattn.registry import architecture_of, preprocessing_of

METADATA_FILE, LABELS_FILE = "metadata.json", "labels.txt"
# The earliest time a zip can hold: the same model gives the same bytes at any hour.
EPOCH = (1980, 1, 1, 0, 0, 0)


def describe(
    model: keras.Model,
    *,
    quantize: str | None,
    inputs: Mapping[str, Mapping[str, Sequence[int]]],
    labels: Sequence[str] | None,
) -> dict[str, Any]:
    """The facts to store: name, paper, preprocessing, input sizes, labels, quantisation and versions."""
    card = architecture_of(model)
    try:
        preprocessing = asdict(preprocessing_of(model))
    except ValueError:  # not one of our architectures: what it expects is not known
        preprocessing = None
    return {
        "name": model.name,
        "architecture": card.name if card else None,
        "paper": asdict(card.paper) if card else None,
        "preprocessing": preprocessing,
        "inputs": inputs,
        "labels": list(labels or ()),
        "quantization": quantize or "float32",
        "versions": {package: importlib.metadata.version(package) for package in ("keras", "tensorflow")},
    }


def append_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Zip `metadata`, and its labels as a text file, onto the end of `path`."""
    files = {METADATA_FILE: json.dumps(metadata, indent=2, sort_keys=True)}
    if metadata["labels"]:
        files[LABELS_FILE] = "\n".join(metadata["labels"]) + "\n"
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The facts that `export.tflite` stored in a file.

    Args:
        path: a `.tflite` file.

    Returns:
        `name`, `architecture`, `paper`, `preprocessing` (`channels`, `mean`, `std`, `size`), `inputs` (signature →
        name → shape), `labels`, `quantization` and `versions`.

    Raises:
        ExportError: if the file holds no such metadata.

    Example:
        >>> labels = read_metadata("fcn8s.tflite")["labels"]
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(METADATA_FILE))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ExportError(f"{path} holds no {METADATA_FILE} written by keras_segattn: {error}") from error
