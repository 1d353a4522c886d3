"""VGG16 compared with keras.applications, whose names of layers it has."""

import keras
import numpy as np
import pytest
from harness import images, without_weights
from keras import ops

from keras_segattn import VGG16
from keras_segattn.inputs import Stamp

# The kernels and the backend are the same: only the order of a few sums may differ.
TOLERANCE = 1e-5


def test_layer_names_and_shapes_are_those_of_keras_applications():
    with without_weights():
        ours, theirs = VGG16(classes=10), keras.applications.VGG16(weights=None, classes=10)
    # Only the stamp of the builder, which has no weights, is additional.
    layers = [layer for layer in ours.layers[1:] if not isinstance(layer, Stamp)]
    assert [layer.name for layer in layers] == [layer.name for layer in theirs.layers[1:]]
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]


@pytest.mark.parametrize("size", [pytest.param((64, 64), marks=pytest.mark.thorough), (97, 75)])
def test_outputs_are_those_of_keras_applications(size):
    theirs = keras.applications.VGG16(include_top=False, weights=None, input_shape=(*size, 3))
    ours = VGG16(include_top=False, input_shape=(*size, 3))
    ours.set_weights(theirs.get_weights())
    x = 50 * images((*size, 3), batch=1)
    a, b = (ops.convert_to_numpy(m(x)) for m in (ours, theirs))
    assert np.abs(a - b).max() / np.abs(b).max() < TOLERANCE
