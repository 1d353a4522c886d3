"""GoogLeNet, Inception-v1: going deeper with convolutions (Szegedy et al., CVPR 2015, arXiv 1409.4842), table 1.

Three variants are in use. The paper's, released for Caffe, has local response normalisation in the stem; a second one
is the same without it. torchvision's variant has batch normalisation instead, uses 3×3 filters where the paper has 5×5
(a known mistake that its weights depend on) and pools 2×2 before the fifth stage.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_classifier, check_dropout, scaled
from keras_segattn.classification.blocks import conv_bn
from keras_segattn.classification.heads import POOLINGS, max_pool_3x3, pool_features
from keras_segattn.fields import Picture
from keras_segattn.inputs import image_input, source_input
from keras_segattn.layers import LocalResponseNormalization
from keras_segattn.registry import Card, Paper, Tap, register

# Module → filters of 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5 and pool projection (table 1).
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
VARIANTS = ("paper", "no_lrn", "torchvision")
AUX_MAPS = {"aux1": "4a", "aux2": "4d"}
TAPS = {
    "conv2_relu": Tap(4, 192),
    "inception_3b": Tap(8, 480),
    "inception_4e": Tap(16, 832),
    "inception_5b": Tap(32, 1024),
}
PREPROCESSING = Picture("BGR", mean=(104.0, 117.0, 123.0), size=(224, 224), fit="crop")
TORCHVISION_PREPROCESSING = Picture("RGB", mean=(127.5,) * 3, std=(127.5,) * 3, size=(224, 224), fit="crop")


def _weight_names() -> dict[str, tuple[str, ...]]:
    """Return layer → its names in the Caffe release and in torchvision's files."""
    places = {"conv1": ("conv1/7x7_s2", "conv1"), "conv2_reduce": ("conv2/3x3_reduce", "conv2")}
    places["conv2"] = ("conv2/3x3", "conv3")
    in_torch = {"1x1": "branch1", "3x3_reduce": "branch2.0", "3x3": "branch2.1", "5x5_reduce": "branch3.0"}
    in_torch |= {"5x5": "branch3.1", "pool_proj": "branch4.1"}
    for module in INCEPTIONS:
        for conv, branch in in_torch.items():
            places[f"inception_{module}_{conv}"] = (f"inception_{module}/{conv}", f"inception{module}.{branch}")
    names: dict[str, tuple[str, ...]] = {"predictions": ("loss3/classifier", "fc")}
    for number, aux in enumerate(AUX_MAPS, start=1):
        places[aux] = (f"loss{number}/conv", f"{aux}.conv")
        names[f"{aux}_fc"] = (f"loss{number}/fc", f"{aux}.fc1")
        names[f"{aux}_logits"] = (f"loss{number}/classifier", f"{aux}.fc2")
    for stem, (caffe, torch) in places.items():
        names[f"{stem}_conv"] = (caffe, f"{torch}.conv")
        names[f"{stem}_bn"] = (f"{torch}.bn",)
    return names


def _needs(model: keras.Model, names: Sequence[str]) -> str | None:
    """Recognise by the layers of a Caffe network whether it normalises responses."""
    if "pool1/3x3_s2" not in names:
        return None
    normalised = "pool1/norm1" in names
    if normalised is any(layer.name == "norm1" for layer in model.layers):
        return None
    return f"variant={'paper' if normalised else 'no_lrn'!r}"


def preprocess_input(images: Any) -> Any:
    """Convert RGB images `(..., 3)`, 0..255, to float32 BGR minus the ImageNet mean, as the Caffe release expects.

    torchvision's pretrained GoogLeNet expects `TORCHVISION_PREPROCESSING`.
    """
    return PREPROCESSING(images)


def convolution(x: Any, filters: int, kernel: int, stride: int, variant: str, alpha: float, name: str) -> Any:
    """Apply convolution and ReLU, with a bias or with batch normalisation; strided windows are centred on pixels."""
    if variant == "torchvision":
        return conv_bn(x, filters, kernel, stride, "symmetric", name=name, alpha=alpha, epsilon=1e-3)
    if stride > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    padding = "valid" if stride > 1 else "same"
    x = layers.Conv2D(scaled(filters, alpha), kernel, stride, padding, name=f"{name}_conv")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def inception(x: Any, filters: tuple[int, ...], variant: str, alpha: float, name: str) -> Any:
    """Apply an Inception module with dimension reductions (figure 2b)."""

    def conv(x: Any, index: int, kernel: int, branch: str) -> Any:
        return convolution(x, filters[index], kernel, 1, variant, alpha, f"{name}_{branch}")

    pooled = layers.MaxPooling2D(3, 1, "same", name=f"{name}_pool")(x)
    branches = [
        conv(x, 0, 1, "1x1"),
        conv(conv(x, 1, 1, "3x3_reduce"), 2, 3, "3x3"),
        conv(conv(x, 3, 1, "5x5_reduce"), 4, 3 if variant == "torchvision" else 5, "5x5"),
        conv(pooled, 5, 1, "pool_proj"),
    ]
    return layers.Concatenate(name=name)(branches)


