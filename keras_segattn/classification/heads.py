"""Pooling of features, at the end of a backbone and inside it."""

from typing import Any

from keras import layers

POOLINGS = (None, "avg", "max")


def pool_features(x: Any, pooling: str | None) -> Any:
    """Pool a feature map globally to a vector, by `"avg"` or `"max"`; `None` leaves the map.

    The argument is checked by the builder, against `POOLINGS`, before it builds anything.
    """
    if pooling == "avg":
        return layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if pooling == "max":
        return layers.GlobalMaxPooling2D(name="max_pool")(x)
    return x


def max_pool_3x3(x: Any, padding: str, name: str) -> Any:
    """Apply overlapping 3×3 max-pooling with stride 2 to a non-negative map; round sizes up as Caffe does.

    Caffe lets the last window hang over the right and bottom border when the size is even. One row and
    column of zeros there, with "valid" windows, have exactly this effect on maps that went through a ReLU.
    `padding="same"` is TensorFlow's: any size `n` gives `ceil(n / 2)` outputs.
    """
    if padding == "valid":
        x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)
    return layers.MaxPooling2D(3, 2, padding=padding, name=name)(x)
