"""SqueezeNet 1.1 has the sizes and counts of its release."""

import pytest
from harness import without_weights

from keras_segattn import SqueezeNet1_1


def test_sizes_of_the_release():
    with without_weights():
        model = SqueezeNet1_1(input_shape=(224, 224, 3), alpha=0.125)
    sizes = {"conv1": 111, "pool1": 55, "pool3": 27, "pool5": 13, "conv10": 13}
    assert {name: model.get_layer(name).output.shape[1] for name in sizes} == sizes


def test_backbone_parameters():
    # 1,235,496 less the 512 × 1000 + 1000 of the classifier.
    with without_weights():
        assert SqueezeNet1_1(include_top=False).count_params() == 722_496


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_pooled_features(pooling):
    with without_weights():
        assert SqueezeNet1_1(include_top=False, pooling=pooling, alpha=0.125).output_shape == (None, 64)


def test_unknown_pooling():
    with pytest.raises(ValueError, match="pooling must be one of None, 'avg', 'max', received 'sum'"):
        SqueezeNet1_1(include_top=False, pooling="sum")


@pytest.mark.parametrize(("padding", "smallest"), [("valid", 17), ("same", 1)])
def test_smallest_image(padding, smallest):
    arguments = {"include_top": False, "alpha": 0.125, "padding": padding}
    with without_weights():
        model = SqueezeNet1_1(input_shape=(smallest, smallest, 3), **arguments)
    assert model.output_shape == (None, 1, 1, 64)
    with pytest.raises(ValueError, match=f"image height must be an integer of at least {smallest}, received"):
        SqueezeNet1_1(input_shape=(smallest - 1, smallest, 3), **arguments)
