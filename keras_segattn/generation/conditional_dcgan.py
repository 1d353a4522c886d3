"""The conditional DCGAN of the release of Radford et al. (ICLR 2016, arXiv 1511.06434): digits of a given class.

The one-hot class is appended to the noise or image and to the output of every hidden layer; maps get it as constant
channels. Unlike the unconditional networks, each of these has a hidden fully connected layer, and batch normalisation
without gain and shift. Images are 0..1, noise is uniform on -1..1.
"""

from typing import Any

import keras
from keras import layers

from keras_segattn import weights as weight_files
from keras_segattn.fields import Noise, OneHot, Picture
from keras_segattn.generation.blocks import (
    check_discriminator,
    check_generator,
    doublings,
    down,
    normalization,
    run,
    told_classes,
    up,
)
from keras_segattn.generation.dcgan import EPSILON, PAPER, kernel
from keras_segattn.inputs import check_channels_last, image_input, source_input, stamped
from keras_segattn.registry import Card, Training, register

PREPROCESSING = Picture("grey", mean=(0.0,), std=(255.0,), size=(28, 28))
FIRST = 7  # rows and columns of the smallest map


def normalized(x: Any, statistics: str, name: str) -> Any:
    """Apply batch normalisation without gain and shift."""
    return normalization(statistics, f"{name}_bn", epsilon=EPSILON, affine=False)(x)


def on_every_pixel(label: Any, x: Any, name: str) -> Any:
    """Append the class to a map, as constant channels."""
    _, height, width, _ = x.shape
    y = layers.RepeatVector(height * width, name=f"{name}_repeat")(label)
    y = layers.Reshape((height, width, label.shape[-1]), name=f"{name}_label")(y)
    return layers.Concatenate(name=f"{name}_with_label")([x, y])


def check_image_shape(image_shape: Any) -> None:
    """Raise `ValueError` unless images have the only size that the fully connected layers fit, 28×28."""
    if doublings(image_shape, FIRST) != 2:
        raise ValueError(f"image_shape must be (28, 28, channels), received {image_shape!r}")


@register(
    Card(
        paper=PAPER,
        task="generate",
        classes=told_classes,
        inputs={"z": Noise("uniform"), "label": OneHot(10)},
        parameters=6820538,
        tiny={"classes": 3, "filters": 2, "units": 8, "statistics": "moving", "latent": 8},
        claims={"mixed_precision"},
        training=Training(partner="ConditionalDCGANDiscriminator"),
    )
)
def ConditionalDCGANGenerator(  # noqa: N802 - a builder is named like the model it builds
    weights: str | None = None,
    classes: int = 10,
    name: str = "conditional_dcgan_generator",
    *,
    latent: int = 100,
    image_shape: tuple[int, int, int] = (28, 28, 1),
    filters: int = 64,
    units: int = 1024,
    statistics: str = "batch",
) -> keras.Model:
    """The conditional generator (Radford et al. 2016, released code): noise and a class in, images out.

    Args:
        weights: `None` (random), or the path of a weight file.
        classes: number of classes.
        name: name of the model.
        latent: number of noise values per image.
        image_shape: `(28, 28, channels)`.
        filters: channels of the map before the image; the map before it has twice as many.
        units: number of units in the hidden layer.
        statistics: statistics of batch normalisation, see `DCGANGenerator`.

    Returns:
        Model from `"z"`, noise `(batch, latent)`, and `"label"`, one-hot `(batch, classes)`, both float32, to images
        `(batch, 28, 28, channels)` float32, 0..1.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weight file does not fit.

    Example:
        >>> generator = ConditionalDCGANGenerator()
        >>> images = generate(generator, {"z": noise("uniform", 10, 100), "label": np.eye(10, dtype="float32")})
    """
    check_generator(statistics, "transposed", latent=latent, classes=classes, filters=filters, units=units)
    check_image_shape(image_shape)
    check_channels_last()
    inputs = {"z": keras.Input((latent,), name="z"), "label": keras.Input((classes,), name="label")}
    z = stamped(inputs["z"], "ConditionalDCGANGenerator", "z", Noise("uniform"))
    label = stamped(inputs["label"], "ConditionalDCGANGenerator", "label", OneHot(classes))

    x = layers.Concatenate(name="z_with_label")([z, label])
    x = layers.Dense(units, name="fc1", **kernel())(x)
    x = layers.ReLU(name="fc1_relu")(normalized(x, statistics, "fc1"))
    x = layers.Concatenate(name="fc1_with_label")([x, label])
    x = layers.Dense(FIRST * FIRST * 2 * filters, name="fc2", **kernel())(x)
    x = layers.ReLU(name="fc2_relu")(normalized(x, statistics, "fc2"))
    x = layers.Reshape((FIRST, FIRST, 2 * filters), name="fc2_map")(x)
    x = run(up(filters, "transposed", "up1", **kernel()), on_every_pixel(label, x, "fc2_map"))
    x = layers.ReLU(name="up1_relu")(normalized(x, statistics, "up1"))
    image = up(image_shape[-1], "transposed", "image", activation="sigmoid", **kernel())
    x = run(image, on_every_pixel(label, x, "up1"))
    model = keras.Model(inputs, x, name=name)
    weight_files.initialize(model, weights, {})
    return model


