"""VGG16: very deep convolutional networks for large-scale image recognition (Simonyan & Zisserman, ICLR 2015).

Configuration D of the paper's table 1. Layer names, weight shapes and the place of every activation are those of
`keras.applications.VGG16`, so that its weight files load; the Caffe release and torchvision name the same layers
otherwise, see `WEIGHT_NAMES`.
"""

from typing import Any

import keras
from keras import layers

from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_classifier, image_input, scaled, source_input
from keras_segattn.classification.heads import POOLINGS, pool_features
from keras_segattn.preprocessing import Preprocessing
from keras_segattn.registry import Paper, Tap, register

# (convolutions, channels) of the five blocks; each ends in a 2×2 max-pooling.
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
TAPS = {f"block{i}_pool": Tap(2**i, channels) for i, (_, channels) in enumerate(BLOCKS, start=1)}
PREPROCESSING = Preprocessing("BGR", mean=(103.939, 116.779, 123.68), size=(224, 224))

_CONVS = [f"{block}_{conv}" for block, (count, _) in enumerate(BLOCKS, start=1) for conv in range(1, count + 1)]
_TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
TRUNK_WEIGHT_NAMES = {
    f"block{conv.replace('_', '_conv')}": (f"conv{conv}", f"features.{index}")
    for conv, index in zip(_CONVS, _TORCHVISION, strict=True)
}
WEIGHT_NAMES = TRUNK_WEIGHT_NAMES | {
    "fc1": ("fc6", "classifier.0"),
    "fc2": ("fc7", "classifier.3"),
    "predictions": ("fc8", "classifier.6"),
}


def preprocess_input(images: Any) -> Any:
    """RGB images `(..., 3)`, 0..255 → float32 BGR minus the ImageNet mean, as the released weights expect."""
    return PREPROCESSING(images)


@register(
    family="classification",
    paper=Paper(
        "Very Deep Convolutional Networks for Large-Scale Image Recognition",
        "Simonyan & Zisserman",
        "ICLR",
        2015,
        "1409.1556",
    ),
    input_shape=(224, 224, 3),
    parameters=138_357_544,
    taps=TAPS,
    tiny={"input_shape": (32, 32, 3), "classes": 5, "alpha": 0.0625},
    capabilities={"litert_builtin", "int8", "mixed_precision"},
    landmarks={f"block{conv.replace('_', '_conv')}" for conv in _CONVS},
    preprocessing=PREPROCESSING,
    weight_names=WEIGHT_NAMES,
)
def VGG16(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = None,
    name: str = "vgg16",
    *,
    alpha: float = 1.0,
    padding: str = "valid",
) -> keras.Model:
    """VGG16 (Simonyan & Zisserman 2015), configuration D.

    Args:
        include_top: whether to add the three fully connected layers.
        weights: `None` (random) or the path of a weight file that fits the whole model.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, default `(224, 224, 3)` with the top, else `(None, None, 3)`.
        pooling: without the top: `"avg"` or `"max"` global pooling, or `None` for the 512-channel map.
        classes: number of classes.
        classifier_activation: `None` for logits, `"softmax"` for probabilities (as keras.applications defaults to).
        name: of the model.
        alpha: width multiplier of all hidden layers.
        padding: of the poolings: `"valid"` drops a last odd row, as keras.applications and torchvision do;
            `"same"` keeps it, as Caffe does (a tap of stride s then has `ceil(n / s)` rows).

    Returns:
        Model from preprocessed images `(batch, height, width, channels)` float32 to logits `(batch, classes)`,
        or without the top to the stride-32 map `(batch, h, w, 512 alpha)`, non-negative.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weight file does not fit.

    Example:
        >>> model = VGG16(classes=10, input_shape=(64, 64, 3))
        >>> model(preprocess_input(images)).shape
        TensorShape([8, 10])
    """
    check_classifier(include_top, classes, classifier_activation)
    check_choice("pooling", pooling, POOLINGS)
    check_choice("padding", padding, ("valid", "same"))
    image = image_input(
        input_tensor,
        input_shape,
        default=(224, 224, 3) if include_top else (None, None, 3),
        minimum=32 if padding == "valid" else 1,
    )
    if include_top and None in image.shape[1:]:
        raise ValueError(f"the fully connected top needs a fixed image size, received {tuple(image.shape[1:])}")

    x = image
    for block, (convolutions, channels) in enumerate(BLOCKS, start=1):
        for conv in range(1, convolutions + 1):
            x = layers.Conv2D(
                scaled(channels, alpha), 3, padding="same", activation="relu", name=f"block{block}_conv{conv}"
            )(x)
        x = layers.MaxPooling2D(2, 2, padding=padding, name=f"block{block}_pool")(x)

    if include_top:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(scaled(4096, alpha), activation="relu", name="fc1")(x)
        x = layers.Dense(scaled(4096, alpha), activation="relu", name="fc2")(x)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    else:
        x = pool_features(x, pooling)
    model = keras.Model(source_input(image), x, name=name)
    weight_files.initialize(model, weights, {}, trunk=not include_top)
    return model
