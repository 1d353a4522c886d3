"""Inception-ResNet-v1 (Szegedy, Ioffe, Vanhoucke & Alemi, AAAI 2017, arXiv 1602.07261), figures 10 to 15.

Options make it the network of facenet (Sandberg): a sixth C block, and an embedding before the classifier.
"""

from typing import Any

import keras

from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_classifier, check_positive_integer
from keras_segattn.classification.heads import POOLINGS, pool_features
from keras_segattn.classification.inception import (
    Plan,
    Residual,
    Style,
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
from keras_segattn.inputs import image_input, source_input
from keras_segattn.registry import Card, Tap, register

__all__ = ["InceptionResNetV1", "preprocess_input"]

# Version 1, by figures 10 to 13 and table 1.
BLOCKS = (5, 10, 5)
A = (("1x1 32",), ("1x1 32", "3x3 32"), ("1x1 32", "3x3 32", "3x3 32"))
REDUCTION_A = (("3x3/2V 384",), ("1x1 192", "3x3 192", "3x3/2V 256"), ("max 3x3/2V",))
B = (("1x1 128",), ("1x1 128", "1x7 128", "7x1 128"))
REDUCTION_B = (
    ("1x1 256", "3x3/2V 384"),
    ("1x1 256", "3x3/2V 256"),
    ("1x1 256", "3x3 256", "3x3/2V 256"),
    ("max 3x3/2V",),
)
C = (("1x1 192",), ("1x1 192", "1x3 192", "3x1 192"))
TAPS = {
    "conv2d_4a_relu": Tap(4, 192),
    "block35_5": Tap(8, 256),
    "block17_10": Tap(16, 896),
    "block8_5": Tap(32, 1792),
}


def plan(blocks: tuple[int, int, int], scales: tuple[float, float, float], sixth_block: bool) -> Plan:
    """Plan version 1 up to the pooling; facenet's extra block is neither scaled nor followed by a ReLU."""
    stages = residual_stages(blocks, scales, (A, B, C), (REDUCTION_A, REDUCTION_B))
    extra: Plan = {f"block8_{blocks[2] + 1}": Residual(C, 1.0, None)} if sixth_block else {}
    return STEM | {"conv2d_4b": "3x3/2V 256"} | stages | extra


def _weight_names() -> dict[str, tuple[str, ...]]:
    names = residual_weight_names(
        plan(BLOCKS, SCALES, sixth_block=True), "InceptionResnetV1", ("repeat_1", "repeat_2", "repeat_3")
    )
    return names | {
        "bottleneck": ("last_linear", "InceptionResnetV1/Bottleneck"),
        "bottleneck_bn": ("last_bn", "InceptionResnetV1/Bottleneck/BatchNorm"),
        "predictions": ("logits", "Logits"),
    }


@register(
    Card(
        paper=PAPER,
        task="classify",
        inputs={"image": PREPROCESSING},
        published={"input_shape": (299, 299, 3)},
        parameters=22_769_848,
        taps=TAPS,
        aligned={"padding": "same"},
        tiny={"input_shape": (75, 75, 3), "classes": 5, "alpha": 0.0625, "blocks": (1, 1, 1)},
        claims={"int8", "dynamic_size", "mixed_precision"},
        weight_names=_weight_names(),
    )
)
def InceptionResNetV1(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = None,
    name: str = "inception_resnet_v1",
    *,
    alpha: float = 1.0,
    padding: str = "valid",
    blocks: tuple[int, int, int] = BLOCKS,
    residual_scale: float | tuple[float, float, float] | None = None,
    dropout: float = 0.2,
    batch_norm_momentum: float = 0.9997,
    aux_logits: bool = False,
    sixth_block: bool = False,
    bottleneck: int | None = None,
) -> keras.Model:
    """Inception-ResNet-v1 (Szegedy et al. 2017), also in facenet's form.

    Args:
        include_top: whether to add average pooling, dropout and the fully connected layer.
        weights: `None` (random) or the path of a weight file, such as facenet's `.pt` or checkpoint.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, default `(None, None, 3)`: any size from 75 pixels up, or from 1
            with `padding="same"`.
        pooling: global pooling without the top, `"avg"` or `"max"`, or `None` for the 1792-channel map.
        classes: number of classes.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.
        name: name of the model.
        alpha: width multiplier of all hidden layers.
        padding: padding where the figures mark V: `"valid"` as published, or `"same"` (a tap of stride `s` then has
            `ceil(height / s)` rows).
        blocks: numbers of A, B and C blocks.
        residual_scale: factor of the residuals before the sum, at most 1: one number, or three for A, B and C; `None`
            for the released 0.17, 0.10 and 0.20 (the paper says 0.1 to 0.3).
        dropout: dropout rate before the fully connected layer (the paper keeps 80 % of the units).
        batch_norm_momentum: decay of the moving statistics; the default, as released, suits millions of steps.
        aux_logits: whether to add the side classifier of TF-slim on the last 17×17 map, for training.
        sixth_block: whether to add facenet's last C block, which is neither scaled nor followed by a ReLU.
        bottleneck: width of facenet's embedding, a linear layer with batch normalisation before the classifier. The
            embedding is the output of the layer `bottleneck_bn`; facenet has 512. `None` leaves it out.

    Returns:
        Model from preprocessed images `(batch, height, width, channels)` float32 in [-1, 1] to logits
        `(batch, classes)`, with `aux_logits` to a dict of `"logits"` and `"aux_logits"`, or without the top to the
        stride-32 map `(batch, h, w, 1792 alpha)`.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weight file does not fit.

    Example:
        >>> model = InceptionResNetV1(weights="vggface2.pt", classes=8631, sixth_block=True, bottleneck=512)
    """
    check_classifier(include_top, classes, classifier_activation)
    check_choice("pooling", pooling, POOLINGS)
    check_choice("padding", padding, ("valid", "same"))
    check_inception(blocks, dropout, aux_logits, include_top)
    check_choice("sixth_block", sixth_block, (True, False))
    if bottleneck is not None:
        check_positive_integer("bottleneck", bottleneck)
        if not include_top:
            raise ValueError("a bottleneck precedes the classifier, which needs include_top=True")
    image = image_input(
        input_tensor, input_shape, "InceptionResNetV1", PREPROCESSING, minimum=75 if padding == "valid" else 1
    )

    style = Style(alpha, padding, batch_norm_momentum)
    maps = network(image, plan(blocks, check_scales(residual_scale), sixth_block), style)
    if include_top:
        aux_map = maps[f"block17_{blocks[1]}"] if aux_logits else None
        outputs = classifiers(maps, aux_map, classes, classifier_activation, dropout, style, bottleneck)
    else:
        outputs = pool_features(list(maps.values())[-1], pooling)
    model = keras.Model(source_input(image), outputs, name=name)
    weight_files.initialize(model, weights, {}, backbone=not include_top)
    return model