def auxiliary_classifier(x: Any, classes: int, variant: str, alpha: float, name: str) -> Any:
    """Apply the side classifier of section 5, which is dropped after training."""
    if None in x.shape[1:]:
        raise ValueError(f"aux_logits needs a fixed image size, its map is {tuple(x.shape[1:])}")
    if variant == "torchvision":
        x = layers.AdaptiveAveragePooling2D(4, name=f"{name}_pool")(x)
    else:
        x = layers.AveragePooling2D(tuple(min(5, size) for size in x.shape[1:3]), 3, name=f"{name}_pool")(x)
    x = convolution(x, 128, 1, 1, variant, alpha, name)
    x = layers.Flatten(name=f"{name}_flatten")(x)
    x = layers.Dense(scaled(1024, alpha), activation="relu", name=f"{name}_fc")(x)
    x = layers.Dropout(0.7, name=f"{name}_dropout")(x)
    return layers.Dense(classes, name=f"{name}_logits")(x)


@register(
    Card(
        paper=Paper("Going Deeper with Convolutions", "Szegedy et al.", "CVPR", 2015, "1409.4842"),
        task="classify",
        inputs={"image": PREPROCESSING},
        published={"input_shape": (224, 224, 3)},
        parameters=6_998_552,
        taps=TAPS,
        aligned={"padding": "same"},
        tiny={"input_shape": (64, 64, 3), "classes": 5, "alpha": 0.125},
        claims={"int8", "dynamic_size", "mixed_precision"},
        weight_names=_weight_names(),
        needs=_needs,
    )
)
def GoogLeNet(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = None,
    name: str = "googlenet",
    *,
    alpha: float = 1.0,
    padding: str = "valid",
    variant: str = "paper",
    dropout: float = 0.4,
    aux_logits: bool = False,
) -> keras.Model:
    """GoogLeNet (Szegedy et al. 2015), Inception-v1.

    Args:
        include_top: whether to add average pooling, dropout and the fully connected layer.
        weights: `None` (random) or the path of a weight file, such as `bvlc_googlenet.caffemodel` or torchvision's.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, default `(None, None, 3)`: any size from 31 pixels up (15 in
            torchvision's variant), or from 1 with `padding="same"`.
        pooling: global pooling without the top, `"avg"` or `"max"`, or `None` for the 1024-channel map, 7×7 for
            images of 224×224.
        classes: number of classes.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.
        name: name of the model.
        alpha: width multiplier of all hidden layers.
        padding: padding of the poolings: `"valid"`, rounded up as Caffe does, or `"same"` (a tap of stride `s` then has
            `ceil(height / s)` rows).
        variant: `"paper"`, `"no_lrn"` (without local response normalisation) or `"torchvision"`; the module's
            documentation compares them.
        dropout: dropout rate before the fully connected layer: 0.4 in the paper, 0.2 in torchvision.
        aux_logits: whether to add the two side classifiers, for training.

    Returns:
        Model from preprocessed images `(batch, height, width, channels)` float32 to logits `(batch, classes)`, with
        `aux_logits` to a dict of `"logits"`, `"aux1_logits"` and `"aux2_logits"`, or without the top to the
        stride-32 map `(batch, h, w, 1024 alpha)`, non-negative.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weight file does not fit.

    Example:
        >>> frames = GoogLeNet(include_top=False, pooling="avg")(preprocess_input(images))
    """
    check_classifier(include_top, classes, classifier_activation)
    check_choice("pooling", pooling, POOLINGS)
    check_choice("padding", padding, ("valid", "same"))
    check_choice("variant", variant, VARIANTS)
    check_dropout(dropout)
    check_choice("aux_logits", aux_logits, (True, False))
    if aux_logits and not include_top:
        raise ValueError("aux_logits are further classifiers, which need include_top=True")
    smallest = 15 if variant == "torchvision" else 31
    image = image_input(
        input_tensor,
        input_shape,
        "GoogLeNet",
        TORCHVISION_PREPROCESSING if variant == "torchvision" else PREPROCESSING,
        minimum=smallest if padding == "valid" else 1,
    )

    x = convolution(image, 64, 7, 2, variant, alpha, "conv1")
    x = max_pool_3x3(x, padding, name="pool1")
    if variant == "paper":
        x = LocalResponseNormalization(name="norm1")(x)
    x = convolution(x, 64, 1, 1, variant, alpha, "conv2_reduce")
    x = convolution(x, 192, 3, 1, variant, alpha, "conv2")
    if variant == "paper":
        x = LocalResponseNormalization(name="norm2")(x)
    x = max_pool_3x3(x, padding, name="pool2")
    maps = {}
    for module, filters in INCEPTIONS.items():
        if module == "4a":
            x = max_pool_3x3(x, padding, name="pool3")
        if module == "5a" and variant == "torchvision":
            x = layers.MaxPooling2D(2, 2, "same", name="pool4")(x)
        elif module == "5a":
            x = max_pool_3x3(x, padding, name="pool4")
        x = maps[module] = inception(x, filters, variant, alpha, name=f"inception_{module}")

    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dropout(dropout, name="dropout")(x)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
        if aux_logits:
            x = {"logits": x} | {
                f"{aux}_logits": auxiliary_classifier(maps[module], classes, variant, alpha, aux)
                for aux, module in AUX_MAPS.items()
            }
    else:
        x = pool_features(x, pooling)
    model = keras.Model(source_input(image), x, name=name)
    weight_files.initialize(model, weights, {}, backbone=not include_top)
    return model
