"""Scores of a trained segmentation model on a data set, and its prediction for one picture."""

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from rich.progress import track

from keras_segattn.facts import preprocessing_of
from keras_segattn.fields import Picture
from keras_segattn.graph import final_activation
from keras_segattn.metrics import confusion_matrix, segmentation_scores
from keras_segattn.training.source import Data, Source, check_batch, check_labels, check_model

if TYPE_CHECKING:
    from keras_segattn.segmentation.labelling import Labelling


def evaluate_segmenter(
    model: keras.Model,
    data: Data,
    classes: int,
    ignore_label: int | None = 255,
    labelling: "Labelling | None" = None,
) -> dict[str, Any]:
    """Compute the scores of Long et al. 2015, section 5, from one confusion matrix over all pixels of a data set.

    Args:
        model: functional model from images `(batch, height, width, channels)` to class scores
            `(batch, height, width, classes)`.
        data: batches `(image float32, mask integer)`, as `train_segmenter` takes them; one pass is made.
        classes: number of classes of model and masks.
        ignore_label: label of pixels that do not count, or `None`. If no more than one class occurs beside it, as in
            masks of 0 and 255, there is a warning.
        labelling: function from class probabilities `(height, width, classes)` and a picture, uint8
            `(height, width, 3)`, to classes, such as `keras_segattn.segmentation.SuperpixelAverage()`; `None` is the
            most probable class of every pixel. The pictures are computed back from the model's inputs.

    Returns:
        `pixel_accuracy`, `mean_accuracy`, `mean_iou`, `frequency_weighted_iou`: floats 0..1, NaN if no pixel is
        labelled; means are over the classes that occur (in the labels; for IoU in labels or predictions).
        `iou`: float64 `(classes,)`, NaN for a class that occurs nowhere.
        `confusion_matrix`: int64 `(classes, classes)`, rows are labels, columns predictions.

    Raises:
        ValueError: if the data are empty, do not fit the model, or hold a label out of range, or a score is NaN.

    Example:
        >>> evaluate_segmenter(model, held_out, classes=3)["mean_iou"]
        0.83
    """
    if check_model(model) != classes:
        raise ValueError(f"expected a model of {classes} classes, {model.name!r} gives {model.output_shape}")
    source = Source.of(data, "data")
    check_batch(source.first_batch(0), model, ignore_label, source.name)
    batches, steps = source.epochs(0, 1)
    steps = steps or source.steps
    if isinstance(batches, keras.utils.PyDataset):
        batches = map(batches.__getitem__, range(batches.num_batches))
    matrix, pixels = np.zeros((classes, classes), np.int64), 0
    label = partial(class_map, model) if labelling is None else partial(labelled, model, labelling)
    for image, mask in track(batches, "evaluating", total=steps, transient=True):
        labels = keras.ops.convert_to_numpy(mask)
        check_labels(labels, classes, ignore_label, source.name)
        matrix += confusion_matrix(labels, label(image), classes, ignore_label)
        pixels += labels.size
    occurring = np.flatnonzero(matrix.sum(axis=1))
    if len(occurring) == 1 and matrix.sum() < pixels:
        warnings.warn(
            f"the masks of {source.name} hold no labels but {occurring[0]} and the ignored label {ignore_label} "
            f"({1 - matrix.sum() / pixels:.0%} of the pixels): if it is a class, as in masks of 0 and 255, make its "
            f"label less than {classes}",
            stacklevel=2,
        )
    return segmentation_scores(matrix) | {"confusion_matrix": matrix}


def predict_mask(
    model: keras.Model,
    image: np.ndarray,
    preprocessing: Picture | None = None,
    labelling: "Labelling | None" = None,
) -> np.ndarray:
    """Predict the most probable class of every pixel of one picture.

    Args:
        model: functional model from images `(1, height, width, 3)` to class scores `(1, height, width, classes)`.
        image: RGB picture `(height, width, 3)`, uint8, or float 0..255.
        preprocessing: preprocessing that the model expects; `None` if the image is preprocessed already.
        labelling: function from class probabilities and the picture to classes, see `evaluate_segmenter`; `None` is the
            most probable class of every pixel.

    Returns:
        Class numbers `(height, width)`, int32.

    Raises:
        ValueError: if the image has another rank, is not finite, or does not have the size that the model needs,
            or if a score is NaN.

    Example:
        >>> mask = predict_mask(model, np.asarray(PIL.Image.open("street.jpg")), preprocessing_of(model))
    """
    check_model(model)
    image = np.asarray(image)
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"expected one picture (height, width, channels), received shape {image.shape}")
    if not np.isfinite(image).all():
        raise ValueError("the picture holds NaN or infinite intensities")
    if any(want not in (None, have) for have, want in zip(image.shape, model.input_shape[1:], strict=True)):
        raise ValueError(f"{model.name!r} takes pictures {model.input_shape[1:]}, received {image.shape}")
    batch = image[None]
    batch = batch.astype("float32") if preprocessing is None else preprocessing(batch)
    found = class_map(model, batch) if labelling is None else labelled(model, labelling, batch)
    return found[0]


def class_map(model: keras.Model, images: Any) -> np.ndarray:
    """Predict classes, int32 `(batch, height, width)`, of preprocessed images; raise `ValueError` at a NaN."""
    return scores_of(model, images).argmax(axis=-1).astype(np.int32)


def labelled(model: keras.Model, labelling: "Labelling", images: Any) -> np.ndarray:
    """Predict classes, int32 `(batch, height, width)`, of preprocessed images by a labelling of the probabilities."""
    scores = scores_of(model, images)
    if final_activation(model.output) is None:
        scores = keras.ops.convert_to_numpy(keras.ops.softmax(scores, axis=-1))
    pictures = pictures_of(images, preprocessing_of(model))
    return np.stack([labelling(*pair) for pair in zip(scores, pictures, strict=True)]).astype(np.int32)


def pictures_of(images: Any, preprocessing: Picture) -> np.ndarray:
    """Compute RGB pictures, uint8, back from the images that a preprocessing made of them."""
    pixels = keras.ops.convert_to_numpy(images) * np.array(preprocessing.std) + np.array(preprocessing.mean)
    pixels = pixels[..., ::-1] if preprocessing.channels == "BGR" else pixels
    return np.clip(pixels.round(), 0, 255).astype(np.uint8)


def scores_of(model: keras.Model, images: Any) -> np.ndarray:
    """Predict scores, floats `(batch, height, width, classes)`, of preprocessed images; raise `ValueError` at a NaN."""
    scores: np.ndarray = keras.ops.convert_to_numpy(model.predict_on_batch(images))
    if np.isnan(scores).any():  # argmax would call it class 0 or the first NaN's
        raise ValueError(f"{model.name!r} gives NaN scores: look for NaN or infinity in its weights")
    return scores
