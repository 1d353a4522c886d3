"""What both export profiles ask of a model and its labels before any work is done."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_segattn.export.detections import is_detector
from keras_segattn.export.report import ExportError
from keras_segattn.layers import BatchStatistics

# Layers that score the classes of a detector.
DETECTOR_SCORES = ("box_logits", "seg_cls_score")


def check_labels(labels: Sequence[str] | None, model: keras.Model) -> None:
    """Raise `ValueError` unless there is one label, of one line, for every class of some output, or of a detector."""
    if labels is None:
        return
    if isinstance(model.output, dict) and is_detector(model.output):
        # The background has no name.
        channels = [layer.units - 1 for layer in model.layers if layer.name in DETECTOR_SCORES]
    else:
        channels = [output.shape[-1] for output in model.outputs]
    lines = not isinstance(labels, str) and all(isinstance(x, str) and len(x.splitlines()) == 1 for x in labels)
    if not lines or len(labels) not in channels:
        raise ValueError(
            f"labels must name the {channels} classes of the model's outputs, a line of text each, received {labels!r}"
        )


def check_finite(model: keras.Model) -> None:
    """Raise `ExportError` that names the weights which hold NaN or infinity."""
    wrong = [w.path for w in model.weights if not np.isfinite(keras.ops.convert_to_numpy(w).astype("float64")).all()]
    if wrong:
        raise ExportError(f"model {model.name!r} holds NaN or infinity in {', '.join(wrong)}")


def check_statistics(model: keras.Model) -> None:
    """Raise `ExportError` if what the model says of a sample depends on its batch: on a phone there is no other."""
    names = [layer.name for layer in model.layers if type(layer) is BatchStatistics]
    if names:
        raise ExportError(
            f"model {model.name!r} normalises by the batch in {', '.join(names)}, so that an answer would depend on "
            "the requests beside it; build it with statistics='moving', load the same weights with partial=True and "
            "call generation.estimate_statistics"
        )
