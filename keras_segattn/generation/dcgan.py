"""Deep convolutional generative adversarial networks (Radford, Metz & Chintala, ICLR 2016, arXiv 1511.06434).

These are the released networks, layer by layer. The generator projects noise to a 4×4 map and doubles it by transposed
5×5 convolutions until it is an image; the discriminator goes the same way back by strided convolutions. Neither has
pooling, biases or hidden fully connected layers. All maps but the generator's image and the discriminator's first have
batch normalisation, which in the generator's projection normalises every unit by itself, not every channel. The release
uses the statistics of the batch at all times, also when it samples; `statistics="moving"` is for serving.

Images are -1..1 (`preprocess_input`, `pixels`). Noise is uniform on -1..1 for faces, Gaussian for house numbers.
"""

from typing import Any, Literal

import keras
from keras import layers

from keras_segattn import weights as weight_files
from keras_segattn.fields import Noise, Picture
from keras_segattn.generation.blocks import (
    check_discriminator,
    check_generator,
    discriminator_input,
    doublings,
    down,
    normalization,
    run,
    told_classes,
    up,
)
from keras_segattn.generation.dcgan_weights import FIRST, discriminator_arrays, generator_arrays
from keras_segattn.initializers import normal
from keras_segattn.inputs import noise_input, source_input
from keras_segattn.registry import Card, Paper, Training, register

PAPER = Paper(
    "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
    "Radford, Metz & Chintala",
    "ICLR",
    2016,
    "1511.06434",
)
# Arguments of the generator for the released house numbers; the discriminator shares `filters` and the shape.
SVHN: dict[str, Any] = {"image_shape": (32, 32, 3), "filters": 64, "distribution": "normal"}
EPSILON = 1e-8
PREPROCESSING = Picture("RGB", mean=(127.5,) * 3, std=(127.5,) * 3, size=(64, 64))


def kernel() -> dict[str, Any]:
    """Return the arguments of every layer with a kernel: N(0, 0.02²), no bias."""
    return {"use_bias": False, "kernel_initializer": normal(0.02)}


def gain() -> dict[str, Any]:
    """Return the arguments of every normalisation: a gain of N(1, 0.02²)."""
    return {"epsilon": EPSILON, "gamma_initializer": normal(0.02, mean=1.0)}


def preprocess_input(images: Any) -> Any:
    """Convert RGB images `(..., 3)`, 0..255, to float32, -1..1, as the discriminator expects."""
    return PREPROCESSING(images)


@register(
    Card(
        paper=PAPER,
        task="generate",
        classes=told_classes,
        inputs={"z": Noise("uniform")},
        parameters=18_885_760,
        tiny={"latent": 8, "image_shape": (16, 16, 3), "filters": 4, "statistics": "moving"},
        claims={"int8", "mixed_precision"},
        translate=generator_arrays,
        training=Training(partner="DCGANDiscriminator"),
    )
)
def DCGANGenerator(  # noqa: N802 - a builder is named like the model it builds
    weights: str | None = None,
    input_tensor: Any = None,
    name: str = "dcgan_generator",
    *,
    latent: int = 100,
    image_shape: tuple[int, int, int] = (64, 64, 3),
    filters: int = 128,
    first: int = FIRST,
    statistics: str = "batch",
    upsampling: str = "transposed",
    distribution: Literal["uniform", "normal"] = "uniform",
) -> keras.Model:
    """The generator of DCGAN (Radford et al. 2016, figure 1): noise in, images out.

    Args:
        weights: `None` (random), or the path of a weight file; for the release, the common part of the names of its
            `.npy` files without `_NN.npy`, such as `"models/…/200_gen_params.jl"`.
        input_tensor: symbolic tensor `(batch, latent)` to build on.
        name: name of the model.
        latent: number of noise values per image.
        image_shape: `(side, side, channels)`, with a side of `first` · 2ⁿ.
        filters: channels of the map before the image; each map before has twice as many. 64 for house numbers.
        first: rows and columns of the first map: 4, or 7 for 28×28 pixels.
        statistics: statistics of batch normalisation after training: `"batch"`, as in the release, so that an image
            depends on the others in its batch, or `"moving"` averages, which are further variables
            (`estimate_statistics` fills them for weights that lack them).
        upsampling: `"transposed"` convolutions, or `"resize"`: pixels repeated, then convolved.
        distribution: distribution of the noise in training, which is stored with the model: `"uniform"` on -1..1
            (faces) or `"normal"` (house numbers).

    Returns:
        Model from noise `(batch, latent)` float32 to images `(batch, side, side, channels)` float32, -1..1.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weight file does not fit.

    Example:
        >>> generator = DCGANGenerator("models/svhn_…/200_gen_params.jl", **SVHN)
        >>> images = generate(generator, noise("normal", 64, 100))
    """
    check_generator(statistics, upsampling, latent=latent, filters=filters, first=first)
    count = doublings(image_shape, first)
    z = noise_input(input_tensor, (latent,), "DCGANGenerator", Noise(distribution))

    channels = filters << (count - 1)
    stack = [
        layers.Dense(first * first * channels, **kernel(), name="project"),
        normalization(statistics, "project_bn", **gain()),
        layers.ReLU(name="project_relu"),
        layers.Reshape((first, first, channels), name="project_map"),
    ]
    for stage in range(1, count):
        stack += [
            *up(channels >> stage, upsampling, f"up{stage}", **kernel()),
            normalization(statistics, f"up{stage}_bn", **gain()),
            layers.ReLU(name=f"up{stage}_relu"),
        ]
    x = run([*stack, *up(image_shape[-1], upsampling, "image", activation="tanh", **kernel())], z)
    model = keras.Model(source_input(z), x, name=name)
    weight_files.initialize(model, weights, {})
    return model


