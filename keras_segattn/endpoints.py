"""Endpoints: the functions that a stored model offers by name, by default the model itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import keras

from keras_segattn.fields import Field
from keras_segattn.graph import final_activation, functional

# Name of the last layer of generators.
IMAGE = "image"


class Spec(NamedTuple):
    """An input of an endpoint.

    Attributes:
        shape: shape with the batch; `None` where a size is open.
        dtype: name of the dtype.
        like: name of the model's input that holds the same kind of values, if it has another name.
        usual: shape without the batch that is used if the caller gives none and sizes must be fixed, as on phones.
    """

    shape: tuple[int | None, ...]
    dtype: str
    like: str | None = None
    usual: tuple[int | None, ...] | None = None


@dataclass(frozen=True)
class Endpoint:
    """A function that a stored model offers by name, as a signature.

    Args:
        function: function from a dict of input tensors to a dict of output tensors. It is traced as a graph, so it
            may branch on static values only. It is also called eagerly, for comparison with an exported file.
        inputs: input name → shape and dtype, in the order of the model's inputs.
        follows: name of an endpoint whose outputs this one takes as further inputs, as one step of a decoder takes
            the encoder's outputs; `None` if there is none.
    """

    function: Callable[[dict[str, Any]], dict[str, Any]]
    inputs: Mapping[str, Spec]
    follows: str | None = None


class EndpointLayer:
    """Mixin of layers that say what a model holding them does, as a card says it for the models of its builder.

    Attributes:
        task: key of `keras_segattn.tasks.TASKS`, which says what the outputs mean.
    """

    task: ClassVar[str]

    def kinds(self, model: keras.Model) -> dict[str, Field]:
        """Return input name → kind, for the inputs of the model whose kinds the layer knows."""
        raise NotImplementedError

    def endpoints(self, model: keras.Model, options: Mapping[str, Any]) -> Mapping[str, Endpoint]:
        """Return the functions that the stored forms of the model offer, the default one first."""
        raise NotImplementedError


def endpoint_layer(model: keras.Model) -> EndpointLayer | None:
    """Return the layer that says what a model does; `None` if there is none."""
    return next((layer for layer in model.layers if isinstance(layer, EndpointLayer)), None)


Made = TypeVar("Made")


def of_each(endpoints: Mapping[str, Endpoint], make: Callable[[str, Endpoint], Made]) -> dict[str, Made]:
    """Return name → what `make` returns for the endpoint; it is called once for an endpoint with several names."""
    made: dict[int, Made] = {}
    for name, endpoint in endpoints.items():
        if id(endpoint) not in made:
            made[id(endpoint)] = make(name, endpoint)
    return {name: made[id(endpoint)] for name, endpoint in endpoints.items()}


def output_name(model: keras.Model) -> str:
    """Return the name of the output of a model that returns one tensor.

    It is `"image"` for a generator, `"probabilities"` after a softmax or sigmoid, else `"logits"`, so that clients need
    not know the name of an architecture's last layer.
    """
    if model.output_names == [IMAGE]:
        return IMAGE
    return "probabilities" if final_activation(model.outputs[0]) in ("softmax", "sigmoid") else "logits"


def scores_of(model: keras.Model) -> Any:
    """Return the output that classes are read from: `logits` if outputs have names, else the first output."""
    model = functional(model)
    if isinstance(model.output, dict):
        return model.output.get("logits", model.outputs[0])
    return model.outputs[0]


def model_endpoint(model: keras.Model) -> Endpoint:
    """Offer the model itself as an endpoint, with inputs under their Keras names and outputs under their keys.

    Args:
        model: functional model, or a `Sequential` that begins with `keras.Input`. Several outputs are a dict, whose
            keys are their names; a single tensor is named by `output_name`.

    Raises:
        TypeError: if the model is a subclassed one, whose inputs are unknown.
        ValueError: if the model returns a list, whose outputs have no names.
    """
    model = functional(model)
    if isinstance(model.output, list | tuple) and len(model.outputs) > 1:
        raise ValueError(f"model {model.name!r} returns a list; to be exported its outputs must be a dict of names")

    def call(inputs: dict[str, Any]) -> dict[str, Any]:
        tensors = [inputs[tensor.name] for tensor in model.inputs]
        outputs = model(keras.tree.pack_sequence_as(model.input, tensors), training=False)
        return outputs if isinstance(outputs, dict) else {output_name(model): keras.tree.flatten(outputs)[0]}

    specs = {tensor.name: Spec((None, *tensor.shape[1:]), tensor.dtype) for tensor in model.inputs}
    return Endpoint(call, specs)


def whole_model(model: keras.Model, options: Mapping[str, Any]) -> dict[str, Endpoint]:  # noqa: ARG001
    """Return the only endpoint of a model whose card defines none: `serving_default`, the model itself."""
    return {"serving_default": model_endpoint(model)}
