"""Functions that a stored model offers under a name, and the one that every model has: the model itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras

from keras_segattn.graph import final_activation

# The layer by which generators end.
IMAGE = "image"


class Spec(NamedTuple):
    """An input of an endpoint.

    Attributes:
        shape: shape with the batch; `None` where a size is open.
        dtype: name of the dtype.
        like: name of an input of the model that this one holds the same kind of values as, where their names differ.
        usual: shape without the batch that is taken where one is needed and nobody gives one, as on phones.
    """

    shape: tuple[int | None, ...]
    dtype: str
    like: str | None = None
    usual: tuple[int | None, ...] | None = None


@dataclass(frozen=True)
class Endpoint:
    """A function that a stored model offers under a name, its signature.

    Args:
        function: dict of input tensors → dict of output tensors; traced as a graph, so it branches on nothing but
            static facts. It may be called eagerly, too: that is what a written file is compared with.
        inputs: input name → shape and dtype, in the order of the model's inputs.
        follows: name of an endpoint whose outputs this one takes as further inputs, as one step of a decoder takes
            what the encoder gave; `None` if there is none.
    """

    function: Callable[[dict[str, Any]], dict[str, Any]]
    inputs: Mapping[str, Spec]
    follows: str | None = None


def output_name(model: keras.Model) -> str:
    """Name of the output of a model that returns one tensor.

    It is `"image"` of a generator, `"probabilities"` after a softmax or sigmoid, else `"logits"`: one name for clients,
    whatever the architecture calls its last layer.
    """
    if model.output_names == [IMAGE]:
        return IMAGE
    return "probabilities" if final_activation(model.outputs[0]) in ("softmax", "sigmoid") else "logits"


def scores_of(model: keras.Model) -> Any:
    """The output that classes are read from: `logits` of several, else the first."""
    if isinstance(model.output, dict):
        return model.output.get("logits", model.outputs[0])
    return model.outputs[0]


def model_endpoint(model: keras.Model) -> Endpoint:
    """The model as it is: inputs under their Keras names, outputs under their keys.

    Args:
        model: functional model. Several outputs are a dict, whose keys are the names; the one of a model that
            returns a tensor is given by `output_name`.

    Raises:
        ValueError: if the model returns a list, whose outputs have no names.
    """
    if isinstance(model.output, list | tuple) and len(model.outputs) > 1:
        raise ValueError(f"model {model.name!r} returns a list; to be exported its outputs must be a dict of names")

    def call(inputs: dict[str, Any]) -> dict[str, Any]:
        tensors = [inputs[tensor.name] for tensor in model.inputs]
        outputs = model(keras.tree.pack_sequence_as(model.input, tensors), training=False)
        return outputs if isinstance(outputs, dict) else {output_name(model): keras.tree.flatten(outputs)[0]}

    specs = {tensor.name: Spec((None, *tensor.shape[1:]), tensor.dtype) for tensor in model.inputs}
    return Endpoint(call, specs)


def whole_model(model: keras.Model, options: Mapping[str, Any]) -> dict[str, Endpoint]:  # noqa: ARG001
    """The endpoints of a model that has no others: `serving_default`, the model itself."""
    return {"serving_default": model_endpoint(model)}