@register(
    Card(
        paper=PAPER,
        task="classify",
        inputs={"image": PREPROCESSING},
        published={"input_shape": (64, 64, 3)},
        parameters=17_232_768,
        tiny={"input_shape": (16, 16, 3), "filters": 4, "statistics": "moving"},
        claims={"int8", "mixed_precision"},
        translate=discriminator_arrays,
    )
)
def DCGANDiscriminator(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    classifier_activation: str | None = None,
    name: str = "dcgan_discriminator",
    *,
    filters: int = 128,
    first: int = FIRST,
    statistics: str = "batch",
) -> keras.Model:
    """The discriminator of DCGAN (Radford et al. 2016): images in, a score out that is high for real ones.

    Args:
        include_top: whether to add the unit that scores; without it, the output is the last map.
        weights: `None` (random), or the path of a weight file, see `DCGANGenerator`.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(side, side, channels)`, default `(64, 64, 3)`, with a side of `first` · 2ⁿ.
        classifier_activation: `None` for logits or `"sigmoid"` for the probability that an image is real.
        name: name of the model.
        filters: channels of the first map; each one after has twice as many. 64 for house numbers.
        first: rows and columns of the last map: 4, or 7 for 28×28 pixels.
        statistics: statistics of batch normalisation, see `DCGANGenerator`. Give real and generated images in separate
            batches, as in the release.

    Returns:
        Model from images `(batch, side, side, channels)` float32, -1..1, to scores `(batch, 1)`.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weight file does not fit.

    Example:
        >>> discriminator = DCGANDiscriminator(input_shape=(32, 32, 3), filters=64, classifier_activation="sigmoid")
        >>> probability = discriminator(generator(noise("normal", 64, 100)))
    """
    check_discriminator(include_top, classifier_activation, statistics, filters=filters, first=first)
    image, count = discriminator_input(
        input_tensor, input_shape, "DCGANDiscriminator", PREPROCESSING, default=(64, 64, 3), first=first
    )

    x = image
    for stage in range(1, count + 1):
        x = run(down(filters << (stage - 1), f"down{stage}", **kernel()), x)
        if stage > 1:
            x = normalization(statistics, f"down{stage}_bn", **gain())(x)
        x = layers.LeakyReLU(0.2, name=f"down{stage}_lrelu")(x)
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(1, **kernel(), activation=classifier_activation, name="score")(x)
    model = keras.Model(source_input(image), x, name=name)
    weight_files.initialize(model, weights, {}, backbone=not include_top)
    return model
