"""Writing of a model's weights to a file, which appears whole or not at all."""

from os import PathLike
from pathlib import Path

import keras
import numpy as np
import safetensors.numpy

from keras_segattn.files import replaced
from keras_segattn.weights.naming import NOT_BUILT, named_variables
from keras_segattn.weights.safetensors_file import LAYOUT_KEY

_KERAS_SUFFIX = ".weights.h5"


def save(model: keras.Model, path: str | PathLike[str]) -> Path:
    """Write the weights of a model to a file that `load` reads back.

    The file is written beside its place and moved there when complete, replacing an older one.

    Args:
        model: model whose weights are written; there may be models and layers inside its layers.
        path: file name, ending in `.weights.h5` (Keras's own format, which also keeps a compiled model's optimiser
            state) or `.safetensors` (tensors `"layer.variable"`, or `"layer.part/variable"` inside a layer, in Keras's
            layout, which the metadata say).

    Returns:
        The path written.

    Raises:
        ValueError: if the name has another ending, the model has no weights, or two of them have the same name.
        OSError: if the file cannot be written; nothing half-written is left.

    Example:
        >>> save(FCN8s(), "fcn8s.safetensors")
        PosixPath('fcn8s.safetensors')
    """
    path = Path(path)
    if not path.name.endswith((_KERAS_SUFFIX, ".safetensors")):
        raise ValueError(f"expected a file name ending in .weights.h5 or .safetensors, received {path.name!r}")
    variables = _variables(model)
    with replaced(path) as temporary:
        if path.name.endswith(_KERAS_SUFFIX):
            model.save_weights(temporary)
        else:
            tensors = {name: _values(variable) for name, variable in variables.items()}
            safetensors.numpy.save_file(tensors, temporary, metadata={LAYOUT_KEY: "keras"})
    return path


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Return the variables by name; names are checked for both formats, because `load` finds the tensors by them."""
    variables: dict[str, keras.Variable] = {}
    for named in named_variables(model):
        if named.name in variables:
            raise ValueError(
                f"expected different names for all layers, received two variables {named.name!r} in {model.name!r}: "
                "give the layers that own them different names"
            )
        variables[named.name] = named.variable
    if not model.built or not variables:
        raise ValueError(f"expected a model with all its weights, {model.name!r} {NOT_BUILT}")
    return variables


def _values(variable: keras.Variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), order="C")
