"""Class probabilities of trained classifiers, averaged over crops of a picture and over models; error rates."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import keras
import numpy as np
from keras import ops
from rich.progress import track

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.data.crops import CROP_SCHEMES, crops
from keras_segattn.facts import preprocessing_of
from keras_segattn.fields import Picture
from keras_segattn.graph import final_activation, functional


def classify(
    models: keras.Model | Sequence[keras.Model],
    images: Iterable[Any],
    scheme: str = "single",
    *,
    preprocessing: Picture | Sequence[Picture] | None = None,
    batch_size: int = 32,
    progress: bool = False,
) -> np.ndarray:
    """Compute softmax probabilities, averaged over the crops of a picture and over the models of an ensemble.

    The ensemble of Szegedy et al. 2017, section 5, is `classify([v4, ir_a, ir_b, ir_c], photos, "144-crop")`: one
    Inception-v4 and three Inception-ResNet-v2. The models may differ in input size and preprocessing, but not in
    classes.

    Args:
        models: functional classifiers that return logits or probabilities `(batch, classes)`, or a dict with them as
            `"logits"`.
        images: RGB pictures `(height, width, channels)`, uint8 or float 0..255, of any sizes, which may differ.
        scheme: `"single"`, `"12-crop"` or `"144-crop"`, see `crops`.
        preprocessing: preprocessing of each model, or one for all models; `None` takes those of the registry. For a
            model that takes images of any size, its `size` is the size of the crops.
        batch_size: number of crops that are classified at once.
        progress: whether to show a progress bar.

    Returns:
        float64 `(pictures, classes)`; rows sum to 1.

    Raises:
        TypeError: if a model is not functional.
        ValueError: if there is no model or no picture, the models' classes differ, a model's input size or
            preprocessing is unknown, a picture does not fit, or a model gives NaN.

    Example:
        >>> classify(SqueezeNet1_1(weights="imagenet"), [photo], "12-crop").argmax(axis=-1)
        array([285])
    """
    check_positive_integer("batch_size", batch_size)
    check_choice("scheme", scheme, tuple(CROP_SCHEMES))
    members = [models] if isinstance(models, keras.Model) else list(models)
    given = list(preprocessing) if isinstance(preprocessing, Sequence) else [preprocessing] * len(members)
    if not members or len(given) != len(members):
        raise ValueError(
            f"expected at least one model and one preprocessing for all or each, received {len(members)} models and "
            f"{len(given)} preprocessings"
        )
    ensemble = [_Member(model, one) for model, one in zip(members, given, strict=True)]
    classes = {member.classes for member in ensemble}
    if len(classes) != 1:
        raise ValueError(f"expected models of the same classes, received {[member.classes for member in ensemble]}")

    pictures: Iterable[Any] = images
    if progress:
        total = len(images) if isinstance(images, Sized) else None
        pictures = track(images, scheme, total=total, transient=True)
    sums = [
        sum(member.probabilities(group, scheme, batch_size) for member in ensemble)
        for group in _groups(pictures, max(1, batch_size // CROP_SCHEMES[scheme].crops))
    ]
    if not sums:
        raise ValueError("expected at least one picture, received none")
    return np.concatenate(sums) / len(ensemble)


def top_k_error(probabilities: Any, labels: Any, k: int = 1) -> float:
    """Compute the share of the pictures whose label is not among the k most probable classes.

    Args:
        probabilities: `(pictures, classes)` probabilities or any scores; among equal scores, the lower class number
            counts as more probable.
        labels: integers `(pictures,)`, 0..classes-1.
        k: number of guesses.

    Returns:
        Error rate, 0..1.

    Raises:
        ValueError: if shapes do not match, a label is out of range, a score is NaN, or k is not in 1..classes.

    Example:
        >>> top_k_error([[0.1, 0.7, 0.2]], [2], k=2)
        0.0
    """
    scores, truth = np.asarray(probabilities), np.asarray(labels)
    if scores.ndim != 2 or truth.shape != scores.shape[:1] or not len(scores):
        raise ValueError(
            f"expected scores (pictures, classes) and labels (pictures,), received {scores.shape} and {truth.shape}"
        )
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0 or truth.max() >= scores.shape[1]:
        raise ValueError(f"expected integer labels 0..{scores.shape[1] - 1}, received {truth.dtype} {np.unique(truth)}")
    if np.isnan(scores).any():
        raise ValueError("expected scores that are numbers, received NaN")
    check_positive_integer("k", k)
    if k > scores.shape[1]:
        raise ValueError(f"k must be at most the number of classes, {scores.shape[1]}, received {k}")
    guesses = np.argsort(-scores, axis=-1, kind="stable")[:, :k]
    return float(1 - (guesses == truth[:, None]).any(axis=-1).mean())


def evaluate_classifier(
    models: keras.Model | Sequence[keras.Model],
    data: Iterable[Any],
    scheme: str = "single",
    *,
    preprocessing: Picture | Sequence[Picture] | None = None,
    batch_size: int = 32,
    progress: bool = True,
) -> dict[str, float]:
    """Compute the top-1 and top-5 error of a classifier or an ensemble on labelled pictures.

    Args:
        models: classifier or classifiers, see `classify`.
        data: single examples `{"image": …, "label": …}`, as a `tf.data.Dataset` of the readers or of TFDS gives them,
            or pairs `(image, label)`.
        scheme: name of the crops, see `classify`.
        preprocessing: preprocessing of each model, or one for all models, see `classify`.
        batch_size: number of crops that are classified at once.
        progress: whether to show a progress bar.

    Returns:
        `"top1_error"` and, with at least five classes, `"top5_error"`: floats 0..1.

    Raises:
        TypeError: if a model is not functional.
        ValueError: in the cases of `classify` and `top_k_error`.

    Example:
        >>> evaluate_classifier(model, tfds.load("imagenet_v2", split="test"), "144-crop")
        {'top1_error': 0.31, 'top5_error': 0.11}
    """
    labels: list[int] = []

    def images() -> Iterator[Any]:
        for example in data:
            image, label = (example["image"], example["label"]) if isinstance(example, Mapping) else example
            labels.append(int(label))
            yield ops.convert_to_numpy(image)

    probabilities = classify(
        models, images(), scheme, preprocessing=preprocessing, batch_size=batch_size, progress=progress
    )
    guesses = (1, 5) if probabilities.shape[-1] >= 5 else (1,)
    return {f"top{k}_error": top_k_error(probabilities, labels, k) for k in guesses}


class _Member:
    """One classifier of an ensemble, with its input size, its preprocessing and the kind of its output."""

    def __init__(self, model: keras.Model, preprocessing: Picture | None) -> None:
        model = functional(model)
        self.model = model
        self.preprocessing = preprocessing_of(model) if preprocessing is None else preprocessing
        output = model.output["logits"] if isinstance(model.output, dict) else model.output
        if not isinstance(model.input_shape, tuple) or len(model.input_shape) != 4 or len(output.shape) != 2:
            raise ValueError(
                f"expected a classifier of images (batch, height, width, channels), {model.name!r} takes "
                f"{model.input_shape} and gives {model.output_shape}"
            )
        self.classes = output.shape[-1]
        activation = final_activation(output)
        if activation == "sigmoid":
            raise ValueError(f"expected logits or a softmax over the classes, {model.name!r} ends in a sigmoid")
        self.softmax = activation is None
        height, width = (
            own or usual
            for own, usual in zip(model.input_shape[1:3], self.preprocessing.size or (None, None), strict=True)
        )
        if height is None or height != width:
            raise ValueError(
                f"expected one height and width of {model.name!r}, found {model.input_shape[1:3]} and the "
                f"preprocessing's {self.preprocessing.size}: build it with a square input_shape, or give a "
                "Picture with a size"
            )
        self.size: int = height

    def probabilities(self, pictures: Sequence[Any], scheme: str, batch_size: int) -> np.ndarray:
        """Compute probabilities averaged over the crops of every picture, float64 `(pictures, classes)`."""
        views = np.concatenate([crops(picture, self.size, scheme) for picture in pictures])
        parts = []
        for start in range(0, len(views), batch_size):
            scores = self.model.predict_on_batch(self.preprocessing(views[start : start + batch_size]))
            parts.append(scores["logits"] if isinstance(scores, dict) else scores)
        scores = np.concatenate(parts).astype(np.float64)
        if np.isnan(scores).any():
            raise ValueError(f"{self.model.name!r} gives NaN: look for NaN or infinity in its weights")
        if self.softmax:
            scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
            scores /= scores.sum(axis=-1, keepdims=True)
        return scores.reshape(len(pictures), -1, self.classes).mean(axis=1)


def _groups(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield the items in lists of `size`; the last list may be shorter."""
    iterator = iter(items)
    while group := list(itertools.islice(iterator, size)):
        yield group
