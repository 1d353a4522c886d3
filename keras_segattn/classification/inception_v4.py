"""Inception-v4: the pure Inception network of Szegedy, Ioffe, Vanhoucke & Alemi (AAAI 2017, arXiv 1602.07261).

The network follows figures 3 to 9 of the paper and the released network (TF-slim), in which some pairs of 1×7 and 7×1
convolutions are swapped against the figures; this changes no count. Batch normalisation has no scale, as released;
the scales of a file that has them (timm's, in PyTorch) are folded into the convolutions when it is loaded.
"""

from typing import Any

import keras

from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_classifier
from keras_segattn.classification.heads import POOLINGS, pool_features
from keras_segattn.classification.inception import (
    Block,
    Plan,
    Style,
    check_inception,
    classifiers,
    network,
    slim_scope,
    weight_names,
)
from keras_segattn.fields import Picture
from keras_segattn.inputs import image_input, source_input
from keras_segattn.registry import Card, Paper, Tap, register

PAPER = Paper(
    "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
    "Szegedy, Ioffe, Vanhoucke & Alemi",
    "AAAI",
    2017,
    "1602.07261",
)
PREPROCESSING = Picture("RGB", mean=(127.5,) * 3, std=(127.5,) * 3, size=(299, 299), fit="crop")

# Figure 3. The second half of its 1×7 branch keeps its width.
STEM: Plan = {
    "conv2d_1a": "3x3/2V 32",
    "conv2d_2a": "3x3V 32",
    "conv2d_2b": "3x3 64",
    "mixed_3a": (("max 3x3/2V",), ("3x3/2V 96",)),
    "mixed_4a": (("1x1 64", "3x3V 96"), ("1x1 64", "1x7 64", "7x1 64", "3x3V 96")),
    "mixed_5a": (("3x3/2V 192",), ("max 3x3/2V",)),
}
# Figures 4 to 8.
INCEPTION_A: Block = (("1x1 96",), ("1x1 64", "3x3 96"), ("1x1 64", "3x3 96", "3x3 96"), ("avg 3x3", "1x1 96"))
REDUCTION_A: Block = (("3x3/2V 384",), ("1x1 192", "3x3 224", "3x3/2V 256"), ("max 3x3/2V",))
INCEPTION_B: Block = (
    ("1x1 384",),
    ("1x1 192", "1x7 224", "7x1 256"),
    ("1x1 192", "7x1 192", "1x7 224", "7x1 224", "1x7 256"),
    ("avg 3x3", "1x1 128"),
)
REDUCTION_B: Block = (("1x1 192", "3x3/2V 192"), ("1x1 256", "1x7 256", "7x1 320", "3x3/2V 320"), ("max 3x3/2V",))
INCEPTION_C: Block = (
    ("1x1 256",),
    ("1x1 384", ("1x3 256", "3x1 256")),
    ("1x1 384", "3x1 448", "1x3 512", ("1x3 256", "3x1 256")),
    ("avg 3x3", "1x1 256"),
)
BLOCKS = (4, 7, 3)
TAPS = {
    "mixed_4a": Tap(4, 192),
    "mixed_5e": Tap(8, 384),
    "mixed_6h": Tap(16, 1024),
    "mixed_7d": Tap(32, 1536),
}


def plan(blocks: tuple[int, int, int]) -> Plan:
    """Plan the whole network up to the pooling (figure 9), named as released: mixed_5b is the first Inception-A."""
    parts = dict(STEM)
    for stage, (count, inception, reduction) in enumerate(
        zip(blocks, (INCEPTION_A, INCEPTION_B, INCEPTION_C), (None, REDUCTION_A, REDUCTION_B), strict=True), start=5
    ):
        if reduction is not None:
            parts[f"mixed_{stage}a"] = reduction
        parts |= {f"mixed_{stage}{chr(ord('b') + i)}": inception for i in range(count)}
    return parts


