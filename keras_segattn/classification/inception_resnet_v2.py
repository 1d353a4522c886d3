"""Inception-ResNet-v2 (Szegedy, Ioffe, Vanhoucke & Alemi, AAAI 2017, arXiv 1602.07261).

Two networks have this name. The default is the released one (TF-slim, keras.applications, timm), which has a stem of
its own, 10, 20 and 10 blocks and a last 1×1 convolution. `variant="paper"` is the network of figures 16 to 19, with
Inception-v4's stem and 5, 10 and 5 blocks; it has 1152 and 2144 channels where the figures misprint 1154 and 2048.
"""

from typing import Any

import keras

from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_classifier
from keras_segattn.classification.heads import POOLINGS, pool_features
from keras_segattn.classification.inception import (
    Plan,
    Residual,
    Style,
    batch_norm_order,
    check_inception,
    classifiers,
    network,
)
from keras_segattn.classification.inception_resnet import (
    SCALES,
    STEM,
    check_scales,
    residual_stages,
    residual_weight_names,
)
from keras_segattn.classification.inception_v4 import PAPER, PREPROCESSING, preprocess_input
from keras_segattn.classification.inception_v4 import STEM as INCEPTION_V4_STEM
from keras_segattn.inputs import image_input, source_input
from keras_segattn.registry import Card, Tap, register

__all__ = ["InceptionResNetV2", "preprocess_input"]

# Version 2, by figures 16 to 19; the release adds Mixed_5b.
BLOCKS = {"released": (10, 20, 10), "paper": (5, 10, 5)}
MIXED_5B = (("1x1 96",), ("1x1 48", "5x5 64"), ("1x1 64", "3x3 96", "3x3 96"), ("avg 3x3", "1x1 64"))
A = (("1x1 32",), ("1x1 32", "3x3 32"), ("1x1 32", "3x3 48", "3x3 64"))
REDUCTION_A = (("3x3/2V 384",), ("1x1 256", "3x3 256", "3x3/2V 384"), ("max 3x3/2V",))
B = (("1x1 192",), ("1x1 128", "1x7 160", "7x1 192"))
REDUCTION_B = (
    ("1x1 256", "3x3/2V 384"),
    ("1x1 256", "3x3/2V 288"),
    ("1x1 256", "3x3 288", "3x3/2V 320"),
    ("max 3x3/2V",),
)
C = (("1x1 192",), ("1x1 192", "1x3 224", "3x1 256"))

TAPS = {
    "conv2d_4a_relu": Tap(4, 192),
    "block35_10": Tap(8, 320),
    "block17_20": Tap(16, 1088),
    "conv2d_7b_relu": Tap(32, 1536),
}


def plan(blocks: tuple[int, int, int], scales: tuple[float, float, float], variant: str) -> Plan:
    """Plan version 2 up to the pooling; the last block of the release is neither scaled nor followed by a ReLU."""
    stages = residual_stages(blocks, scales, (A, B, C), (REDUCTION_A, REDUCTION_B))
    if variant == "paper":
        # The last block of the stem is named like the block that the release has in its place.
        return {"mixed_5b" if part == "mixed_5a" else part: spec for part, spec in INCEPTION_V4_STEM.items()} | stages
    last: Plan = {f"block8_{blocks[2]}": Residual(C, 1.0, None), "conv2d_7b": "1x1 1536"}
    return STEM | {"maxpool_5a": "max 3x3/2V", "mixed_5b": MIXED_5B} | stages | last


def _weight_names() -> dict[str, tuple[str, ...]]:
    """Add the names of keras.applications to `residual_weight_names`; there, all layers but `conv_7b` are numbered."""
    parts = plan(BLOCKS["released"], SCALES, "released")
    names = residual_weight_names(parts, "InceptionResnetV2", ("repeat", "repeat_1", "repeat_2"))
    numbered = [stem for stem in batch_norm_order(names) if not stem.startswith(("conv2d_7b", "aux"))]
    for number, stem in enumerate(numbered):
        names[f"{stem}_conv"] += (f"conv2d#{number}",)
        names[f"{stem}_bn"] += (f"batch_normalization#{number}",)
    names["conv2d_7b_conv"] += ("conv_7b",)
    names["conv2d_7b_bn"] += ("conv_7b_bn",)
    return names


