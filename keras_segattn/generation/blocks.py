"""Parts of adversarial networks: layers that double or halve a map, batch normalisation, and checks of arguments."""

from typing import Any

import keras
from keras import layers

from keras_segattn.arguments import check_choice, check_fixed_size, check_positive_integer, is_integer
from keras_segattn.fields import OneHot, Picture
from keras_segattn.inputs import Stamp, image_input
from keras_segattn.layers import BatchStatistics, RecurrentBatchNormalization, TransposedConv2D

STATISTICS = ("batch", "moving")
UPSAMPLINGS = ("transposed", "resize")
KERNEL = 5


def up(filters: int, upsampling: str, name: str, **arguments: Any) -> list[keras.layers.Layer]:
    """Make layers that double a map by a 5×5 kernel, padded by 2 on every side as in cuDNN.

    `"resize"` repeats pixels and then convolves, with as many parameters. Every pixel of the result then depends on as
    many entries of the kernel as its neighbours, which avoids checkerboard patterns (Odena et al. 2016).
    """
    if upsampling == "resize":
        return [
            layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_resize"),
            layers.Conv2D(filters, KERNEL, padding="same", name=name, **arguments),
        ]
    return [TransposedConv2D(filters, KERNEL, 2, padding=2, output_padding=1, name=name, **arguments)]


def down(filters: int, name: str, **arguments: Any) -> list[keras.layers.Layer]:
    """Make layers that halve a map by a 5×5 kernel, padded by 2 on every side as in cuDNN (Keras's "same": 1 and 2)."""
    return [
        layers.ZeroPadding2D(KERNEL // 2, name=f"{name}_pad"),
        layers.Conv2D(filters, KERNEL, 2, name=name, **arguments),
    ]


def normalization(
    statistics: str, name: str, *, steps: int | None = None, affine: bool = True, **arguments: Any
) -> keras.layers.Layer:
    """Make a batch normalisation by the statistics of the batch at all times, or by moving averages after training.

    With `steps` it is for a loop, in which each step has its own moving averages.
    """
    if statistics == "batch":
        return BatchStatistics(affine=affine, name=name, **arguments)
    if steps is not None:
        return RecurrentBatchNormalization(steps, affine=affine, name=name, **arguments)
    return layers.BatchNormalization(momentum=0.9, center=affine, scale=affine, name=name, **arguments)


def run(stack: list[keras.layers.Layer], x: Any, step: int = 0) -> Any:
    """Apply one layer after the other; recurrent batch normalisations also receive the step of the loop."""
    for layer in stack:
        x = layer(x, step=step) if isinstance(layer, RecurrentBatchNormalization) else layer(x)
    return x


def check_generator(statistics: Any, upsampling: Any, **sizes: Any) -> None:
    """Raise `ValueError` unless the arguments that all generators have are valid; sizes are positive integers."""
    check_choice("statistics", statistics, STATISTICS)
    check_choice("upsampling", upsampling, UPSAMPLINGS)
    for argument, value in sizes.items():
        check_positive_integer(argument, value)


def check_discriminator(include_top: Any, classifier_activation: Any, statistics: Any, **sizes: Any) -> None:
    """Raise `ValueError` unless the arguments that all discriminators have are valid; sizes are positive integers."""
    check_choice("include_top", include_top, (True, False))
    check_choice("classifier_activation", classifier_activation, (None, "sigmoid"))
    check_choice("statistics", statistics, STATISTICS)
    for argument, value in sizes.items():
        check_positive_integer(argument, value)


def told_classes(model: keras.Model) -> int:
    """Return the number of classes that a conditional generator can draw; 0 if it is not conditional."""
    stamps = (layer for layer in model.layers if isinstance(layer, Stamp))
    return next((stamp.field.classes for stamp in stamps if isinstance(stamp.field, OneHot)), 0)


def discriminator_input(
    input_tensor: Any, input_shape: Any, card: str, picture: Picture, *, default: tuple[int, int, int], first: int
) -> tuple[Any, int]:
    """Return a discriminator's input images, and the number of halvings that give a map of `first` rows and columns.

    Raises:
        ValueError: if the shape is wrong, or leaves the size of images open.
    """
    image = image_input(input_tensor, input_shape, card, picture, default=default)
    check_fixed_size(image, True)
    return image, doublings(image.shape[1:], first)


def doublings(image_shape: Any, first: int) -> int:
    """Count the doublings that make an image of a map with `first` rows and columns.

    Raises:
        ValueError: if no number of doublings makes such images.
    """
    sizes = tuple(image_shape)
    known = len(sizes) == 3 and all(is_integer(n) and n > 0 for n in sizes)
    count = (sizes[0] // first).bit_length() - 1 if known else 0
    if count < 1 or sizes[:2] != (first << count,) * 2:
        raise ValueError(
            f"image_shape must be (side, side, channels) with a side of {first} times 2, 4, 8, …, "
            f"received {image_shape!r}"
        )
    return count
