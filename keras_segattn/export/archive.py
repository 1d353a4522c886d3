"""Endpoints of a SavedModel that share one copy of the weights: the first step of both export profiles."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from keras_segattn.export.report import ExportError
from keras_segattn.ops.portable import portable_operators

# Attributes of the object that Keras saves; an endpoint of that name would replace them.
RESERVED = frozenset({"variables", "trainable_variables", "non_trainable_variables", "signatures"})
PROBABILITIES = ("softmax", "sigmoid")
# The layer by which generators end.
IMAGE = "image"


@dataclass(frozen=True)
class Endpoint:
    """A function that a file offers under a name, its signature.

    Args:
        function: dict of input tensors → dict of output tensors; traced as a graph, so it branches on nothing but
            static facts. It may be called eagerly, too: that is what a written file is compared with.
        inputs: input name → `tf.TensorSpec`, in the order of the model's inputs.
    """

    function: Callable[[dict[str, Any]], dict[str, Any]]
    inputs: Mapping[str, Any]


def output_name(model: keras.Model) -> str:
    """Name of the output of a model that returns one tensor.

    It is `"image"` of a generator, `"probabilities"` after a softmax or sigmoid, else `"logits"`: one name for clients,
    whatever the architecture calls its last layer.
    """
    if model.output_names == [IMAGE]:
        return IMAGE
    activation = getattr(model.layers[-1], "activation", None)
    return "probabilities" if getattr(activation, "__name__", None) in PROBABILITIES else "logits"


def model_endpoint(model: keras.Model, shapes: Mapping[str, tuple[int | None, ...]] | None = None) -> Endpoint:
    """The model as it is: inputs under their Keras names, outputs under their keys.

    Args:
        model: a functional model. Several outputs are a dict, whose keys are the names; the one of a model that
            returns a tensor is given by `output_name`.
        shapes: input name → shape with the batch; `None` takes the model's, with an open batch.

    Raises:
        ValueError: if the model returns a list, whose outputs have no names.
    """
    import tensorflow as tf

    if isinstance(model.output, list | tuple) and len(model.outputs) > 1:
        raise ValueError(f"model {model.name!r} returns a list; to be exported its outputs must be a dict of names")
    shapes = shapes or {tensor.name: tuple(tensor.shape) for tensor in model.inputs}

    def call(inputs: dict[str, Any]) -> dict[str, Any]:
        tensors = [inputs[tensor.name] for tensor in model.inputs]
        outputs = model(keras.tree.pack_sequence_as(model.input, tensors), training=False)
        return outputs if isinstance(outputs, dict) else {output_name(model): keras.tree.flatten(outputs)[0]}

    specs = {tensor.name: tf.TensorSpec(shapes[tensor.name], tensor.dtype, name=tensor.name) for tensor in model.inputs}
    return Endpoint(call, specs)


def write_archive(endpoints: Mapping[str, Endpoint], directory: str | Path) -> None:
    """Trace endpoints and write them as a SavedModel whose signatures share their weights.

    Args:
        endpoints: signature → endpoint. Without a `"serving_default"` the first is also stored under that name.
        directory: folder to write; made if missing.

    Raises:
        ValueError: if there is no endpoint, or a signature's name is no identifier or reserved.
        ExportError: if Keras runs on another backend than TensorFlow, or an endpoint cannot be traced.
        OSError: if the folder cannot be written.
    """
    if keras.backend.backend() != "tensorflow":
        raise ExportError(f"export needs KERAS_BACKEND=tensorflow, received {keras.backend.backend()!r}")
    if not endpoints:
        raise ValueError("expected at least one signature, received none")
    for name in endpoints:
        if not name.isidentifier() or name.startswith("_") or name in RESERVED:
            raise ValueError(f"a signature's name must be an identifier and none of {sorted(RESERVED)}, got {name!r}")
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    try:
        with portable_operators():
            for name, endpoint in endpoints.items():
                signature = [dict(endpoint.inputs)]
                # Traced here: while it saves, TensorFlow traces every function again, and this one is but a call.
                traced = tf.function(endpoint.function, signature, autograph=False).get_concrete_function()
                # Not `track`: that stores every weight a second time (keras#23553).
                archive.add_endpoint(name, traced, input_signature=signature)
            archive.write_out(str(directory), verbose=False)
    except tf.errors.OpError as error:
        raise OSError(f"cannot write {directory}: {error.message}") from error
    except (TypeError, ValueError) as error:
        raise ExportError(f"cannot trace the model for export: {error}") from error


def as_float32(model: keras.Model) -> keras.Model:
    """The model computing in float32, with the same weights.

    Args:
        model: any; one whose layers all compute in float32 is returned as it is.

    Returns:
        `model`, or a rebuilt copy of it: float16 and bfloat16 arithmetic suits neither phones' kernels nor a
        comparison at 1e-5.

    Example:
        >>> as_float32(model_trained_with_mixed_bfloat16).compute_dtype
        'float32'
    """
    layers = [layer for layer in model._flatten_layers() if layer is not model]
    if all(layer.dtype_policy.compute_dtype == layer.dtype_policy.variable_dtype == "float32" for layer in layers):
        return model

    def in_float32(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = copy.deepcopy(layer.get_config())
        config["dtype"] = "float32"
        return type(layer).from_config(config)

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")  # for layers that build others inside
    try:
        copied = keras.models.clone_model(model, clone_function=in_float32, recursive=True)
    finally:
        keras.config.set_dtype_policy(policy)
    copied.set_weights(model.get_weights())
    return copied