def _weight_names() -> dict[str, tuple[str, ...]]:
    parts = plan(BLOCKS)
    slim = {
        part: f"InceptionV4/{slim_scope(part, spec) if isinstance(spec, str) else part.capitalize()}"
        for part, spec in parts.items()
    }
    names = weight_names(parts, {part: f"features.{i}" for i, part in enumerate(parts)}, slim)
    for ours, theirs in (("aux_0", "Conv2d_1b_1x1"), ("aux_1", "Conv2d_2a")):
        names[f"{ours}_conv"] = (f"InceptionV4/AuxLogits/{theirs}",)
        names[f"{ours}_bn"] = (f"InceptionV4/AuxLogits/{theirs}/BatchNorm",)
    names["aux_logits"] = ("InceptionV4/AuxLogits/Aux_logits",)
    names["predictions"] = ("last_linear", "InceptionV4/Logits/Logits")
    return names


def preprocess_input(images: Any) -> Any:
    """Convert RGB images `(..., 3)`, 0..255, to float32 in [-1, 1]."""
    return PREPROCESSING(images)


@register(
    Card(
        paper=PAPER,
        task="classify",
        inputs={"image": PREPROCESSING},
        published={"input_shape": (299, 299, 3)},
        parameters=42_711_400,
        taps=TAPS,
        aligned={"padding": "same"},
        tiny={"input_shape": (75, 75, 3), "classes": 5, "alpha": 0.0625, "blocks": (1, 1, 1)},
        claims={"int8", "dynamic_size", "mixed_precision"},
        weight_names=_weight_names(),
    )
)
def InceptionV4(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = None,
    name: str = "inception_v4",
    *,
    alpha: float = 1.0,
    padding: str = "valid",
    blocks: tuple[int, int, int] = BLOCKS,
    dropout: float = 0.2,
    batch_norm_momentum: float = 0.9997,
    aux_logits: bool = False,
) -> keras.Model:
    """Inception-v4 (Szegedy et al. 2017).

    Args:
        include_top: whether to add average pooling, dropout and the fully connected layer.
        weights: `None` (random) or the path of a weight file of TF-slim (`.ckpt`), timm or Cadene.
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
        blocks: numbers of Inception-A, -B and -C blocks.
        dropout: dropout rate before the fully connected layer (the paper keeps 80 % of the units).
        batch_norm_momentum: decay of the moving statistics; the default, as released, suits millions of steps.
        aux_logits: whether to add the side classifier of TF-slim on the last 17×17 map, for training.

    Returns:
        Model from preprocessed images `(batch, height, width, channels)` float32 in [-1, 1] to logits
        `(batch, classes)`, with `aux_logits` to a dict of `"logits"` and `"aux_logits"`, or without the top to the
        stride-32 map `(batch, h, w, 1536 alpha)`, non-negative.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weight file does not fit.

    Example:
        >>> model = InceptionV4(weights="inception_v4.ckpt", classifier_activation="softmax")
        >>> probabilities = model(preprocess_input(photos))
    """
    check_classifier(include_top, classes, classifier_activation)
    check_choice("pooling", pooling, POOLINGS)
    check_choice("padding", padding, ("valid", "same"))
    check_inception(blocks, dropout, aux_logits, include_top)
    image = image_input(
        input_tensor, input_shape, "InceptionV4", PREPROCESSING, minimum=75 if padding == "valid" else 1
    )

    style = Style(alpha, padding, batch_norm_momentum)
    parts = plan(blocks)
    maps = network(image, parts, style)
    if include_top:
        names = list(parts)
        aux_map = maps[names[names.index("mixed_7a") - 1]] if aux_logits else None
        outputs = classifiers(maps, aux_map, classes, classifier_activation, dropout, style)
    else:
        outputs = pool_features(maps[list(parts)[-1]], pooling)
    model = keras.Model(source_input(image), outputs, name=name)
    weight_files.initialize(model, weights, {}, backbone=not include_top)
    return model
