"""VGG16 and VGG19: very deep convolutional networks (Simonyan & Zisserman, ICLR 2015, arXiv 1409.1556).

Configurations D and E of the paper's table 1. Layer names, weight shapes and the place of every activation are those of
`keras.applications`, so that its weight files load. The Caffe release and torchvision have other names for the same
layers, see `backbone_weight_names`. Captioning models attend to VGG19's `block5_conv4`, 14×14×512 for an image of
224×224.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_classifier, check_fixed_size, scaled
from keras_segattn.classification.heads import POOLINGS, pool_features
from keras_segattn.fields import Picture
from keras_segattn.inputs import image_input, source_input
from keras_segattn.registry import Card, Paper, Tap, register

# Numbers of channels and of convolutions in the five blocks, each of which ends in a 2×2 max-pooling.
WIDTHS = (64, 128, 256, 512, 512)
CONFIGURATIONS = {"VGG16": (2, 2, 3, 3, 3), "VGG19": (2, 2, 4, 4, 4)}
PREPROCESSING = Picture("BGR", mean=(103.939, 116.779, 123.68), size=(224, 224), fit="crop")

DOCUMENTATION = """{name} (Simonyan & Zisserman 2015), configuration {letter}.

Args:
    include_top: whether to add the three fully connected layers.
    weights: `None` (random) or the path of a weight file that fits the whole model.
    input_tensor: symbolic tensor to build on, instead of `input_shape`.
    input_shape: `(height, width, channels)`, default `(224, 224, 3)` with the top, else `(None, None, 3)`.
    pooling: global pooling without the top, `"avg"` or `"max"`, or `None` for the 512-channel map.
    classes: number of classes.
    classifier_activation: `None` for logits, `"softmax"` for probabilities (as keras.applications defaults to).
    name: name of the model.
    alpha: width multiplier of all hidden layers.
    padding: padding of the poolings: `"valid"` drops a last odd row, as keras.applications and torchvision do;
        `"same"` keeps it, as Caffe does (a tap of stride `s` then has `ceil(height / s)` rows).

Returns:
    Model from preprocessed images `(batch, height, width, channels)` float32 to logits `(batch, classes)`,
    or without the top to the stride-32 map `(batch, h, w, 512 alpha)`, non-negative.

Raises:
    ValueError: if an argument or a shape is wrong.
    keras_segattn.weights.WeightsError: if the weight file does not fit.

Example:
    >>> model = {name}(classes=10, input_shape=(64, 64, 3))
    >>> model(preprocess_input(images)).shape
    TensorShape([8, 10])
"""


def backbone_weight_names(convolutions: tuple[int, ...]) -> dict[str, tuple[str, str]]:
    """Return convolution → its names in the Caffe release and in torchvision, which also counts ReLUs and poolings."""
    names, index = {}, 0
    for block, count in enumerate(convolutions, start=1):
        for conv in range(1, count + 1):
            names[f"block{block}_conv{conv}"] = (f"conv{block}_{conv}", f"features.{index}")
            index += 2
        index += 1
    return names


def preprocess_input(images: Any) -> Any:
    """Convert RGB images `(..., 3)`, 0..255, to float32 BGR minus the ImageNet mean, as the released weights expect."""
    return PREPROCESSING(images)


def _vgg(model_name: str, letter: str, parameters: int) -> Callable[..., keras.Model]:
    """Make the builder of one column of table 1."""
    convolutions = CONFIGURATIONS[model_name]
    backbone_names = backbone_weight_names(convolutions)

    def build(
        include_top: bool = True,
        weights: str | None = None,
        input_tensor: Any = None,
        input_shape: tuple[int | None, ...] | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: str | None = None,
        name: str = model_name.lower(),
        *,
        alpha: float = 1.0,
        padding: str = "valid",
    ) -> keras.Model:
        check_classifier(include_top, classes, classifier_activation)
        check_choice("pooling", pooling, POOLINGS)
        check_choice("padding", padding, ("valid", "same"))
        image = image_input(
            input_tensor,
            input_shape,
            model_name,
            PREPROCESSING,
            default=(224, 224, 3) if include_top else (None, None, 3),
            minimum=32 if padding == "valid" else 1,
        )
        check_fixed_size(image, include_top)

        x = image
        for block, (count, channels) in enumerate(zip(convolutions, WIDTHS, strict=True), start=1):
            for conv in range(1, count + 1):
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
        weight_files.initialize(model, weights, {}, backbone=not include_top)
        return model

    build.__name__ = build.__qualname__ = model_name
    build.__doc__ = DOCUMENTATION.format(name=model_name, letter=letter)
    return register(
        Card(
            paper=Paper(
                "Very Deep Convolutional Networks for Large-Scale Image Recognition",
                "Simonyan & Zisserman",
                "ICLR",
                2015,
                "1409.1556",
            ),
            task="classify",
            inputs={"image": PREPROCESSING},
            published={"input_shape": (224, 224, 3)},
            parameters=parameters,
            taps={f"block{i}_pool": Tap(2**i, channels) for i, channels in enumerate(WIDTHS, start=1)},
            aligned={"padding": "same"},
            tiny={"input_shape": (32, 32, 3), "classes": 5, "alpha": 0.0625},
            claims={"int8", "mixed_precision"},
            weight_names=backbone_names
            | {
                "fc1": ("fc6", "classifier.0"),
                "fc2": ("fc7", "classifier.3"),
                "predictions": ("fc8", "classifier.6"),
            },
        )
    )(build)


VGG16 = _vgg("VGG16", "D", 138_357_544)
VGG19 = _vgg("VGG19", "E", 143_667_240)
