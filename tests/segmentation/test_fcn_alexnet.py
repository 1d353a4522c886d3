"""FCN-AlexNet has the sizes and counts of its release."""

import pytest
from harness import without_weights

from keras_segattn import FCNAlexNet

NARROW = {"alpha": 0.03125, "classes": 3}


def test_sizes_of_the_release_at_500_pixels():
    with without_weights():
        model = FCNAlexNet(input_shape=(500, 500, 3), **NARROW)
    sizes = {"conv1": 173, "pool1": 86, "pool2": 43, "pool5": 21, "fc6": 16, "upscore": 543, "score": 500}
    assert {name: model.get_layer(name).output.shape[1] for name in sizes} == sizes


def test_parameters_without_the_deconvolution():
    with without_weights():
        model = FCNAlexNet(input_shape=(500, 500, 3))
    assert model.count_params() - model.get_layer("upscore").count_params() == 56_954_261


@pytest.mark.parametrize("size", [1, 2, 7, 32, 63, 223, 500, 501])
def test_any_size_fits(size):
    with without_weights():
        assert FCNAlexNet(input_shape=(size, size, 3), **NARROW).output_shape == (None, size, size, 3)
