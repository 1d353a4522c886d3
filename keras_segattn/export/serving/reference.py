"""A Keras model as a reference: called with a SavedModel's names of inputs and outputs."""

from collections.abc import Callable
from typing import Any

import keras

from keras_segattn.endpoints import model_endpoint
from keras_segattn.export.archive import as_float32
from keras_segattn.export.meta_graph import dtype_of
from keras_segattn.facts import preprocessing_of


def reference_function(model: keras.Model, signature: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function that calls a Keras model with the names of a signature's inputs and outputs.

    Several inputs or outputs are matched by name; the names of a single one may differ. If the signature takes uint8
    pictures, they are normalised for the model.

    Raises:
        ValueError: if the signature has other inputs or outputs than the model.
    """
    endpoint = model_endpoint(as_float32(model))
    renamed_inputs = matched(endpoint.inputs, signature.inputs, model.name, "inputs")
    raw = any(dtype_of(tensor) == "uint8" for tensor in signature.inputs.values())
    normalise = preprocessing_of(model) if raw else lambda x: x

    def call(inputs: dict[str, Any]) -> dict[str, Any]:
        outputs = endpoint.function({name: normalise(inputs[key]) for name, key in renamed_inputs.items()})
        renamed = matched(outputs, signature.outputs, model.name, "outputs")
        return {key: outputs[name] for name, key in renamed.items()}

    return call


def matched(names: Any, keys: Any, model: str, what: str) -> dict[str, str]:
    """Return name in the model → name in the file.

    Raises:
        ValueError: if there are several names and they differ.
    """
    if len(names) == len(keys) == 1:
        return {next(iter(names)): next(iter(keys))}
    if set(names) != set(keys):
        raise ValueError(f"the file's {what} are {sorted(keys)}, those of {model!r} are {sorted(names)}")
    return {name: name for name in names}
