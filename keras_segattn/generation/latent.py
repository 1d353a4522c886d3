"""Inputs and outputs of generators: noise, interpolation and arithmetic on it, pixels, moving statistics."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_segattn.arguments import check_choice, check_positive_integer, is_integer
from keras_segattn.layers import RecurrentBatchNormalization
from keras_segattn.ops.pixels import pixels

DISTRIBUTIONS = ("normal", "uniform")


def noise(distribution: str, count: int, shape: int | tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Draw noise for `count` images.

    Args:
        distribution: `"normal"`, N(0, 1), or `"uniform"` on -1..1, as in the generator's training.
        count: number of images.
        shape: shape of the noise of one image.
        seed: seed of the draw.

    Returns:
        float32 `(count, *shape)`.

    Raises:
        ValueError: if the distribution is unknown or `count` not positive.

    Example:
        >>> noise("normal", 64, 100).shape
        (64, 100)
    """
    check_choice("distribution", distribution, DISTRIBUTIONS)
    check_positive_integer("count", count)
    sizes = (count, shape) if is_integer(shape) else (count, *shape)
    random = np.random.default_rng(seed)
    return (random.normal(size=sizes) if distribution == "normal" else random.uniform(-1, 1, sizes)).astype("float32")


def interpolate(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Return points on the straight line between two noises, both included (Radford et al. 2016, section 6.1).

    Args:
        start: noise of one image, any shape.
        end: noise of another image, with the same shape.
        steps: number of points.

    Returns:
        `(steps, *shape)`.

    Raises:
        ValueError: if the shapes differ or `steps` is not positive.

    Example:
        >>> walk = generate(generator, interpolate(z[0], z[1], 10))
    """
    check_positive_integer("steps", steps)
    start, end = np.asarray(start), np.asarray(end)
    if start.shape != end.shape:
        raise ValueError(f"expected two noises of one shape, received {start.shape} and {end.shape}")
    share = np.linspace(0, 1, steps, dtype="float32").reshape(-1, *(1,) * start.ndim)
    return (1 - share) * start + share * end


def arithmetic(plus: np.ndarray, minus: np.ndarray, also_plus: np.ndarray) -> np.ndarray:
    """Compute mean(plus) - mean(minus) + mean(also_plus): smiling woman - woman + man (section 6.3.2).

    Args:
        plus: noise of several similar images, `(count, *shape)`. The mean of three is stable, a single one is not.
        minus: noise of images with the property to remove.
        also_plus: noise of images with the property to add.

    Returns:
        Noise of one image, `shape`.

    Raises:
        ValueError: if there is no image, or the shapes of their noise differ.

    Example:
        >>> new = arithmetic(z[[3, 5, 8]], z[[1, 2, 9]], z[[4, 6, 7]])
    """
    groups = [np.asarray(group) for group in (plus, minus, also_plus)]
    if len({group.shape[1:] for group in groups}) > 1 or not all(group.ndim > 1 and len(group) for group in groups):
        raise ValueError(f"expected three times (count, *shape), received {[group.shape for group in groups]}")
    first, second, third = (group.mean(axis=0) for group in groups)
    return first - second + third


def generate(generator: keras.Model, z: Any) -> np.ndarray:
    """Generate images from noise.

    Args:
        generator: any generator of this package.
        z: input of the generator, for many images at once if it normalises by the batch.

    Returns:
        uint8 `(batch, side, side, channels)`.

    Example:
        >>> images = generate(generator, noise("normal", 128, 100))
    """
    return pixels(generator(z), black(generator))


def black(generator: keras.Model) -> float:
    """Return the least value of a generator's images: -1 after tanh, 0 after a sigmoid."""
    return -1.0 if generator.get_layer("image").activation is keras.activations.tanh else 0.0


def estimate_statistics(model: keras.Model, batches: Iterable[Any]) -> None:
    """Set the moving statistics of a model to their average over batches, as the authors of DCGAN did to freeze it.

    This is for weights that were trained without moving statistics. All batches have equal weight.

    Args:
        model: model built with `statistics="moving"`; its moving statistics change.
        batches: batches of the model's inputs, such as several batches of noise for 128 images.

    Raises:
        ValueError: if the model has no moving statistics, or there is no batch.

    Example:
        >>> generator = DCGANGenerator(**SVHN, statistics="moving")
        >>> weights.load(generator, "200_gen_params.jl", partial=True)
        >>> estimate_statistics(generator, (noise("normal", 128, 100, seed) for seed in range(20)))
    """
    kinds = (keras.layers.BatchNormalization, RecurrentBatchNormalization)
    normalizations = [layer for layer in model.layers if isinstance(layer, kinds)]
    if not normalizations:
        raise ValueError(f"{model.name!r} has no moving statistics; build it with statistics='moving'")
    before = [layer.momentum for layer in normalizations]
    seen = 0
    try:
        for batch in batches:
            for layer in normalizations:
                layer.momentum = seen / (seen + 1)  # makes the moving average the mean of all batches so far
            model(batch, training=True)
            seen += 1
    finally:
        for layer, momentum in zip(normalizations, before, strict=True):
            layer.momentum = momentum
    if not seen:
        raise ValueError(f"expected batches of inputs of {model.name!r}, received none")
