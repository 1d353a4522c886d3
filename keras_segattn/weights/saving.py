"""Writing of a model's weights to a file, which appears whole or not at all."""

from os import PathLike
from pathlib import Path

import keras
import numpy as np
import safetensors.numpy

from keras_segattn.files import replaced
from keras_segattn.weights.matching import variable_name
from keras_segattn.weights.safetensors_file import LAYOUT_KEY

_KERAS_SUFFIX = ".weights.h5"


def save(model: keras.Model, path: str | PathLike[str]) -> Path:
    """Write the weights of a model to a file that `load` reads back.

    The file is written beside its place and moved there when complete, replacing an older one.

    Args:
        model: model whose weights are written.
        path: file name, ending in `.weights.h5` (Keras's own format, which also keeps a compiled model's optimiser
            state) or `.safetensors` (tensors `"layer.variable"` in Keras's layout, which the metadata say).

    Returns:
        The path written.

    Raises:
        ValueError: if the name has another ending.
        OSError: if the file cannot be written; nothing half-written is left.

    Example:
        >>> save(FCN8s(), "fcn8s.safetensors")
        PosixPath('fcn8s.safetensors')
    """
    path = Path(path)
    if not path.name.endswith((_KERAS_SUFFIX, ".safetensors")):
        raise ValueError(f"expected a file name ending in .weights.h5 or .safetensors, received {path.name!r}")
    with replaced(path) as temporary:
        if path.name.endswith(_KERAS_SUFFIX):
            model.save_weights(temporary)
        else:
            safetensors.numpy.save_file(_tensors(model), temporary, metadata={LAYOUT_KEY: "keras"})
    return path


def _tensors(model: keras.Model) -> dict[str, np.ndarray]:
    return {
        f"{layer.name}.{variable_name(layer, variable)}": np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
        for layer in model.layers
        for variable in layer.weights
    }
