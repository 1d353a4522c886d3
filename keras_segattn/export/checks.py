"""Checks that a model must pass before either export format begins any work."""

import keras
import numpy as np

from keras_segattn.export.report import ExportError
from keras_segattn.layers import BatchStatistics


def check_finite(model: keras.Model) -> None:
    """Raise `ExportError` if weights hold NaN or infinity; the message names them."""
    wrong = [w.path for w in model.weights if not np.isfinite(keras.ops.convert_to_numpy(w).astype("float64")).all()]
    if wrong:
        raise ExportError(f"model {model.name!r} holds NaN or infinity in {', '.join(wrong)}")


def check_statistics(model: keras.Model) -> None:
    """Raise `ExportError` if the output for a sample depends on the rest of its batch: on a phone there is no rest."""
    names = [layer.name for layer in model.layers if type(layer) is BatchStatistics]
    if names:
        raise ExportError(
            f"model {model.name!r} normalises by the batch in {', '.join(names)}, so that an answer would depend on "
            "the requests beside it; build it with statistics='moving', load the same weights with partial=True and "
            "call generation.estimate_statistics"
        )
