"""ResNets: sizes per stage, places of stride and padding, and the card of each model."""

import numpy as np
import pytest
from harness import without_weights

import keras_segattn as ks
from keras_segattn.facts import facts_of

# He et al. 2016, table 1: blocks of the four stages, and channels after the last.
TABLE = {
    "ResNet18": ((2, 2, 2, 2), 512),
    "ResNet34": ((3, 4, 6, 3), 512),
    "ResNet50": ((3, 4, 6, 3), 2048),
    "ResNet101": ((3, 4, 23, 3), 2048),
    "ResNet152": ((3, 8, 36, 3), 2048),
}


@pytest.mark.parametrize(
    "name",
    [
        "ResNet18",
        "ResNet50",
        *(pytest.param(name, marks=pytest.mark.thorough) for name in ("ResNet34", "ResNet101", "ResNet152")),
    ],
)
def test_table_1(name):
    blocks, channels = TABLE[name]
    with without_weights():
        model = getattr(ks, name)(include_top=False, input_shape=(224, 224, 3))
    for stage, (count, size) in enumerate(zip(blocks, (56, 28, 14, 7), strict=True), 2):
        assert model.get_layer(f"conv{stage}_block{count}_out").output.shape[1:3] == (size, size)
        assert f"conv{stage}_block{count + 1}_out" not in [layer.name for layer in model.layers]
    assert model.output.shape[1:] == (7, 7, channels)
    assert facts_of(model).card == name
    weighted = [layer for layer in model.layers if layer.name.endswith("_conv") and "_0_" not in layer.name]
    assert len(weighted) + 1 == int(name.removeprefix("ResNet"))


@pytest.mark.parametrize("stride_in_1x1", [False, True])
def test_where_the_stride_is(stride_in_1x1):
    with without_weights():
        model = ks.ResNet50(stride_in_1x1=stride_in_1x1, alpha=0.0625, blocks=(1, 1, 1, 1))
    strides = [model.get_layer(f"conv3_block1_{part}_conv").strides for part in (0, 1, 2, 3)]
    assert strides == ([(2, 2), (2, 2), (1, 1), (1, 1)] if stride_in_1x1 else [(2, 2), (1, 1), (2, 2), (1, 1)])
    assert model.get_layer("conv2_block1_1_conv").strides == (1, 1)


@pytest.mark.parametrize(("padding", "sizes"), [("symmetric", (56, 57)), ("valid", (56, 56))])
def test_first_pooling(padding, sizes):
    """PyTorch's pooling pads by 1 and rounds down; Caffe's does not pad and rounds up."""
    for image, size in zip((224, 225), sizes, strict=True):
        with without_weights():
            model = ks.ResNet18(padding=padding, alpha=0.0625, input_shape=(image, image, 3))
        assert model.get_layer("pool1_pool").output.shape[1:3] == (size, size)


@pytest.mark.parametrize("channels", [1, 5])
def test_any_channels_and_one_pixel(channels):
    model = ks.ResNet18(alpha=0.0625, classes=4, input_shape=(1, 1, channels))
    assert model(np.zeros((2, 1, 1, channels), "float32")).shape == (2, 4)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ResNet18", {"stride_in_1x1": True}, "stride_in_1x1 must be one of False"),
        ("ResNet50", {"stride_in_1x1": 1.5}, "stride_in_1x1 must be one of"),
        ("ResNet50", {"blocks": (3, 4, 6)}, "blocks must be four numbers of residual blocks"),
        ("ResNet50", {"blocks": (3, 4, 0, 3)}, "blocks must be"),
        ("ResNet50", {"padding": "same"}, "padding must be one of"),
    ],
)
def test_bad_arguments(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(ks, name)(**options)
