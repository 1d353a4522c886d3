"""What the adversarial networks are made of: strided maps up and down, and normalisation by the batch."""

from typing import Any

import keras
from keras import layers

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.layers import BatchStatistics, TransposedConv2D

STATISTICS = ("batch", "moving")
UPSAMPLINGS = ("transposed", "resize")
KERNEL = 5


def up(x: Any, filters: int, upsampling: str, name: str, **arguments: Any) -> Any:
    """Twice the size by a 5×5 kernel, padded by 2 on every side as cuDNN does.

    `"resize"` repeats pixels and then convolves, in as many parameters: every pixel of the result sees as many kernels
    as its neighbour, so that no checkerboard is built in (Odena et al. 2016).
    """
    if upsampling == "resize":
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_resize")(x)
        return layers.Conv2D(filters, KERNEL, padding="same", name=name, **arguments)(x)
    return TransposedConv2D(filters, KERNEL, 2, padding=2, output_padding=1, name=name, **arguments)(x)


def down(x: Any, filters: int, name: str, **arguments: Any) -> Any:
    """Half the size by a 5×5 kernel, padded by 2 on every side as cuDNN does; Keras's "same" pads 1 and 2."""
    x = layers.ZeroPadding2D(KERNEL // 2, name=f"{name}_pad")(x)
    return layers.Conv2D(filters, KERNEL, 2, name=name, **arguments)(x)


def normalize(
    x: Any, statistics: str, epsilon: float, name: str, *, affine: bool = True, gamma_initializer: Any = "ones"
) -> Any:
    """Batch normalisation: by the batch at all times, or by its moving averages once training is over."""
    if statistics == "batch":
        return BatchStatistics(epsilon, affine, gamma_initializer, name=name)(x)
    return layers.BatchNormalization(
        momentum=0.9,
        epsilon=epsilon,
        center=affine,
        scale=affine,
        gamma_initializer=gamma_initializer,
        name=name,
    )(x)


def latent_input(input_tensor: Any, shape: tuple[int, ...]) -> Any:
    """The noise a generator starts from: a new input called `z`, or the tensor it was given.

    Raises:
        ValueError: if the tensor is not symbolic or has another shape.
    """
    if input_tensor is None:
        return keras.Input(shape, name="z")
    if not keras.backend.is_keras_tensor(input_tensor) or tuple(input_tensor.shape[1:]) != shape:
        expected = ", ".join(map(str, ("batch", *shape)))
        raise ValueError(f"input_tensor must be a symbolic Keras tensor of ({expected}), received {input_tensor}")
    return input_tensor


def check_generator(latent: Any, image_shape: Any, first: int, statistics: Any, upsampling: Any) -> int:
    """How many times a generator doubles its first map, of `first` rows and columns, to make its images.

    Raises:
        ValueError: if an argument is wrong, or no number of doublings makes such images.
    """
    check_positive_integer("latent", latent)
    check_choice("statistics", statistics, STATISTICS)
    check_choice("upsampling", upsampling, UPSAMPLINGS)
    return doublings(image_shape, first)


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
