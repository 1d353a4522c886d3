"""AlexNet: ImageNet classification with deep convolutional neural networks (Krizhevsky et al., NIPS 2012).

`AlexNet` is the published network, which normalises responses before it pools, or torchvision's one-column network.
`CaffeNet`, from the Caffe release (Jia et al., ACM MM 2014), differs from the published network in one thing: it pools
before it normalises. In both, convolutions 2, 4 and 5 have two groups, each of which sees half of the channels, as in
the two-GPU network.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_classifier, check_fixed_size, scaled
from keras_segattn.classification.heads import POOLINGS, max_pool_3x3, pool_features
from keras_segattn.fields import IMAGENET, Picture
from keras_segattn.inputs import image_input, source_input
from keras_segattn.layers import GroupedConv2D, LocalResponseNormalization
from keras_segattn.registry import Card, Paper, Tap, register

# name → (channels, kernel, stride, groups); all but the first are zero-padded to keep the size.
CONVOLUTIONS = {
    "conv1": (96, 11, 4, 1),
    "conv2": (256, 5, 1, 2),
    "conv3": (384, 3, 1, 1),
    "conv4": (384, 3, 1, 2),
    "conv5": (256, 3, 1, 2),
}
# The single column of "One weird trick for parallelizing convolutional neural networks" (Krizhevsky, arXiv 1404.5997).
ONE_COLUMN = {
    "conv1": (64, 11, 4, 1),
    "conv2": (192, 5, 1, 1),
    "conv3": (384, 3, 1, 1),
    "conv4": (256, 3, 1, 1),
    "conv5": (256, 3, 1, 1),
}
VARIANTS = {"paper": CONVOLUTIONS, "torchvision": ONE_COLUMN}
PAPER = Paper(
    "ImageNet Classification with Deep Convolutional Neural Networks",
    "Krizhevsky, Sutskever & Hinton",
    "NIPS",
    2012,
)
PREPROCESSING = Picture("BGR", mean=(104.00699, 116.66877, 122.67892), size=(227, 227), fit="crop")
_TORCHVISION = {"conv1": 0, "conv2": 3, "conv3": 6, "conv4": 8, "conv5": 10}
WEIGHT_NAMES = {layer: (f"features.{index}",) for layer, index in _TORCHVISION.items()} | {
    "fc6": ("classifier.1",),
    "fc7": ("classifier.4",),
    "fc8": ("classifier.6",),
}


def _needs(model: keras.Model, names: Sequence[str]) -> str | None:
    """Recognise by the order of the layers of a Caffe network whether it pools before it normalises."""
    if "norm1" not in names or "pool1" not in names:
        return None
    order = [layer.name for layer in model.layers]
    pools_first = names.index("pool1") < names.index("norm1")
    if "norm1" in order and pools_first is (order.index("pool1") < order.index("norm1")):
        return None
    return "the builder CaffeNet" if pools_first else "the builder AlexNet"


def preprocess_input(images: Any) -> Any:
    """Convert RGB images `(..., 3)`, 0..255, to float32 BGR minus the ImageNet mean, as the released weights expect.

    torchvision's AlexNet expects `Picture("RGB", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))`.
    """
    return PREPROCESSING(images)


def convolution(x: Any, spec: tuple[int, int, int, int], border: str, alpha: float, name: str) -> Any:
    """Apply a grouped convolution with an even number of channels, which the next layer can split into two groups."""
    channels, kernel, stride, groups = spec
    channels = 2 * scaled(channels // 2, alpha)
    return GroupedConv2D(channels, kernel, stride, padding=border, groups=groups, name=name)(x)


def classifier(x: Any, classes: int, classifier_activation: str | None, alpha: float) -> Any:
    """Apply the three fully connected layers, with dropout after the first two."""
    x = layers.Flatten(name="flatten")(x)
    for layer in ("fc6", "fc7"):
        x = layers.Dense(scaled(4096, alpha), activation="relu", name=layer)(x)
        x = layers.Dropout(0.5, name=layer.replace("fc", "drop"))(x)
    return layers.Dense(classes, activation=classifier_activation, name="fc8")(x)


@register(
    Card(
        paper=PAPER,
        task="classify",
        inputs={"image": PREPROCESSING},
        published={"input_shape": (227, 227, 3)},
        parameters=60_965_224,
        taps={"pool1": Tap(8, 96), "pool2": Tap(16, 256), "pool5": Tap(32, 256)},
        aligned={"padding": "same"},
        tiny={"input_shape": (67, 67, 3), "classes": 5, "alpha": 0.0625},
        claims={"int8", "mixed_precision"},
        weight_names=WEIGHT_NAMES,
        needs=_needs,
    )
)
def AlexNet(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = None,
    name: str = "alexnet",
    *,
    alpha: float = 1.0,
    padding: str = "valid",
    variant: str = "paper",
) -> keras.Model:
    """AlexNet (Krizhevsky et al. 2012).

    Args:
        include_top: whether to add the three fully connected layers.
        weights: `None` (random) or the path of a weight file, such as `bvlc_alexnet.caffemodel` or torchvision's.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, with the top by default `(227, 227, 3)` (torchvision's variant:
            `(224, 224, 3)`), else `(None, None, 3)`.
        pooling: global pooling without the top, `"avg"` or `"max"`, or `None` for the 256-channel map.
        classes: number of classes.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.
        name: name of the model.
        alpha: width multiplier of all hidden layers; channels of grouped layers stay even.
        padding: `"valid"` as published or `"same"` (a tap of stride `s` then has `ceil(height / s)` rows).
        variant: `"paper"` (grouped convolutions, response normalisation before the first two poolings; poolings
            rounded up, as Caffe does) or `"torchvision"` (one narrower column, no normalisation, the image padded by
            2, poolings rounded down).

    Returns:
        Model from preprocessed images `(batch, height, width, channels)` float32 to logits `(batch, classes)`, or
        without the top to the stride-32 map `(batch, h, w, 256 alpha)`, non-negative.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weight file does not fit.

    Example:
        >>> model = AlexNet(variant="torchvision", weights="alexnet.pth")
    """
    check_classifier(include_top, classes, classifier_activation)
    check_choice("pooling", pooling, POOLINGS)
    check_choice("padding", padding, ("valid", "same"))
    check_choice("variant", variant, tuple(VARIANTS))
    published = variant == "paper"
    size = 227 if published else 224
    smallest = 39 if published else 63
    image = image_input(
        input_tensor,
        input_shape,
        "AlexNet",
        PREPROCESSING if published else IMAGENET,
        default=(size, size, 3) if include_top else (None, None, 3),
        minimum=smallest if padding == "valid" else 1,
    )
    check_fixed_size(image, include_top)

    x = image
    if not published and padding == "valid":
        x = layers.ZeroPadding2D(2, name="conv1_pad")(x)
    for layer, spec in VARIANTS[variant].items():
        number = layer.removeprefix("conv")
        x = convolution(x, spec, padding if layer == "conv1" else "same", alpha, layer)
        x = layers.ReLU(name=f"relu{number}")(x)
        if published and layer in ("conv1", "conv2"):
            x = LocalResponseNormalization(name=f"norm{number}")(x)
        if layer in ("conv1", "conv2", "conv5") and published:
            x = max_pool_3x3(x, padding, name=f"pool{number}")
        elif layer in ("conv1", "conv2", "conv5"):
            x = layers.MaxPooling2D(3, 2, padding, name=f"pool{number}")(x)
    x = classifier(x, classes, classifier_activation, alpha) if include_top else pool_features(x, pooling)
    model = keras.Model(source_input(image), x, name=name)
    weight_files.initialize(model, weights, {}, backbone=not include_top)
    return model


@register(
    Card(
        paper=PAPER,
        task="classify",
        inputs={"image": PREPROCESSING},
        published={"input_shape": (227, 227, 3)},
        parameters=60_965_224,
        taps={"norm1": Tap(8, 96), "norm2": Tap(16, 256), "pool5": Tap(32, 256)},
        aligned={"padding": "same"},
        tiny={"input_shape": (67, 67, 3), "classes": 5, "alpha": 0.0625},
        claims={"int8", "mixed_precision"},
        needs=_needs,
    )
)
def CaffeNet(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = None,
    name: str = "caffenet",
    *,
    alpha: float = 1.0,
    padding: str = "valid",
) -> keras.Model:
    """CaffeNet (Krizhevsky et al. 2012 in the Caffe release).

    Args:
        include_top: whether to add the three fully connected layers.
        weights: `None` (random) or the path of a weight file that fits the whole model.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, default `(227, 227, 3)` with the top, else `(None, None, 3)`.
        pooling: global pooling without the top, `"avg"` or `"max"`, or `None` for the 256-channel map.
        classes: number of classes.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.
        name: name of the model.
        alpha: width multiplier of all hidden layers; channels of grouped layers stay even.
        padding: `"valid"` as released (first convolution unpadded, poolings rounded up as Caffe does) or
            `"same"` (a tap of stride `s` then has `ceil(height / s)` rows).

    Returns:
        Model from preprocessed images `(batch, height, width, channels)` float32 to logits `(batch, classes)`,
        or without the top to the stride-32 map `(batch, h, w, 256 alpha)`, non-negative.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weight file does not fit.

    Example:
        >>> features = CaffeNet(include_top=False)(preprocess_input(images))
    """
    check_classifier(include_top, classes, classifier_activation)
    check_choice("pooling", pooling, POOLINGS)
    check_choice("padding", padding, ("valid", "same"))
    image = image_input(
        input_tensor,
        input_shape,
        "CaffeNet",
        PREPROCESSING,
        default=(227, 227, 3) if include_top else (None, None, 3),
        minimum=39 if padding == "valid" else 1,
    )
    check_fixed_size(image, include_top)

    x = image
    for layer, spec in CONVOLUTIONS.items():
        x = convolution(x, spec, padding if layer == "conv1" else "same", alpha, layer)
        x = layers.ReLU(name=f"{layer}_relu")(x)
        if layer in ("conv1", "conv2", "conv5"):
            x = max_pool_3x3(x, padding, name=layer.replace("conv", "pool"))
        if layer in ("conv1", "conv2"):
            x = LocalResponseNormalization(name=layer.replace("conv", "norm"))(x)
    x = classifier(x, classes, classifier_activation, alpha) if include_top else pool_features(x, pooling)
    model = keras.Model(source_input(image), x, name=name)
    weight_files.initialize(model, weights, {}, backbone=not include_top)
    return model
