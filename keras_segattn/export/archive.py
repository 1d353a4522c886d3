"""The first step of both export formats: a SavedModel whose endpoints share one copy of the weights."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_segattn import graph
from keras_segattn.endpoints import Endpoint
from keras_segattn.export.report import ExportError
from keras_segattn.ops.portable import portable_operators

# Attributes of the object that Keras saves; an endpoint with such a name would replace the attribute.
RESERVED = frozenset({"variables", "trainable_variables", "non_trainable_variables", "signatures"})


def tensor_specs(endpoint: Endpoint) -> dict[str, Any]:
    """Return the inputs of an endpoint as `tf.TensorSpec`s."""
    import tensorflow as tf

    return {name: tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in endpoint.inputs.items()}


def compiled(endpoint: Endpoint) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Compile the function of an endpoint to one graph, since loops would take long eagerly.

    Returns:
        Function from input name → NumPy array, of any fitting shape, to output name → NumPy array.
    """
    import tensorflow as tf

    function = tf.function(endpoint.function, [tensor_specs(endpoint)], autograph=False)

    def run(inputs: Mapping[str, Any]) -> dict[str, Any]:
        outputs = function({name: tf.constant(inputs[name], spec.dtype) for name, spec in endpoint.inputs.items()})
        return {name: output.numpy() for name, output in outputs.items()}

    return run


def check_signatures(endpoints: Mapping[str, Endpoint]) -> None:
    """Raise `ValueError` if there is no endpoint, or a name cannot be the name of a signature."""
    if not endpoints:
        raise ValueError("expected at least one signature, received none")
    for name in endpoints:
        if not name.isidentifier() or name.startswith("_") or name in RESERVED:
            raise ValueError(f"a signature's name must be an identifier and none of {sorted(RESERVED)}, got {name!r}")


def write_archive(endpoints: Mapping[str, Endpoint], directory: str | Path) -> None:
    """Trace endpoints and write them as a SavedModel whose signatures share their weights.

    Args:
        endpoints: signature → endpoint. Without a `"serving_default"` the first is also stored under that name.
        directory: folder to write; made if missing.

    Raises:
        ValueError: if there is no endpoint, or a signature's name is reserved or no identifier.
        ExportError: if Keras runs on another backend than TensorFlow, or an endpoint cannot be traced.
        OSError: if the folder cannot be written.
    """
    if keras.backend.backend() != "tensorflow":
        raise ExportError(f"export needs KERAS_BACKEND=tensorflow, received {keras.backend.backend()!r}")
    check_signatures(endpoints)
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    try:
        with portable_operators():
            traced: dict[int, Any] = {}
            for name, endpoint in endpoints.items():
                signature = [tensor_specs(endpoint)]
                # Traced here: TensorFlow traces every function again when it saves, and then finds only a call of this.
                if id(endpoint) not in traced:
                    function = tf.function(endpoint.function, signature, autograph=False)
                    traced[id(endpoint)] = function.get_concrete_function()
                # Without `archive.track`, which stores every weight twice (keras#23553).
                archive.add_endpoint(name, traced[id(endpoint)], input_signature=signature)
            archive.write_out(str(directory), verbose=False)
    except tf.errors.OpError as error:
        raise OSError(f"cannot write {directory}: {error.message}") from error
    except (TypeError, ValueError) as error:
        raise ExportError(f"cannot trace the model for export: {error}") from error


def as_float32(model: keras.Model) -> keras.Model:
    """Return the model with all computations in float32 and the same weights.

    Arithmetic in float16 and bfloat16 suits neither the kernels on phones nor a comparison at 1e-5.

    Args:
        model: any Keras model.

    Returns:
        `model` itself if all its layers compute in float32, else a rebuilt copy of it.

    Example:
        >>> as_float32(model_trained_with_mixed_bfloat16).compute_dtype
        'float32'
    """
    layers = graph.parts(model)
    if all(layer.dtype_policy.compute_dtype == layer.dtype_policy.variable_dtype == "float32" for layer in layers):
        return model

    def in_float32(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config(_in_float32(copy.deepcopy(layer.get_config())) | {"dtype": "float32"})

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")  # for layers that build others inside
    try:
        copied = keras.models.clone_model(model, clone_function=in_float32, recursive=True)
    finally:
        keras.config.set_dtype_policy(policy)
    copied.set_weights(model.get_weights())
    return copied


def _in_float32(config: Any) -> Any:
    """Return a configuration in which all layers inside the layer compute in float32, too."""
    if isinstance(config, list | tuple):
        return type(config)(map(_in_float32, config))
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return "float32"
    return {key: _in_float32(value) for key, value in config.items()}
