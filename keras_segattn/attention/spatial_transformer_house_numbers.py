"""Spatial transformers for house numbers (Jaderberg et al., NIPS 2015, arXiv 1506.02025), section 4.2, appendix A.5.

The network predicts one of eleven classes, ten digits or no digit, at each of five places. The baseline is the CNN of
Goodfellow et al. (2013) without maxout. "ST-CNN Single" has one transformer before it, "ST-CNN Multi" one before each
of its first four convolutions. Two layers of 32 units predict each affine map from the feature map that it transforms.
The appendix leaves open how large the localisation's convolutions are, here 5×5, and whether two or three layers of
3072 units follow, here the argument `units`.
"""

from typing import Any

import keras
from keras import layers

from keras_segattn import weights as weight_files
from keras_segattn.arguments import (
    check_choice,
    check_classifier,
    check_dropout,
    check_fixed_size,
    check_positive_integer,
    scaled,
)
from keras_segattn.attention.spatial_transformer_network import PAPER
from keras_segattn.fields import Picture
from keras_segattn.inputs import image_input, source_input
from keras_segattn.layers import CoordinateConcatenate, SpatialTransformer
from keras_segattn.layers.spatial_transformer import parameter_layer
from keras_segattn.registry import Card, register

# Filters of the 5×5 convolutions, and the numbers, from 1, of those that pooling follows.
FILTERS = (48, 64, 128, 160, 192, 192, 192, 192)
POOLED = {1, 3, 5, 7}
# Number of convolutions, counted from the first, that have a transformer before them.
TRANSFORMED = {None: 0, "single": 1, "multi": 4}
PLACES = 5
PREPROCESSING = Picture(mean=(0.0,) * 3, std=(255.0,) * 3, size=(64, 64))
# Ten rectified layers follow without normalisation: with Keras' default initialisation each would halve the variance.
HE = "he_uniform"


def localisation(x: Any, convolutional: bool, alpha: float, name: str) -> Any:
    """Add two layers of 32 units, behind two convolutions if `convolutional`."""
    if convolutional:
        x = layers.Conv2D(scaled(32, alpha), 5, padding="same", activation="relu", name=f"{name}_conv1")(x)
        x = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
        x = layers.Conv2D(scaled(32, alpha), 5, padding="same", activation="relu", name=f"{name}_conv2")(x)
    x = layers.Flatten(name=f"{name}_flatten")(x)
    for index in (1, 2):
        x = layers.Dense(32, activation="relu", name=f"{name}_fc{index}")(x)
    return x


@register(
    Card(
        paper=PAPER,
        task="classify",
        inputs={"image": PREPROCESSING},
        published={"input_shape": (64, 64, 3)},
        parameters=28_497_647,
        tiny={"input_shape": (32, 32, 3), "classes": 5, "alpha": 0.05, "units": (8, 8)},
        claims={"int8", "mixed_precision"},
        options={"blank": -1},  # the last class is "no digit"
    )
)
def SpatialTransformerHouseNumbers(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    classes: int = 11,
    classifier_activation: str | None = None,
    name: str = "spatial_transformer_house_numbers",
    *,
    transformers: str | None = "multi",
    alpha: float = 1.0,
    units: tuple[int, ...] = (3072, 3072),
    dropout: float = 0.5,
) -> keras.Model:
    """Build a reader of house numbers: ST-CNN Multi or Single, or their baseline CNN.

    Args:
        include_top: whether to add one linear layer per place; if not, the output is the last hidden layer.
        weights: `None` (random; the transformers begin at the identity) or the path of a weight file.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, default `(64, 64, 3)`; at least 16 pixels each way.
        classes: number of classes at each place: ten digits and, last, no digit.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.
        name: name of the model.
        transformers: `"single"`, `"multi"`, or `None` for the baseline.
        alpha: width multiplier of the convolutions.
        units: widths of the hidden fully connected layers.
        dropout: rate after each hidden layer except the first convolution.

    Returns:
        Model from images `(batch, height, width, 3)` float32, 0..1, to a dict of `"logits"` `(batch, 5, classes)`,
        `"theta"` `(batch, 6 · transformers)`, the parameters of one transformer after another, and `"transformed"`, the
        picture that the first convolution sees. The baseline returns only its logits.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weight file does not fit.

    Example:
        >>> digits = SpatialTransformerHouseNumbers()(images)["logits"].numpy().argmax(axis=-1)
    """
    check_classifier(include_top, classes, classifier_activation)
    check_choice("transformers", transformers, TRANSFORMED)
    check_dropout(dropout)
    for width in units:
        check_positive_integer("units", width)
    image = image_input(
        input_tensor, input_shape, "SpatialTransformerHouseNumbers", PREPROCESSING, default=(64, 64, 3), minimum=16
    )
    check_fixed_size(image, True)

    x, thetas, transformed = image, [], None
    for index, filters in enumerate(FILTERS, start=1):
        if index <= TRANSFORMED[transformers]:
            found = localisation(x, transformers == "single", alpha, f"st{index}_loc")
            thetas.append(parameter_layer("affine", None, name=f"st{index}_theta")(found))
            x = SpatialTransformer("affine", name=f"st{index}")(x, thetas[-1])
            transformed = x if index == 1 else transformed
        x = layers.Conv2D(
            scaled(filters, alpha), 5, padding="same", activation="relu", kernel_initializer=HE, name=f"conv{index}"
        )(x)
        if index in POOLED:
            x = layers.MaxPooling2D(2, name=f"pool{index}")(x)
        if index > 1:
            x = layers.Dropout(dropout, name=f"conv{index}_dropout")(x)
    x = layers.Flatten(name="flatten")(x)
    for index, width in enumerate(units, start=1):
        x = layers.Dense(width, activation="relu", kernel_initializer=HE, name=f"fc{index}")(x)
        x = layers.Dropout(dropout, name=f"fc{index}_dropout")(x)
    if include_top:
        heads = [layers.Dense(classes, name=f"place{place}")(x) for place in range(1, PLACES + 1)]
        x = layers.Reshape((PLACES, classes), name="logits")(layers.Concatenate(name="places")(heads))
        if classifier_activation is not None:  # the last layer, where `facts_of` looks for an activation
            x = layers.Activation(classifier_activation, name="probabilities")(x)
    if thetas:
        theta = thetas[0] if len(thetas) == 1 else CoordinateConcatenate(name="theta")(thetas)
        x = {"logits": x, "theta": theta, "transformed": transformed}
    model = keras.Model(source_input(image), x, name=name)
    weight_files.initialize(model, weights, {}, backbone=not include_top)
    return model
