"""Spatial transformer networks for digits (Jaderberg et al., NIPS 2015, arXiv 1506.02025), section 4.1 and appendix A.

There are two classifiers, of fully connected layers ("FCN" in the paper's tables) and of convolutions ("CNN"), each
with or without a spatial transformer before it. All networks in a column of the paper's table have about the same
number of parameters, 400,000. The paper does not say which widths that takes; they are arguments here. Transformers in
parallel read the same picture, and the classifier sees their results as channels of one picture (MNIST addition).
"""

from typing import Any

import keras
from keras import layers

from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice, check_classifier, check_fixed_size, check_positive_integer
from keras_segattn.fields import Picture
from keras_segattn.inputs import image_input, source_input
from keras_segattn.layers import SpatialTransformer
from keras_segattn.layers.spatial_transformer import parameter_layer
from keras_segattn.ops.transformations import TRANSFORMATIONS
from keras_segattn.registry import Card, Paper, register

CLASSIFIERS = ("fcn", "cnn")
PREPROCESSING = Picture("grey", mean=(0.0,), std=(255.0,), size=(28, 28))
PAPER = Paper("Spatial Transformer Networks", "Jaderberg et al.", "NIPS", 2015, "1506.02025")


def fully_connected_localisation(x: Any, name: str = "localisation") -> Any:
    """Add the localisation network of an FCN: three layers of 32 units."""
    x = layers.Flatten(name=f"{name}_flatten")(x)
    for index in (1, 2, 3):
        x = layers.Dense(32, activation="relu", name=f"{name}_fc{index}")(x)
    return x


def convolutional_localisation(x: Any, name: str = "localisation") -> Any:
    """Add the localisation network of a CNN: at half the resolution two layers of 20 5×5 filters, then 20 units."""
    x = layers.AveragePooling2D(2, name=f"{name}_half")(x)
    x = layers.Conv2D(20, 5, activation="relu", name=f"{name}_conv1")(x)
    x = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
    x = layers.Conv2D(20, 5, activation="relu", name=f"{name}_conv2")(x)
    x = layers.Flatten(name=f"{name}_flatten")(x)
    return layers.Dense(20, activation="relu", name=f"{name}_fc")(x)


def fully_connected_classifier(x: Any, units: int) -> Any:
    """Add two hidden layers of `units`."""
    x = layers.Flatten(name="flatten")(x)
    for index in (1, 2):
        x = layers.Dense(units, activation="relu", name=f"fc{index}")(x)
    return x


def convolutional_classifier(x: Any, units: int, filters: tuple[int, int]) -> Any:
    """Add 9×9 and 7×7 convolutions, each with pooling, and a hidden layer."""
    for index, (kernel, count) in enumerate(zip((9, 7), filters, strict=True), start=1):
        x = layers.Conv2D(count, kernel, activation="relu", name=f"conv{index}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{index}")(x)
    x = layers.Flatten(name="flatten")(x)
    return layers.Dense(units, activation="relu", name="fc1")(x)


LOCALISATIONS = {"fcn": fully_connected_localisation, "cnn": convolutional_localisation}


def side_by_side(x: Any, name: str) -> Any:
    """Turn the pictures of several transformers, `(batch, count, rows, columns, channels)`, into channels of one."""
    _, count, rows, columns, channels = x.shape
    x = layers.Permute((2, 3, 1, 4), name=f"{name}_permute")(x)
    return layers.Reshape((rows, columns, count * channels), name=f"{name}_channels")(x)


@register(
    Card(
        paper=PAPER,
        task="classify",
        inputs={"image": PREPROCESSING},
        published={"input_shape": (28, 28, 1)},
        parameters=387_544,
        tiny={"input_shape": (28, 28, 1), "classes": 5, "units": 32, "filters": (8, 16)},
        claims={"int8", "mixed_precision"},
    )
)
def SpatialTransformerNetwork(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    classes: int = 10,
    classifier_activation: str | None = None,
    name: str = "spatial_transformer_network",
    *,
    classifier: str = "cnn",
    transform: str | None = "affine",
    transformers: int = 1,
    output_size: tuple[int, int] | None = None,
    pool: int = 1,
    units: int = 1024,
    filters: tuple[int, int] = (32, 64),
) -> keras.Model:
    """Build a digit classifier behind a spatial transformer, ST-CNN or ST-FCN, or its baseline CNN or FCN.

    Args:
        include_top: whether to add the linear layer of the classes; if not, the output is the hidden layer.
        weights: `None` (random; the transformer begins at the identity) or the path of a weight file.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(height, width, channels)`, default `(28, 28, 1)`.
        classes: number of classes.
        classifier_activation: `None` for logits or `"softmax"` for probabilities.
        name: name of the model.
        classifier: `"cnn"` or `"fcn"` (fully connected).
        transform: transformation of `layers.SpatialTransformer`, or `None` for the baseline without a transformer.
        transformers: number of transformers that read the picture in parallel.
        output_size: (rows, columns) of the transformed picture; `None` keeps the size of the input.
        pool: side of the squares over which the transformed picture is averaged, so that zooming out does not alias;
            the paper has 2 for pictures larger than a digit.
        units: width of each hidden fully connected layer of the classifier.
        filters: numbers of filters of the CNN's two convolutions.

    Returns:
        Model from images `(batch, height, width, channels)` float32, 0..1, to a dict of `"logits"`
        `(batch, classes)`, `"theta"` (the transformation's parameters, `(batch, transformers · P)`) and
        `"transformed"` (the picture that the classifier sees). The baseline returns only its logits.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weight file does not fit.

    Example:
        >>> model = SpatialTransformerNetwork(input_shape=(60, 60, 1), output_size=(56, 56), pool=2)
        >>> rectified = model(images)["transformed"]
    """
    check_classifier(include_top, classes, classifier_activation)
    check_choice("classifier", classifier, CLASSIFIERS)
    check_choice("transform", transform, (None, *TRANSFORMATIONS))
    for argument, value in (("transformers", transformers), ("pool", pool), ("units", units)):
        check_positive_integer(argument, value)
    image = image_input(
        input_tensor,
        input_shape,
        "SpatialTransformerNetwork",
        PREPROCESSING,
        default=(28, 28, 1),
        minimum=28 if classifier == "cnn" else 1,
    )
    check_fixed_size(image, True)

    x, extra = image, {}
    if transform is not None:
        count = transformers if transformers > 1 else None
        theta = parameter_layer(transform, count, name="st_theta")(LOCALISATIONS[classifier](image, "st_loc"))
        x = SpatialTransformer(transform, output_size=output_size, count=count, name="st")(image, theta)
        if count is not None:
            x = side_by_side(x, "st")
        if pool > 1:
            x = layers.AveragePooling2D(pool, name="st_pool")(x)
        extra = {"theta": theta, "transformed": x}
    x = convolutional_classifier(x, units, filters) if classifier == "cnn" else fully_connected_classifier(x, units)
    if include_top:
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    model = keras.Model(source_input(image), {"logits": x} | extra if extra else x, name=name)
    weight_files.initialize(model, weights, {}, backbone=not include_top)
    return model
