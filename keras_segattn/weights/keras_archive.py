"""Whole models of Keras 3 (`.keras`), of which only the weights and the settings of the layers are read."""

import io
import zipfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from keras_segattn.weights import keras_h5
from keras_segattn.weights.layer_settings import layer_settings
from keras_segattn.weights.restricted import corrupt_as
from keras_segattn.weights.weight_file import WeightFile, unreadable

FORMAT = "Keras model"
_WEIGHTS = "model.weights.h5"


def is_archive(names: Collection[str]) -> bool:
    """Whether a zip archive of files with these names is a Keras model."""
    return "config.json" in names and any(name.startswith("model.weights.") for name in names)


def read(path: Path) -> WeightFile:
    """Read the weights of a Keras model; the model itself is not built.

    Args:
        path: path of the file.

    Returns:
        Tensors named as by `keras_h5.read`.

    Raises:
        WeightsError: if the file is corrupt, or its weights are in another file than `model.weights.h5`.
    """
    with corrupt_as(path, f"a {FORMAT}"), zipfile.ZipFile(path) as archive:
        if _WEIGHTS not in archive.namelist():
            raise unreadable(path, f"a {FORMAT} with {_WEIGHTS}", "other weights: save it with weights_format='h5'")
        settings = layer_settings(archive.read("config.json"))
        return replace(keras_h5.read(path, io.BytesIO(archive.read(_WEIGHTS))), format=FORMAT, settings=settings)
