"""The graph of a functional model: which layer makes a tensor, and which layers read it.

Keras keeps both in attributes that are not public. This is the only module that reads them.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import keras


def producer(tensor: Any) -> Any:
    """Return the layer that makes a symbolic tensor.

    Raises:
        ValueError: if the tensor is not symbolic, or this version of Keras does not say where tensors come from.
    """
    history = getattr(tensor, "_keras_history", None)
    if history is None:
        raise ValueError(
            f"expected a symbolic Keras tensor that knows its layer, received {type(tensor).__name__} "
            f"in Keras {keras.__version__}"
        )
    return history.operation


def producing_node(tensor: Any) -> Any:
    """Return the call that makes a symbolic tensor; the tensor is computed from the call's `input_tensors`."""
    return producer(tensor)._inbound_nodes[tensor._keras_history.node_index]


def calls(model: keras.Model) -> list[Any]:
    """List every call of a layer in a model, from the outputs back to the inputs; none if it is not functional.

    Each has `operation`, `input_tensors` and `output_tensors`.
    """
    by_depth = getattr(model, "_nodes_by_depth", None) or {}
    return [node for depth in by_depth.values() for node in depth]


def functional(model: keras.Model) -> keras.Model:
    """Return a model whose inputs, outputs and calls are known, with the same layers and weights.

    Args:
        model: functional model, which is returned as it is, or a `Sequential` that begins with `keras.Input`.

    Raises:
        TypeError: if it is anything else, such as a subclassed model, whose calls only its code knows.
    """
    if isinstance(model, keras.Sequential) and model.built and model.inputs:
        return keras.Model(
            model.inputs, model.outputs[0] if len(model.outputs) == 1 else model.outputs, name=model.name
        )
    if calls(model):
        return model
    remedy = ""
    if isinstance(model, keras.Sequential):
        remedy = "; begin the Sequential with keras.Input(shape)"
    elif isinstance(model, keras.Model):
        remedy = "; give keras.Model(x, model(x)), where x = keras.Input(shape)"
    raise TypeError(f"expected a functional keras.Model, received {type(model).__name__}{remedy}")


def sources(tensor: Any) -> list[Any]:
    """Return the inputs that a symbolic tensor depends on, in depth-first order."""
    # Keras' `get_source_inputs` follows every path, and each Inception module makes four times as many paths.
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
    """Yield the layers of a model that depend on a tensor, nearest first."""
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


def readers(model: keras.Model, tensor: Any) -> list[Any]:
    """Return the layers of a model that read a tensor themselves."""
    return [node.operation for node in calls(model) if any(one is tensor for one in node.input_tensors)]


def arguments_of(model: keras.Model, layer: keras.layers.Layer) -> dict[str, Any]:
    """Return name → value of the arguments of the only call of a layer in a model.

    Raises:
        ValueError: if the model calls the layer several times.
    """
    found = [node.arguments for node in calls(model) if node.operation is layer]
    if len(found) != 1:
        raise ValueError(f"expected one call of {layer.name} in the model {model.name}, found {len(found)}")
    return dict(inspect.signature(layer.call).bind(*found[0].args, **found[0].kwargs).arguments)


def mask_of(tensor: Any) -> Any:
    """Return the mask that Keras attached to a computed tensor, or `None`."""
    return getattr(tensor, "_keras_mask", None)


def computing_only(model: keras.Model, wanted: list[Any]) -> list[str]:
    """Name the layers that serve to compute the `wanted` tensors, and nothing else."""
    readers: dict[str, set[str]] = {layer.name: set() for layer in model.layers}
    for node in calls(model):
        for tensor in node.input_tensors:
            readers.setdefault(producer(tensor).name, set()).add(node.operation.name)
    found = {producer(tensor).name for tensor in wanted}
    # Backwards, so that a layer is reached after all layers that read it.
    for layer in reversed(model.layers):
        if readers[layer.name] and readers[layer.name] <= found:
            found.add(layer.name)
    return sorted(found)


def final_activation(tensor: Any) -> str | None:
    """Return the name of the softmax, sigmoid or tanh that gives a symbolic tensor, or `None`."""
    operation = producer(tensor)
    activation = getattr(operation, "activation", None)
    for name in ("softmax", "sigmoid", "tanh"):
        if activation is getattr(keras.activations, name) or type(operation).__name__.lower() == name:
            return name
    return None


def children(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return the layers that a layer or model directly consists of.

    Raises:
        RuntimeError: if this version of Keras does not list them.
    """
    if not hasattr(layer, "_layers"):
        raise RuntimeError(f"Keras {keras.__version__} does not list the layers inside layers; expected 3.13 to 3.15")
    return list(layer._layers)


def own_weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Return the weights that a layer itself made, without those of its `children`, in the order Keras stores them.

    Raises:
        RuntimeError: if this version of Keras does not list them.
    """
    if not hasattr(layer, "_trainable_variables"):
        raise RuntimeError(f"Keras {keras.__version__} does not list the weights of a layer; expected 3.13 to 3.15")
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def only_input(layer: keras.layers.Layer) -> Any | None:
    """Return what a layer reads, or `None` if its one symbolic call is not known, as in subclassed models."""
    try:
        return layer.input
    except (AttributeError, ValueError):  # it was called on numbers only, never, or several times
        return None


def parts(model: keras.Model) -> list[keras.layers.Layer]:
    """Return every layer of a model and of the models and layers inside it.

    Raises:
        RuntimeError: if this version of Keras does not list them.
    """
    if not hasattr(model, "_flatten_layers"):
        raise RuntimeError(f"Keras {keras.__version__} does not list the layers inside layers; expected 3.13 to 3.15")
    return [layer for layer in model._flatten_layers() if layer is not model]
