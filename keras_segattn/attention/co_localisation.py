"""Co-localisation: find the object that all pictures of a set show (Jaderberg et al. 2015, appendix A.2)."""

import math
from typing import Any

import keras
from keras import layers, ops

from keras_segattn.arguments import check_positive_integer
from keras_segattn.inputs import check_channels_last
from keras_segattn.layers import CoordinateConcatenate, CoordinateDense, SpatialTransformer


def co_localiser(
    input_shape: tuple[int, int, int] = (84, 84, 1), output_size: int = 28, start: float = 0.7
) -> keras.Model:
    """Build a spatial transformer that cuts a square out of a picture.

    Eight 9×9 filters with stride 4 and layers of 8, 8 and 3 units predict the square. It never leaves the picture:
    outside there is nothing to find, and all crops would look the same. `training.CoLocalisationTrainer` trains it.

    Args:
        input_shape: `(height, width, channels)`, at least 13 pixels each way.
        output_size: side of the crop.
        start: side of the square before training as a share of the picture's, in 0..1; the square begins in the middle.

    Returns:
        Model from images `(batch, height, width, channels)` float32, 0..1, to a dict of `"transformed"`
        `(batch, output_size, output_size, channels)` and `"theta"` `(batch, 3)`: scale and translation (x, y).

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> found = co_localiser()(scenes)["transformed"]
    """
    check_channels_last()
    check_positive_integer("output_size", output_size)
    if len(input_shape) != 3 or None in input_shape or min(input_shape[:2]) < 13:
        raise ValueError(f"input_shape must be (height, width, channels) of at least 13×13, received {input_shape!r}")
    if not 0 < start < 1:
        raise ValueError(f"start must be within 0..1, received {start!r}")
    image = keras.Input(input_shape, name="image")
    x = layers.Conv2D(8, 9, strides=4, activation="relu", name="conv")(image)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    for index in (1, 2):
        x = layers.Dense(8, activation="relu", name=f"fc{index}")(x)
    middle = keras.initializers.Constant(math.log(start / (1 - start)))
    scale = CoordinateDense(1, "sigmoid", kernel_initializer="zeros", bias_initializer=middle, name="scale")(x)
    shift = CoordinateDense(2, "tanh", kernel_initializer="zeros", name="shift")(x)
    theta = CoordinateConcatenate(name="theta")([scale, shift * (1.0 - scale)])
    crop = SpatialTransformer("attention", output_size=output_size, name="st")(image, theta)
    return keras.Model(image, {"transformed": crop, "theta": theta}, name="co_localiser")


def crop_boxes(theta: Any, size: tuple[int, int]) -> Any:
    """Return the crops of an attention transformer as boxes.

    Args:
        theta: `(batch, 3)`, scale and translation (x, y).
        size: (height, width) of the pictures.

    Returns:
        `(batch, 4)`, `(x1, y1, x2, y2)` in pixels: (0, 0, width, height) is all of a picture. The outermost samples of
        a crop are up to half a pixel from these edges, to either side.

    Example:
        >>> crop_boxes(keras.ops.array([[0.5, 0.0, 0.0]]), (84, 84))
        [[21., 21., 63., 63.]]
    """
    theta = ops.convert_to_tensor(theta)
    height, width = size
    # In a grid, -1 and 1 are the centres of the outermost pixels; the boxes count from the picture's edge.
    x = (theta[:, 1] * (width - 1) + width) / 2
    y = (theta[:, 2] * (height - 1) + height) / 2
    across, down = theta[:, 0] * width / 2, theta[:, 0] * height / 2
    return ops.stack([x - across, y - down, x + across, y + down], axis=-1)