@register(
    Card(
        paper=PAPER,
        task="classify",
        inputs={"image": PREPROCESSING, "label": OneHot(10)},
        parameters=6688202,
        tiny={"classes": 3, "filters": 2, "units": 8, "statistics": "moving"},
        claims={"mixed_precision"},
    )
)
def ConditionalDCGANDiscriminator(  # noqa: N802 - a builder is named like the model it builds
    weights: str | None = None,
    input_shape: tuple[int, int, int] = (28, 28, 1),
    classes: int = 10,
    classifier_activation: str | None = None,
    name: str = "conditional_dcgan_discriminator",
    *,
    filters: int = 64,
    units: int = 1024,
    statistics: str = "batch",
) -> keras.Model:
    """The conditional discriminator (Radford et al. 2016, released code): image and class in, score for real ones out.

    Args:
        weights: `None` (random), or the path of a weight file.
        input_shape: `(28, 28, channels)`.
        classes: number of classes.
        classifier_activation: `None` for logits or `"sigmoid"` for the probability that an image is real.
        name: name of the model.
        filters: channels of the first map; the second has twice as many.
        units: number of units in the hidden layer.
        statistics: statistics of batch normalisation, see `DCGANDiscriminator`.

    Returns:
        Model from `"image"` `(batch, 28, 28, channels)`, 0..1, and `"label"`, one-hot `(batch, classes)`, both float32,
        to scores `(batch, 1)`.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weight file does not fit.

    Example:
        >>> score = ConditionalDCGANDiscriminator()({"image": images, "label": np.eye(10, dtype="float32")})
    """
    check_discriminator(True, classifier_activation, statistics, classes=classes, filters=filters, units=units)
    image = image_input(None, input_shape, "ConditionalDCGANDiscriminator", PREPROCESSING)
    check_image_shape(tuple(image.shape[1:]))
    inputs = {"image": source_input(image), "label": keras.Input((classes,), name="label")}
    label = stamped(inputs["label"], "ConditionalDCGANDiscriminator", "label", OneHot(classes))

    x = run(down(filters, "down1", **kernel()), on_every_pixel(label, image, "image"))
    x = layers.LeakyReLU(0.2, name="down1_lrelu")(x)
    x = run(down(2 * filters, "down2", **kernel()), on_every_pixel(label, x, "down1"))
    x = layers.LeakyReLU(0.2, name="down2_lrelu")(normalized(x, statistics, "down2"))
    x = layers.Concatenate(name="down2_with_label")([layers.Flatten(name="flatten")(x), label])
    x = layers.Dense(units, name="fc", **kernel())(x)
    x = layers.LeakyReLU(0.2, name="fc_lrelu")(normalized(x, statistics, "fc"))
    x = layers.Concatenate(name="fc_with_label")([x, label])
    x = layers.Dense(1, activation=classifier_activation, name="score", **kernel())(x)
    model = keras.Model(inputs, x, name=name)
    weight_files.initialize(model, weights, {})
    return model
