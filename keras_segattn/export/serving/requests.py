"""Checks in the graph of a served model: a request that does not fit is an error, and neither a crash nor an answer.

Neither TensorFlow Serving nor a session compares what is sent with the shapes of a signature, and some kernels end the
process if the rank is wrong.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import tensorflow as tf

from keras_segattn.endpoints import Endpoint, of_each
from keras_segattn.export.preparation import Prepared
from keras_segattn.fields import PictureSize, Tokens

# Most examples of one request. A server without batching would otherwise try any number that its memory cannot hold.
LARGEST_BATCH = 128


def checked_endpoints(prepared: Prepared, endpoints: Mapping[str, Endpoint]) -> dict[str, Endpoint]:
    """Return the endpoints with checks of their inputs. An endpoint with two names stays one object.

    Args:
        prepared: prepared model, which knows the kinds of the inputs.
        endpoints: signature → endpoint, as it is served.
    """
    return of_each(endpoints, lambda _, endpoint: checked(prepared, endpoint))


def checked(prepared: Prepared, endpoint: Endpoint) -> Endpoint:
    """Return an endpoint that refuses inputs which do not have its shapes, or values that the network cannot take.

    Inputs must have the rank and the fixed sizes of the signature, no empty dimension, and one batch size of at most
    `LARGEST_BATCH`. Floating-point values must be finite, ids of tokens inside their vocabulary, and the sizes of
    pictures inside the images that hold them.
    """

    def call(inputs: dict[str, Any]) -> dict[str, Any]:
        # Every later check needs the rank, so that it depends on this one.
        tensors = {name: tf.ensure_shape(inputs[name], spec.shape) for name, spec in endpoint.inputs.items()}
        for name, tensor in tensors.items():
            if tensor.dtype.is_floating:
                tensors[name] = tf.debugging.check_numerics(tensor, f"{name} must be finite")
        conditions = [one for name in tensors for one in conditions_on(name, tensors, prepared, endpoint)]
        return endpoint.function(dict(zip(tensors, required([*tensors.values()], *conditions), strict=True)))

    return replace(endpoint, function=call)


def conditions_on(
    name: str, tensors: Mapping[str, Any], prepared: Prepared, endpoint: Endpoint
) -> list[tuple[Any, str]]:
    """Return conditions on an input, and what is said if one does not hold."""
    tensor, spec = tensors[name], endpoint.inputs[name]
    first, *_ = tensors
    sizes = tf.shape(tensor)
    found = [
        (tf.reduce_min(sizes) > 0, f"{name} must not be empty"),
        (sizes[0] <= LARGEST_BATCH, f"{name} must hold at most {LARGEST_BATCH} examples per request"),
    ]
    if name != first:
        found.append((tf.equal(sizes[0], tf.shape(tensors[first])[0]), f"{first} and {name} must have equal batches"))
    kind = prepared.kind(name, spec)
    if isinstance(kind, Tokens) and tensor.dtype != tf.string:
        inside = (tensor >= 0) & (tensor < kind.size)
        found.append((tf.reduce_all(inside), f"{name} must hold ids of tokens in 0..{kind.size - 1}"))
    if isinstance(kind, PictureSize) and kind.picture in tensors:
        image = tf.cast(tf.shape(tensors[kind.picture])[1:3], tensor.dtype)
        found.append((tf.reduce_all((tensor >= 1) & (tensor <= image)), f"{name} must be within {kind.picture}"))
    return found


def required(tensors: list[Any], *conditions: tuple[Any, str]) -> list[Any]:
    """Return the tensors unchanged; to compute them is an error unless all conditions hold.

    Args:
        tensors: tensors of any shapes.
        *conditions: scalar boolean tensors, each with what is said if it is false.
    """
    # The plain operator: `tf.debugging.Assert` would put each check into a branch of its own.
    checks = [tf.raw_ops.Assert(condition=condition, data=[message]) for condition, message in conditions]
    with tf.control_dependencies(checks):
        return [tf.identity(tensor) for tensor in tensors]
