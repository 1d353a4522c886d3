"""A Keras model under the names that a SavedModel gives to inputs and outputs."""

from collections.abc import Callable
from typing import Any

import keras

from keras_segattn.endpoints import model_endpoint
from keras_segattn.export.archive import as_float32
from keras_segattn.export.meta_graph import dtype_of
from keras_segattn.facts import preprocessing_of


def reference_function(model: keras.Model, signature: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A Keras model under the names of a signature; one alone needs no name.

    Raises:
        ValueError: if the signature has other inputs or outputs.
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
    """The model's name → the file's.

    Raises:
        ValueError: if they differ and there are several.
    """
    if len(names) == len(keys) == 1:
        return {next(iter(names)): next(iter(keys))}
    if set(names) != set(keys):
        raise ValueError(f"the file's {what} are {sorted(keys)}, those of {model!r} are {sorted(names)}")
    return {name: name for name in names}
