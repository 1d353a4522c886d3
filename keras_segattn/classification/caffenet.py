"""CaffeNet: the single-GPU AlexNet of the Caffe release (Krizhevsky et al., NIPS 2012; Jia et al., ACM MM 2014).

Differs from AlexNet as published in one thing: pooling comes before local response normalisation. Convolutions 2,
4 and 5 see half of the channels each (two groups), as in the paper's two-GPU network.
"""

from typing import Any

import keras
from keras import layers

from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_classifier, image_input, scaled, source_input
from keras_segattn.classification.heads import POOLINGS, max_pool_3x3, pool_features
from keras_segattn.layers import GroupedConv2D, LocalResponseNormalization
from keras_segattn.preprocessing import Preprocessing
from keras_segattn.registry import Paper, Tap, register

# name → (channels, kernel, stride, groups); all but the first are zero-padded to keep the size.
CONVOLUTIONS = {
    "conv1": (96, 11, 4, 1),
    "conv2": (256, 5, 1, 2),
    "conv3": (384, 3, 1, 1),
    "conv4": (384, 3, 1, 2),
    "conv5": (256, 3, 1, 2),
}
TAPS = {"norm1": Tap(8, 96), "norm2": Tap(16, 256), "pool5": Tap(32, 256)}
PREPROCESSING = Preprocessing("BGR", mean=(104.00699, 116.66877, 122.67892), size=(227, 227))


def preprocess_input(images: Any) -> Any:
    """RGB images `(..., 3)`, 0..255 → float32 BGR minus the ImageNet mean, as the released weights expect."""
    return PREPROCESSING(images)


@register(
    family="classification",
    paper=Paper(
        "ImageNet Classification with Deep Convolutional Neural Networks",
        "Krizhevsky, Sutskever & Hinton",
        "NIPS",
        2012,
    ),
    input_shape=(227, 227, 3),
    parameters=60_965_224,
    taps=TAPS,
    tiny={"input_shape": (67, 67, 3), "classes": 5, "alpha": 0.0625},
    capabilities={"litert_builtin", "int8", "mixed_precision"},
    landmarks={"conv1", "conv2", "conv3", "conv4", "conv5", "norm1", "norm2"},
    preprocessing=PREPROCESSING,
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
        pooling: without the top: `"avg"` or `"max"` global pooling, or `None` for the 256-channel map.
        classes: number of classes.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.
        name: of the model.
        alpha: width multiplier of all hidden layers; channels of grouped layers stay even.
        padding: `"valid"` as released (first convolution unpadded, poolings rounded up as Caffe does) or
            `"same"` (a tap of stride s then has `ceil(n / s)` rows).

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
        default=(227, 227, 3) if include_top else (None, None, 3),
        minimum=39 if padding == "valid" else 1,
    )
    if include_top and None in image.shape[1:]:
        raise ValueError(f"the fully connected top needs a fixed image size, received {tuple(image.shape[1:])}")

    def convolution(x: Any, layer: str) -> Any:
        channels, kernel, stride, groups = CONVOLUTIONS[layer]
        border = padding if layer == "conv1" else "same"
        # Every layer's channels must divide into the two groups of its successor.
        channels = 2 * scaled(channels // 2, alpha)
        return GroupedConv2D(channels, kernel, stride, padding=border, groups=groups, activation="relu", name=layer)(x)

    x = max_pool_3x3(convolution(image, "conv1"), padding, name="pool1")
    x = LocalResponseNormalization(name="norm1")(x)
    x = max_pool_3x3(convolution(x, "conv2"), padding, name="pool2")
    x = LocalResponseNormalization(name="norm2")(x)
    for layer in ("conv3", "conv4", "conv5"):
        x = convolution(x, layer)
    x = max_pool_3x3(x, padding, name="pool5")

    if include_top:
        x = layers.Flatten(name="flatten")(x)
        for layer in ("fc6", "fc7"):
            x = layers.Dense(scaled(4096, alpha), activation="relu", name=layer)(x)
            x = layers.Dropout(0.5, name=layer.replace("fc", "drop"))(x)
        x = layers.Dense(classes, activation=classifier_activation, name="fc8")(x)
    else:
        x = pool_features(x, pooling)
    model = keras.Model(source_input(image), x, name=name)
    weight_files.initialize(model, weights, {}, trunk=not include_top)
    return model
