"""CaffeNet has the sizes and counts of the Caffe release."""

import pytest
from harness import without_weights

from keras_segattn import CaffeNet


def test_sizes_of_the_release():
    with without_weights():
        model = CaffeNet(alpha=0.0625)
    sizes = {"conv1": 55, "pool1": 27, "conv2": 27, "pool2": 13, "conv5": 13, "pool5": 6}
    assert {name: model.get_layer(name).output.shape[1] for name in sizes} == sizes


def test_parameters_by_layer():
    with without_weights():
        model = CaffeNet()
    counts = {layer.name: layer.count_params() for layer in model.layers if layer.weights}
    assert counts == {
        "conv1": 34_944,
        "conv2": 307_456,
        "conv3": 885_120,
        "conv4": 663_936,
        "conv5": 442_624,
        "fc6": 37_752_832,
        "fc7": 16_781_312,
        "fc8": 4_097_000,
    }


@pytest.mark.parametrize(("padding", "smallest"), [("valid", 39), ("same", 1)])
def test_smallest_image(padding, smallest):
    arguments = {"include_top": False, "alpha": 0.0625, "padding": padding}
    with without_weights():
        model = CaffeNet(input_shape=(smallest, smallest, 3), **arguments)
    assert model.output_shape == (None, 1, 1, 16)
    with pytest.raises(ValueError, match=f"image height must be an integer of at least {smallest}, received"):
        CaffeNet(input_shape=(smallest - 1, smallest, 3), **arguments)
