"""The graph of a functional model: what makes a tensor and what reads it.

Keras keeps both in attributes that are not public. This is the one module that reads them.
"""

from collections.abc import Iterator
from typing import Any

import keras


def producer(tensor: Any) -> Any:
    """The layer that makes a symbolic tensor.

    Raises:
        ValueError: if the tensor is not symbolic, or this Keras does not say where tensors come from.
    """
    history = getattr(tensor, "_keras_history", None)
    if history is None:
        raise ValueError(
            f"expected a symbolic Keras tensor that knows its layer, received {type(tensor).__name__} "
            f"in Keras {keras.__version__}"
        )
    return history.operation


def producing_node(tensor: Any) -> Any:
    """The call of a layer that makes a symbolic tensor: its `input_tensors` are what the tensor is made of."""
    return producer(tensor)._inbound_nodes[tensor._keras_history.node_index]


def calls(model: keras.Model) -> list[Any]:
    """Every call of a layer in a model, from the outputs back to the inputs; empty if the model is not functional.

    Each has `operation`, `input_tensors` and `output_tensors`.
    """
    by_depth = getattr(model, "_nodes_by_depth", None) or {}
    return [node for depth in by_depth.values() for node in depth]


def sources(tensor: Any) -> list[Any]:
    """The inputs that a symbolic tensor comes from, first things first."""
    # Keras' `get_source_inputs` follows every path, of which there are four times as many after each Inception module.
    found, seen, waiting = [], set(), [tensor]
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        node = producing_node(tensor)
        if node.is_input:
            found.append(tensor)
        else:
            waiting.extend(reversed(node.input_tensors))
    return found


def downstream(model: keras.Model, tensor: Any) -> Iterator[Any]:
    """The layers of a model that see a tensor, nearest first."""
    readers: dict[int, list[Any]] = {}
    for node in calls(model):
        for source in node.input_tensors:
            readers.setdefault(id(source), []).append(node)
    seen, waiting = set(), [tensor]
    while waiting:
        for node in readers.get(id(waiting.pop(0)), ()):
            if id(node) not in seen:
                seen.add(id(node))
                yield node.operation
                waiting += node.output_tensors


def computing_only(model: keras.Model, wanted: list[Any]) -> list[str]:
    """Names of the layers all of whose outputs serve to compute the `wanted` tensors, and nothing else."""
    readers: dict[str, set[str]] = {layer.name: set() for layer in model.layers}
    for node in calls(model):
        for tensor in node.input_tensors:
            readers.setdefault(producer(tensor).name, set()).add(node.operation.name)
    found = {producer(tensor).name for tensor in wanted}
    # Backwards, so that all that read a layer have been seen before it.
    for layer in reversed(model.layers):
        if readers[layer.name] and readers[layer.name] <= found:
            found.add(layer.name)
    return sorted(found)


def final_activation(tensor: Any) -> str | None:
    """Name of the softmax, sigmoid or tanh that a symbolic tensor comes out of, or `None`."""
    operation = producer(tensor)
    activation = getattr(operation, "activation", None)
    for name in ("softmax", "sigmoid", "tanh"):
        if activation is getattr(keras.activations, name) or type(operation).__name__.lower() == name:
            return name
    return None


def parts(model: keras.Model) -> list[keras.layers.Layer]:
    """Every layer of a model and of the models and layers inside it.

    Raises:
        RuntimeError: if this Keras does not list them.
    """
    if not hasattr(model, "_flatten_layers"):
        raise RuntimeError(f"Keras {keras.__version__} does not list the layers inside layers; expected 3.13 to 3.15")
    return [layer for layer in model._flatten_layers() if layer is not model]
