import keras
import numpy as np
import pytest

from keras_segattn.layers import SparseConv2D
from keras_segattn.layers.sparse_conv2d import random_table

# Rounding of float32 sums of a few dozen products, in another order.
TOLERANCE = 1e-5


def test_it_is_a_masked_convolution():
    table = random_table(6, 5, 2, seed=3)
    layer = SparseConv2D(table, 3, activation="tanh", padding="same")
    x = np.random.default_rng(0).normal(size=(2, 7, 6, 5)).astype("float32")
    y = layer(x)
    kernel, bias = layer.get_weights()
    assert kernel.shape == (3, 3, 2, 6)
    dense = np.zeros((3, 3, 5, 6), "float32")
    for number, row in enumerate(table):
        for place, channel in enumerate(row):
            dense[:, :, channel, number] = kernel[:, :, place, number]
    plain = keras.layers.Conv2D(6, 3, activation="tanh", padding="same")
    plain.build(x.shape)
    plain.set_weights([dense, bias])
    np.testing.assert_allclose(y, plain(x), atol=TOLERANCE)
    np.testing.assert_array_equal(layer.dense_kernel(layer.kernel, 5), dense)


def test_the_table_is_part_of_the_configuration():
    layer = SparseConv2D([(0, 2), (1, 2)], 3, name="bank")
    again = SparseConv2D.from_config(layer.get_config())
    assert again.table == layer.table == [(0, 2), (1, 2)]
    assert (again.filters, again.name) == (2, "bank")


def test_random_tables_are_of_the_seed_and_never_see_a_map_twice():
    table = random_table(64, 16, 8, seed=(0, 2))
    assert table == random_table(64, 16, 8, seed=(0, 2))
    assert table != random_table(64, 16, 8, seed=(1, 2))
    assert {len({*row}) for row in table} == {8}
    assert {channel for row in table for channel in row} == {*range(16)}


@pytest.mark.one_backend
@pytest.mark.parametrize("table", [[], [()], [(0, 1), (2,)], [(1, 1)]])
def test_bad_tables(table):
    with pytest.raises(ValueError, match="expected as many different channels for every filter"):
        SparseConv2D(table, 3)


@pytest.mark.one_backend
def test_channels_that_do_not_exist():
    with pytest.raises(ValueError, match="expected numbers of channels from 0 up"):
        SparseConv2D([(-1, 0)], 3)
    with pytest.raises(ValueError, match="connects channel 4, received input of shape"):
        SparseConv2D([(0, 4)], 3)(np.zeros((1, 3, 3, 4), "float32"))
