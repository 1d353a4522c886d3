"""What builders share of their arguments."""

import keras
from keras import layers

from keras_segattn.arguments import source_input


def test_sources_are_those_that_keras_finds():
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    x = layers.Dense(4)(first)
    both = layers.Add()([layers.Dense(4)(second), x, first])
    assert source_input(first) is first
    assert source_input(layers.Add()([x, first])) is first
    found, expected = source_input(both), keras.utils.get_source_inputs(both)
    assert [tensor.name for tensor in found] == [tensor.name for tensor in expected] == ["second", "first"]


def test_paths_are_not_followed_one_by_one():
    x = image = keras.Input((4,))
    for _ in range(100):  # 2 ** 100 paths
        x = layers.Add()([x, x])
    assert source_input(x) is image
