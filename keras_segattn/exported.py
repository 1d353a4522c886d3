"""Exported models at work: a SavedModel or a `.tflite` finds the instances in a picture, or rectifies it."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from PIL import Image

from keras_segattn.data.fitting import fit_picture
from keras_segattn.export.detections import is_detector
from keras_segattn.export.serving.saved_model import LABELS_FILE
from keras_segattn.export.tflite_metadata import read_metadata
from keras_segattn.exported_signature import open_signature
from keras_segattn.facts import preprocessing_of
from keras_segattn.fields import Picture
from keras_segattn.training.instance_evaluation import in_picture

# Where a size is open: the longer side of what a detector sees.
USUAL_SIDE = 512


class Exported(NamedTuple):
    """A model of one picture, however it is stored.

    Attributes:
        run: uint8 images `(1, height, width, channels)` → its outputs.
        size: (height, width) that it takes.
        channels: 1 or 3.
        outputs: their names.
        labels: names of its classes, or `None`.
    """

    run: Callable[[np.ndarray], dict[str, Any]]
    size: tuple[int, int]
    channels: int
    outputs: frozenset[str]
    labels: list[str] | None


class Detector(NamedTuple):
    """A detector, however it is stored.

    Attributes:
        run: uint8 images `(1, height, width, 3)` → its outputs.
        size: (height, width) that it takes.
        labels: names of its classes from 1, or `None`.
    """

    run: Callable[[np.ndarray], dict[str, Any]]
    size: tuple[int, int]
    labels: list[str] | None

    def detect(self, picture: np.ndarray) -> dict[str, np.ndarray]:
        """The instances in a picture uint8 `(height, width, 3)`: `boxes`, `scores`, `classes`, `masks` in its frame."""
        image, factor = fit_picture(picture, self.size)
        return in_picture(self.run(image[None]), picture.shape[:2], factor)


class Rectifier(NamedTuple):
    """A classifier behind a spatial transformer, however it is stored.

    Attributes:
        run: uint8 images `(1, height, width, channels)` → its outputs.
        size: (height, width) that it takes.
        channels: 1 or 3.
        labels: names of its classes, or `None`.
    """

    run: Callable[[np.ndarray], dict[str, Any]]
    size: tuple[int, int]
    channels: int
    labels: list[str] | None

    def rectify(self, picture: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """What the model sees of a picture uint8 `(height, width, 3)`, in its size and channels, and its outputs."""
        image = Image.fromarray(picture).convert("L" if self.channels == 1 else "RGB")
        seen = np.asarray(image.resize(self.size[::-1], Image.Resampling.BILINEAR)).reshape(*self.size, self.channels)
        return seen, {name: np.asarray(value)[0] for name, value in self.run(seen[None]).items()}


def is_rectifier(names: Collection[str]) -> bool:
    """Whether these are the outputs of a classifier that shows how it transformed its picture."""
    return {"logits", "theta", "transformed"} <= set(names)


def at_least(found: dict[str, np.ndarray], score: float) -> dict[str, np.ndarray]:
    """The detections of at least that score."""
    kept = found["scores"] >= score
    return {name: value[kept] for name, value in found.items()}


def find_exported(name: str) -> Path | None:
    """The exported model that a name means: a path, or a folder of `savedmodels/` here or beside the package."""
    path = Path(name)
    if path.suffix == ".tflite" and path.is_file():
        return path
    for folder in (path, Path("savedmodels") / name, Path(__file__).parents[1] / "savedmodels" / name):
        if (folder / "saved_model.pb").is_file():
            return folder
        versions = [child for child in folder.glob("[0-9]*") if (child / "saved_model.pb").is_file()]
        if versions:
            return max(versions, key=lambda child: int(child.name))
    return None


def load_exported(path: Path) -> Detector | Rectifier:
    """A detector, or a classifier with a spatial transformer, written by `export.saved_model` or `export.tflite`.

    Raises:
        ValueError: if the file holds neither, or a `.tflite` does not say how its input is normalised.
        ExportError: if a `.tflite` was written by other means.

    Example:
        >>> load_exported(Path("savedmodels/maskrcnn_tux/1")).detect(picture)["classes"]
        >>> seen, found = load_exported(Path("savedmodels/stn_rotated/1")).rectify(picture)
    """
    model = _opened(path)
    if is_detector(dict.fromkeys(model.outputs)):
        return Detector(model.run, model.size, model.labels)
    if is_rectifier(model.outputs):
        return Rectifier(model.run, model.size, model.channels, model.labels)
    raise ValueError(f"{path} neither detects nor shows how it transforms: its outputs are {sorted(model.outputs)}")


def keras_detector(model: keras.Model, labels: list[str] | None) -> Detector:
    """A Keras model as a detector."""
    height, width = model.input_shape[1:3]
    return Detector(_run_of(model), (height or USUAL_SIDE, width or USUAL_SIDE), labels)


def keras_rectifier(model: keras.Model, labels: list[str] | None) -> Rectifier:
    """A Keras model as a classifier that shows how it transformed its picture."""
    _, height, width, channels = model.input_shape
    return Rectifier(_run_of(model), (height, width), channels, labels)


def _run_of(model: keras.Model) -> Callable[[np.ndarray], dict[str, Any]]:
    preprocessing = preprocessing_of(model)

    def run(images: np.ndarray) -> dict[str, Any]:
        return model.predict_on_batch(keras.ops.convert_to_numpy(preprocessing(images)))

    return run


def _opened(path: Path) -> Exported:
    # First, so that a file written by other means is called that.
    preprocessing, labels = _phone_facts(path) if path.suffix == ".tflite" else (None, _labels(path))
    signature = open_signature(path)
    if [len(shape) for shape in signature.inputs.values()] != [4]:
        raise ValueError(f"{path} neither detects nor shows how it transforms: it takes {signature.inputs}")
    ((name, (_, height, width, channels)),) = signature.inputs.items()

    def run(images: np.ndarray) -> dict[str, Any]:
        # A served model prepares its pictures itself.
        prepared = images if preprocessing is None else keras.ops.convert_to_numpy(preprocessing(images))
        return signature.run({name: prepared})

    size = (height or USUAL_SIDE, width or USUAL_SIDE)
    return Exported(run, size, channels or 3, frozenset(signature.outputs), labels)


def _labels(path: Path) -> list[str] | None:
    file = path / "assets.extra" / LABELS_FILE
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else None


def _phone_facts(path: Path) -> tuple[Picture, list[str] | None]:
    metadata = read_metadata(path)
    if metadata["preprocessing"] is None:
        raise ValueError(f"{path} does not say how its input is normalised")
    facts: dict[str, Any] = metadata["preprocessing"]
    preprocessing = Picture(facts["channels"], mean=tuple(facts["mean"]), std=tuple(facts["std"]))
    return preprocessing, list(metadata["labels"]) or None