@register(
    Card(
        paper=PAPER,
        task="classify",
        inputs={"image": PREPROCESSING},
        published={"input_shape": (299, 299, 3)},
        parameters=55_873_736,
        taps=TAPS,
        aligned={"padding": "same"},
        tiny={"input_shape": (75, 75, 3), "classes": 5, "alpha": 0.0625, "blocks": (1, 1, 2)},
        claims={"int8", "dynamic_size", "mixed_precision"},
        weight_names=_weight_names(),
    )
)
def InceptionResNetV2(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = None,
    name: str = "inception_resnet_v2",
    *,
    alpha: float = 1.0,
    padding: str = "valid",
    blocks: tuple[int, int, int] | None = None,
    residual_scale: float | tuple[float, float, float] | None = None,
    dropout: float = 0.2,
    batch_norm_momentum: float = 0.9997,
    aux_logits: bool = False,
    variant: str = "released",
) -> keras.Model:
    """Inception-ResNet-v2 (Szegedy et al. 2017), as released or as in the paper's figures.

    Args:
        include_top: whether to add average pooling, dropout and the fully connected layer.
        weights: `None` (random) or the path of a weight file of TF-slim (`.ckpt`), keras.applications, timm or
            Cadene.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, default `(None, None, 3)`: any size from 75 pixels up, or from 1
            with `padding="same"`.
        pooling: global pooling without the top, `"avg"` or `"max"`, or `None` for the 1536-channel map.
        classes: number of classes.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.
        name: name of the model.
        alpha: width multiplier of all hidden layers.
        padding: padding where the figures mark V: `"valid"` as published, or `"same"` (a tap of stride `s` then has
            `ceil(height / s)` rows).
        blocks: numbers of A, B and C blocks; `None` for 10, 20 and 10 (`"released"`) or 5, 10 and 5 (`"paper"`).
        residual_scale: factor of the residuals before the sum, at most 1: one number, or three for A, B and C; `None`
            for the released 0.17, 0.10 and 0.20 (the paper says 0.1 to 0.3).
        dropout: dropout rate before the fully connected layer (the paper keeps 80 % of the units).
        batch_norm_momentum: decay of the moving statistics; the default, as released, suits millions of steps.
        aux_logits: whether to add the side classifier of TF-slim on the last 17×17 map, for training.
        variant: `"released"`, for which there are weights, or `"paper"`, the network of the figures.

    Returns:
        Model from preprocessed images `(batch, height, width, channels)` float32 in [-1, 1] to logits
        `(batch, classes)`, with `aux_logits` to a dict of `"logits"` and `"aux_logits"`, or without the top to the
        stride-32 map `(batch, h, w, 1536 alpha)`.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weight file does not fit.

    Example:
        >>> model = InceptionResNetV2(weights="inception_resnet_v2_weights_tf_dim_ordering_tf_kernels.h5")
        >>> logits = model(preprocess_input(photos))
    """
    check_classifier(include_top, classes, classifier_activation)
    check_choice("pooling", pooling, POOLINGS)
    check_choice("padding", padding, ("valid", "same"))
    check_choice("variant", variant, tuple(BLOCKS))
    blocks = BLOCKS[variant] if blocks is None else blocks
    check_inception(blocks, dropout, aux_logits, include_top)
    image = image_input(
        input_tensor, input_shape, "InceptionResNetV2", PREPROCESSING, minimum=75 if padding == "valid" else 1
    )

    style = Style(alpha, padding, batch_norm_momentum)
    maps = network(image, plan(blocks, check_scales(residual_scale), variant), style)
    if include_top:
        aux_map = maps[f"block17_{blocks[1]}"] if aux_logits else None
        outputs = classifiers(maps, aux_map, classes, classifier_activation, dropout, style)
    else:
        outputs = pool_features(list(maps.values())[-1], pooling)
    model = keras.Model(source_input(image), outputs, name=name)
    weight_files.initialize(model, weights, {}, backbone=not include_top)
    return model
