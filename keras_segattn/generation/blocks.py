"""What the adversarial networks are made of: strided maps up and down, and normalisation by the batch."""

from typing import Any

import keras
from keras import layers

from keras_segattn.arguments import check_choice, check_fixed_size, check_positive_integer
from keras_segattn.fields import OneHot, Picture
from keras_segattn.inputs import Stamp, image_input
from keras_segattn.layers import BatchStatistics, RecurrentBatchNormalization, TransposedConv2D

STATISTICS = ("batch", "moving")
UPSAMPLINGS = ("transposed", "resize")
KERNEL = 5


def up(filters: int, upsampling: str, name: str, **arguments: Any) -> list[keras.layers.Layer]:
    """Twice the size by a 5×5 kernel, padded by 2 on every side as cuDNN does.

    `"resize"` repeats pixels and then convolves, in as many parameters: every pixel of the result sees as many kernels
    as its neighbour, so that no checkerboard is built in (Odena et al. 2016).
    """
    if upsampling == "resize":
        return [
            layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_resize"),
            layers.Conv2D(filters, KERNEL, padding="same", name=name, **arguments),
        ]
    return [TransposedConv2D(filters, KERNEL, 2, padding=2, output_padding=1, name=name, **arguments)]


def down(filters: int, name: str, **arguments: Any) -> list[keras.layers.Layer]:
    """Half the size by a 5×5 kernel, padded by 2 on every side as cuDNN does; Keras's "same" pads 1 and 2."""
    return [
        layers.ZeroPadding2D(KERNEL // 2, name=f"{name}_pad"),
        layers.Conv2D(filters, KERNEL, 2, name=name, **arguments),
    ]


def normalization(
    statistics: str, name: str, *, steps: int | None = None, affine: bool = True, **arguments: Any
) -> keras.layers.Layer:
    """Batch normalisation: by the batch at all times, or by its moving averages once training is over.

    With `steps` it stands in a loop, each of whose steps has averages of its own.
    """
    if statistics == "batch":
        return BatchStatistics(affine=affine, name=name, **arguments)
    if steps is not None:
        return RecurrentBatchNormalization(steps, affine=affine, name=name, **arguments)
    return layers.BatchNormalization(momentum=0.9, center=affine, scale=affine, name=name, **arguments)


def run(stack: list[keras.layers.Layer], x: Any, step: int = 0) -> Any:
    """One layer after the other; in a loop, those that tell its steps apart are told which it is."""
    for layer in stack:
        x = layer(x, step=step) if isinstance(layer, RecurrentBatchNormalization) else layer(x)
    return x


def check_generator(statistics: Any, upsampling: Any, **sizes: Any) -> None:
    """Raise `ValueError` unless the arguments that all generators have make sense; sizes are positive integers."""
    check_choice("statistics", statistics, STATISTICS)
    check_choice("upsampling", upsampling, UPSAMPLINGS)
    for argument, value in sizes.items():
        check_positive_integer(argument, value)


def check_discriminator(include_top: Any, classifier_activation: Any, statistics: Any, **sizes: Any) -> None:
    """Raise `ValueError` unless the arguments that all discriminators have make sense; sizes are positive integers."""
    check_choice("include_top", include_top, (True, False))
    check_choice("classifier_activation", classifier_activation, (None, "sigmoid"))
    check_choice("statistics", statistics, STATISTICS)
    for argument, value in sizes.items():
        check_positive_integer(argument, value)


def told_classes(model: keras.Model) -> int:
    """Number of classes that a conditional generator is told one of; 0 without classes."""
    stamps = (layer for layer in model.layers if isinstance(layer, Stamp))
    return next((stamp.field.classes for stamp in stamps if isinstance(stamp.field, OneHot)), 0)


def discriminator_input(
    input_tensor: Any, input_shape: Any, card: str, picture: Picture, *, default: tuple[int, int, int], first: int
) -> tuple[Any, int]:
    """The images a discriminator scores, and how many times it halves them to a map of `first` rows and columns.

    Raises:
        ValueError: if the shape is wrong, or is not that of an image of one known size.
    """
    image = image_input(input_tensor, input_shape, card, picture, default=default)
    check_fixed_size(image, True)
    return image, doublings(image.shape[1:], first)


def doublings(image_shape: Any, first: int) -> int:
    """How many times a map of `first` rows and columns is doubled until it is an image.

    Raises:
        ValueError: if no number of doublings makes such images.
    """
    sizes = tuple(image_shape)
    known = len(sizes) == 3 and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes)
    count = (sizes[0] // first).bit_length() - 1 if known else 0
    if count < 1 or sizes[:2] != (first << count,) * 2:
        raise ValueError(
            f"image_shape must be (side, side, channels) with a side of {first} times 2, 4, 8, …, "
            f"received {image_shape!r}"
        )
    return count
