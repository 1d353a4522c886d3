"""Generative recurrent adversarial networks (Im, Kim, Jiang & Memisevic, 2016, arXiv 1602.05110).

The generator paints on a canvas in steps. In each step a decoder makes a stroke ΔC from the noise and from a code of
the last stroke, and adds it to the canvas; an encoder codes the stroke for the next step. A sigmoid follows the last
step. All steps share their weights. As in the released code, for 32×32 and 28×28 pixels, the encoder reads the last
stroke, not the canvas, and all steps see the same noise (`noise="shared"`), whereas the paper's text draws new noise
for each step. The projection of [h_z, h_c] is computed as the sum of a projection of each, which is equal; in the first
step, where h_c = 0, there is only the projection of h_z.

Batch normalisation in the release uses the statistics of the batch at all times; `statistics="moving"` is for serving,
with moving averages for every step. We divide by √(σ² + 10⁻¹²), the release by σ + 10⁻⁶: they differ by a factor of
1 + 10⁻⁶/σ at most, and ours has a gradient where nothing varies. Images are 0..1.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import layers

from keras_segattn import weights as weight_files
from keras_segattn.arguments import check_choice
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
from keras_segattn.initializers import normal
from keras_segattn.inputs import noise_input, source_input
from keras_segattn.registry import Card, Paper, Training, register

PAPER = Paper(
    "Generating Images with Recurrent Adversarial Networks", "Im, Kim, Jiang & Memisevic", "arXiv", 2016, "1602.05110"
)
NOISE = ("shared", "per_step")
# Arguments of the generator and of the discriminator for 28×28 pixels.
MNIST: dict[str, Any] = {"image_shape": (28, 28, 1), "filters": 128, "first": 7, "normalize_last": True}
MNIST_DISCRIMINATOR: dict[str, Any] = {"input_shape": (28, 28, 1), "filters": 40, "first": 7}
EPSILON = 1e-12
KERNELS = normal(0.01)
# Function from a layer's name to a batch normalisation.
Normalization = Callable[[str], keras.layers.Layer]
PREPROCESSING = Picture("RGB", mean=(0.0,) * 3, std=(255.0,) * 3, size=(32, 32))


def reading(latent: int, units: int, norm: Normalization) -> list[keras.layers.Layer]:
    """Make the layers that project noise, by way of h_z."""
    return [
        layers.Dense(latent, name="h_z"),
        norm("h_z_bn"),
        layers.Activation("tanh", name="h_z_tanh"),
        layers.Dense(units, name="project_z"),
    ]


def decoding(
    filters: int, image_channels: int, first: int, count: int, upsampling: str, norm: Normalization
) -> list[keras.layers.Layer]:
    """Make the layers from the sum of the projections to ΔC, a stroke."""
    channels = filters << (count - 1)
    stack = [
        norm("project_bn"),
        layers.ReLU(name="project_relu"),
        layers.Reshape((first, first, channels), name="project_map"),
    ]
    for stage in range(1, count):
        stack += up(channels >> stage, upsampling, f"up{stage}", kernel_initializer=KERNELS, activation="relu")
    return stack + up(image_channels, upsampling, "delta", kernel_initializer=KERNELS)


def encoding(
    latent: int, units: int, filters: int, count: int, normalize_last: bool, norm: Normalization
) -> list[keras.layers.Layer]:
    """Make the layers that project ΔC for the next step, by way of h_c."""
    stack: list[keras.layers.Layer] = []
    for stage in range(1, count + 1):
        name, normalized = f"down{stage}", stage < count or normalize_last
        stack += down(filters << (stage - 1), name, use_bias=not normalized, kernel_initializer=KERNELS)
        stack += [norm(f"{name}_bn")] if normalized else []
        stack += [layers.ReLU(name=f"{name}_relu")]
    return [
        *stack,
        layers.Flatten(name="flatten"),
        layers.Dense(latent, name="h_c"),
        norm("h_c_bn"),
        layers.Activation("tanh", name="h_c_tanh"),
        layers.Dense(units, use_bias=False, name="project_c"),
    ]


def noise_of(z: Any, step: int) -> Any:
    """Cut the noise of one step, `(batch, latent)`, from `(batch, steps, latent)`."""
    _, steps, latent = z.shape
    z = layers.Cropping1D((step, steps - 1 - step), name=f"z{step}_crop")(z)
    return layers.Reshape((latent,), name=f"z{step}")(z)


@register(
    Card(
        paper=PAPER,
        task="generate",
        classes=told_classes,
        inputs={"z": Noise("normal")},
        parameters=37_784_683,
        tiny={"latent": 8, "image_shape": (16, 16, 3), "filters": 4, "steps": 2, "statistics": "moving"},
        claims={"int8", "mixed_precision"},
        training=Training(partner="GRANDiscriminator", recipe="gran"),
    )
)
def GRANGenerator(  # noqa: N802 - a builder is named like the model it builds
    weights: str | None = None,
    input_tensor: Any = None,
    name: str = "gran_generator",
    *,
    latent: int = 100,
    image_shape: tuple[int, int, int] = (32, 32, 3),
    filters: int = 256,
    first: int = 4,
    steps: int = 5,
    noise: str = "shared",
    statistics: str = "batch",
    upsampling: str = "transposed",
    normalize_last: bool = False,
) -> keras.Model:
    """The generator of GRAN (Im et al. 2016, section 4): noise in, images out, painted in steps.

    Args:
        weights: `None` (random), or the path of a weight file.
        input_tensor: symbolic tensor to build on, of the input's shape.
        name: name of the model.
        latent: number of noise values per image or step, and of values in the code of a stroke.
        image_shape: `(side, side, channels)`, with a side of `first` · 2ⁿ.
        filters: channels of the map before the image; each map before has twice as many.
        first: rows and columns of the first map: 4, or 7 for 28×28 pixels.
        steps: number of steps, T. From two on, the trainable parameters do not depend on it; a single step has no
            encoder.
        noise: `"shared"` by all steps (released code), or `"per_step"` (the paper's text).
        statistics: statistics of batch normalisation, see `DCGANGenerator`.
        upsampling: `"transposed"` or `"resize"`, see `DCGANGenerator`.
        normalize_last: whether the encoder's last convolution has batch normalisation instead of a bias, as in the
            released code for 28×28 pixels only.

    Returns:
        Model from noise float32, `(batch, latent)` or `(batch, steps, latent)`, to images
        `(batch, side, side, channels)` float32, 0..1. The canvas after step t > 0, before the sigmoid, is the output of
        layer `canvas{t}`.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weight file does not fit.

    Example:
        >>> generator = GRANGenerator(steps=3)
        >>> images = generate(generator, noise("normal", 64, 100))
    """
    check_generator(statistics, upsampling, latent=latent, filters=filters, first=first, steps=steps)
    check_choice("noise", noise, NOISE)
    check_choice("normalize_last", normalize_last, (True, False))
    count = doublings(image_shape, first)
    z = noise_input(input_tensor, (latent,) if noise == "shared" else (steps, latent), "GRANGenerator", Noise("normal"))

    def norm(steps: int) -> Normalization:
        return partial(normalization, statistics, steps=steps, epsilon=EPSILON)

    units = first * first * filters << (count - 1)
    reader = reading(latent, units, norm(1 if noise == "shared" else steps))
    decoder = decoding(filters, image_shape[-1], first, count, upsampling, norm(steps))
    encoder = encoding(latent, units, filters, count, normalize_last, norm(max(1, steps - 1)))
    project = layers.Add(name="project")

    if noise == "shared":
        read = [run(reader, z)] * steps
    else:
        read = [run(reader, noise_of(z, step), step) for step in range(steps)]
    canvas = delta = run(decoder, read[0])
    for step in range(1, steps):
        delta = run(decoder, project([read[step], run(encoder, delta, step - 1)]), step)
        canvas = layers.Add(name=f"canvas{step}")([canvas, delta])
    x = layers.Activation("sigmoid", name="image")(canvas)
    model = keras.Model(source_input(z), x, name=name)
    weight_files.initialize(model, weights, {})
    return model


@register(
    Card(
        paper=PAPER,
        task="classify",
        inputs={"image": PREPROCESSING},
        published={"input_shape": (32, 32, 3)},
        parameters=16_874_184,
        tiny={"input_shape": (16, 16, 3), "filters": 4, "units": 8, "statistics": "moving"},
        claims={"int8", "mixed_precision"},
    )
)
def GRANDiscriminator(  # noqa: N802 - a builder is named like the model it builds
    include_top: bool = True,
    weights: str | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    classifier_activation: str | None = None,
    name: str = "gran_discriminator",
    *,
    filters: int = 256,
    first: int = 4,
    units: int = 100,
    statistics: str = "batch",
) -> keras.Model:
    """The discriminator of GRAN (Im et al. 2016, released code): images in, a score out that is high for real ones.

    Args:
        include_top: whether to add the unit that scores; without it, the output is the hidden layer before it.
        weights: `None` (random), or the path of a weight file.
        input_tensor: symbolic tensor to build on, instead of `input_shape`.
        input_shape: `(side, side, channels)`, default `(32, 32, 3)`, with a side of `first` · 2ⁿ.
        classifier_activation: `None` for logits or `"sigmoid"` for the probability that an image is real.
        name: name of the model.
        filters: channels of the last map; each one before has twice as many.
        first: rows and columns of the last map: 4, or 7 for 28×28 pixels.
        units: number of units in the hidden layer.
        statistics: statistics of batch normalisation, see `DCGANDiscriminator`.

    Returns:
        Model from images `(batch, side, side, channels)` float32, 0..1, to scores `(batch, 1)`.

    Raises:
        ValueError: if an argument or a shape is wrong.
        keras_segattn.weights.WeightsError: if the weight file does not fit.

    Example:
        >>> discriminator = GRANDiscriminator(**MNIST_DISCRIMINATOR)
    """
    check_discriminator(include_top, classifier_activation, statistics, filters=filters, first=first, units=units)
    image, count = discriminator_input(
        input_tensor, input_shape, "GRANDiscriminator", PREPROCESSING, default=(32, 32, 3), first=first
    )

    x = image
    for stage in range(1, count + 1):
        x = run(down(filters << (count - stage), f"conv{stage}", use_bias=False, kernel_initializer=KERNELS), x)
        x = normalization(statistics, f"conv{stage}_bn", epsilon=EPSILON)(x)
        x = layers.ReLU(name=f"conv{stage}_relu")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(units, activation="tanh", name="fc")(x)
    if include_top:
        x = layers.Dense(1, use_bias=False, activation=classifier_activation, name="score")(x)
    model = keras.Model(source_input(image), x, name=name)
    weight_files.initialize(model, weights, {}, backbone=not include_top)
    return model
