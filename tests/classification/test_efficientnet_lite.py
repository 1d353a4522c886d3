"""EfficientNet-Lite0 has the layers of the paper's table 1."""

import numpy as np
import pytest
from harness import images, randomise, without_weights
from keras import layers

from keras_segattn import EfficientNetLite0
from keras_segattn.registry import model_card

# Row of the paper's table 1 → (last layer, stride, channels).
TABLE_1 = {
    1: ("block1a_project_bn", 2, 16),
    2: ("block2b_add", 4, 24),
    3: ("block3b_add", 8, 40),
    4: ("block4c_add", 16, 80),
    5: ("block5c_add", 16, 112),
    6: ("block6d_add", 32, 192),
    7: ("block7a_project_bn", 32, 320),
}
# Rounding of sums of some hundred float32 products, accumulated in another order; values are of the order of 1.
TOLERANCE = 1e-5
# The smallest network with all strides.
SMALL = {"alpha": 0.125, "blocks": (1,) * 7}


def trainable(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def test_stages_are_those_of_the_table_and_the_count_that_of_the_release():
    with without_weights():
        model = EfficientNetLite0(input_shape=(224, 224, 3))
    for layer, stride, channels in TABLE_1.values():
        assert model.get_layer(layer).output.shape[1:] == (224 // stride, 224 // stride, channels)
    assert trainable(model) == 4_652_008
    # All blocks but the first of each stage have a shortcut.
    assert sum(isinstance(layer, layers.Add) for layer in model.layers) == 16 - 7


def test_paddings_lie_apart_on_even_maps_only():
    x = {size: images((size, size, 3)) for size in (33, 32)}  # 33, 17, 9, 5, 3 and 32, 16, 8, 4, 2
    outputs = []
    for padding in ("same", "symmetric"):
        backbone = EfficientNetLite0(include_top=False, padding=padding, **SMALL)
        randomise(backbone)
        for layer in backbone.layers:
            if isinstance(layer, layers.BatchNormalization):
                assert layer.epsilon == {"same": 1e-3, "symmetric": 1e-5}[padding]
                layer.epsilon = 1e-3
        outputs.append({size: np.asarray(backbone(image)) for size, image in x.items()})
    same, symmetric = outputs
    np.testing.assert_allclose(same[33], symmetric[33], atol=TOLERANCE)
    assert np.abs(same[32] - symmetric[32]).max() > 100 * TOLERANCE


@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_any_size_down_to_one_pixel(padding):
    backbone = EfficientNetLite0(include_top=False, padding=padding, **SMALL)
    for size in ((1, 1), (33, 65), (224, 97)):
        features = np.asarray(backbone(images((*size, 3), batch=1)))
        assert features.shape == (1, -(-size[0] // 32), -(-size[1] // 32), 160)
        assert features.min() >= 0
        assert features.max() <= 6


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_pooled_features(pooling):
    with without_weights():
        model = EfficientNetLite0(include_top=False, pooling=pooling, **SMALL)
    assert model.output_shape == (None, 160)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blocks": (1, 2, 3)}, r"blocks must be seven numbers of inverted residual blocks, received \(1, 2, 3\)"),
        ({"blocks": 7}, "blocks must be seven numbers of inverted residual blocks, received 7"),
        ({"blocks": (1, 1, 1, 0, 1, 1, 1)}, "blocks must be a positive integer, received 0"),
        ({"padding": "valid"}, "padding must be one of 'same', 'symmetric', received 'valid'"),
        ({"dropout": 1}, "dropout must be a rate of at least 0 and less than 1, received 1"),
        ({"pooling": "sum"}, "pooling must be one of None, 'avg', 'max', received 'sum'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        EfficientNetLite0(**arguments)


def test_every_layer_with_weights_has_a_name_of_its_own_in_other_files():
    names = model_card("EfficientNetLite0").weight_names
    with without_weights():
        model = EfficientNetLite0()
    assert set(names) == {layer.name for layer in model.layers if layer.weights} - {"dropout"}
    for column in zip(*names.values(), strict=True):
        assert len(set(column)) == len(names)
