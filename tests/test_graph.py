"""The graph of a model: which layer makes a tensor, and which layers read it."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_segattn import graph


def forked():
    """Model of two inputs, of which the first is read twice."""
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    x = layers.Dense(4, name="dense")(first)
    both = layers.Add(name="add")([layers.Dense(4, name="other")(second), x, first])
    return keras.Model([first, second], {"both": both, "x": layers.ReLU(name="relu")(x)})


def test_producer_is_the_layer():
    model = forked()
    assert graph.producer(model.output["both"]) is model.get_layer("add")
    assert graph.producer(model.inputs[0]) is model.get_layer("first")
    assert graph.producing_node(model.output["x"]).input_tensors == [model.get_layer("dense").output]


def test_a_tensor_that_is_not_symbolic_has_no_producer():
    with pytest.raises(ValueError, match="expected a symbolic Keras tensor that knows its layer, received ndarray"):
        graph.producer(np.zeros(2))


def test_a_layer_that_is_called_twice_has_two_calls():
    dense = layers.Dense(4)
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    outputs = dense(first), dense(second)
    assert [graph.producer(tensor) for tensor in outputs] == [dense, dense]
    assert [graph.sources(tensor)[0].name for tensor in outputs] == ["first", "second"]


def test_calls_are_those_of_every_layer():
    model = forked()
    assert {node.operation.name for node in graph.calls(model)} == {layer.name for layer in model.layers}


def test_a_model_that_is_no_graph_has_no_calls():
    assert graph.calls(keras.Sequential([layers.Dense(1)])) == []


def test_sources_are_those_that_keras_finds():
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    x = layers.Dense(4)(first)
    both = layers.Add()([layers.Dense(4)(second), x, first])
    assert graph.sources(first) == [first]
    assert graph.sources(layers.Add()([x, first])) == [first]
    found, expected = graph.sources(both), keras.utils.get_source_inputs(both)
    assert [tensor.name for tensor in found] == [tensor.name for tensor in expected] == ["second", "first"]


def test_paths_are_not_followed_one_by_one():
    x = image = keras.Input((4,))
    for _ in range(100):  # 2 ** 100 paths
        x = layers.Add()([x, x])
    assert graph.sources(x) == [image]


def test_downstream_goes_from_near_to_far():
    model = forked()
    assert [layer.name for layer in graph.downstream(model, model.inputs[1])] == ["other", "add"]
    seen = [layer.name for layer in graph.downstream(model, model.inputs[0])]
    assert sorted(seen) == ["add", "dense", "relu"]
    assert seen.index("dense") < seen.index("relu")
    assert list(graph.downstream(model, model.output["both"])) == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"x"}, ["relu"]),
        ({"both"}, ["add", "other", "second"]),  # "dense" and "first" serve the other output, too
        ({"x", "both"}, ["add", "dense", "first", "other", "relu", "second"]),
    ],
)
def test_computing_only(wanted, expected):
    model = forked()
    assert graph.computing_only(model, [model.output[name] for name in wanted]) == expected


@pytest.mark.parametrize("name", ["softmax", "sigmoid", "tanh"])
def test_final_activation_in_any_form(name):
    x = keras.Input((4,))
    forms = [layers.Dense(2, activation=name)(x), layers.Activation(name)(x), getattr(keras.ops, name)(x)]
    assert [graph.final_activation(form) for form in forms] == [name] * 3


def test_final_activation_of_others():
    x = keras.Input((4,))
    assert graph.final_activation(layers.Softmax()(x)) == "softmax"
    assert graph.final_activation(layers.Dense(2)(x)) is None
    assert graph.final_activation(layers.Dense(2, activation="relu")(x)) is None
    assert graph.final_activation(layers.Reshape((2, 2))(layers.Softmax()(x))) is None
    assert graph.final_activation(x) is None


def test_parts_are_those_inside_layers_too():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="inside")], name="inner")
    image = keras.Input((4,))
    model = keras.Model(image, layers.Bidirectional(layers.GRU(2), name="both")(layers.Reshape((1, 3))(inner(image))))
    names = {layer.name for layer in graph.parts(model)}
    assert {"inner", "inside", "both"} <= names
    assert any(isinstance(layer, layers.GRUCell) for layer in graph.parts(model))
    assert model not in graph.parts(model)
