"""Checks of a classifier and of its first batches, made before training starts."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_segattn.training.classifier_recipes import AUX_WEIGHTS
from keras_segattn.training.source import check_images, check_logits


def check_classifier_model(model: keras.Model) -> int:
    """Check that a classifier ends in logits, and return its number of classes.

    Raises:
        ValueError: if it does not have one image input, its output is not logits `(batch, classes)`, alone or in a dict
            with side classifiers' logits of the same shape, or the output is a softmax or sigmoid.
    """
    if not isinstance(model.input_shape, tuple) or len(model.input_shape) != 4 or model.input_shape[-1] is None:
        raise ValueError(
            f"expected one input (batch, height, width, channels) of {model.name!r}, received {model.input_shape}"
        )
    outputs = model.output if isinstance(model.output, dict) else {"logits": model.output}
    if "logits" not in outputs:
        raise ValueError(f"expected the output 'logits' of {model.name!r}, received {sorted(outputs)}")
    trained = {name: tensor for name, tensor in outputs.items() if name == "logits" or name in AUX_WEIGHTS}
    shapes = {name: tuple(tensor.shape) for name, tensor in trained.items()}
    classes = shapes["logits"][-1] if len(shapes["logits"]) == 2 else None
    if classes is None or classes < 2 or set(shapes.values()) != {(None, classes)}:
        raise ValueError(f"expected logits (batch, at least 2 classes) of {model.name!r}, received {shapes}")
    check_logits(model, trained)
    return classes


def check_classifier_batch(batch: Any, model: keras.Model, classes: int, name: str) -> None:
    """Check that a batch fits the model.

    Args:
        batch: pair `(image, label)`.
        model: classifier of the images.
        classes: number of classes of the model.
        name: name of the data in error messages.

    Raises:
        ValueError: if structure, shapes, dtypes or values are wrong; the message says what was received.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ValueError(f"{name} must give (image, label) batches, received {type(batch).__name__}")
    image, label = (ops.convert_to_numpy(part) for part in batch)
    if image.ndim != 4 or label.shape != image.shape[:1]:
        raise ValueError(
            f"{name} must give images (batch, height, width, channels) and labels (batch,), "
            f"received {image.shape} and {label.shape}"
        )
    check_images(image, model, name)
    if not np.issubdtype(label.dtype, np.integer):
        raise ValueError(f"labels of {name} must be integers, received {label.dtype}")
    wrong = np.unique(label[(label < 0) | (label >= classes)])
    if wrong.size:
        raise ValueError(f"labels of {name} must be 0..{classes - 1}, received {', '.join(map(str, wrong[:10]))}")
