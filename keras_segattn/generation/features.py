"""Features that a discriminator has learned without labels, for a classifier (Radford et al. 2016, section 5)."""

import keras
from keras import layers

from keras_segattn.arguments import check_positive_integer

ACTIVATIONS = (layers.ReLU, layers.LeakyReLU)


def discriminator_features(discriminator: keras.Model, grid: int = 4) -> keras.Model:
    """Build a model of the activations of all convolutions, each max-pooled to a grid, flattened and concatenated.

    The authors train a linear SVM on these features, which must not depend on the other images in the batch. So they
    set the statistics of batch normalisation to averages over training images first (`statistics="moving"`,
    `estimate_statistics`).

    Args:
        discriminator: functional model of one image input, whose convolutions end in ReLU or leaky ReLU.
        grid: number of rows and columns after pooling; if it does not divide the side of a map, the last windows are
            smaller.

    Returns:
        Model that shares the discriminator's layers, from images to features `(batch, grid² · all channels)`; maps
        smaller than the grid are not pooled.

    Raises:
        ValueError: if `grid` is not positive, or the model has no such maps.

    Example:
        >>> features = discriminator_features(DCGANDiscriminator(input_shape=(32, 32, 3), filters=64))
        >>> features.output_shape
        (None, 7168)
    """
    check_positive_integer("grid", grid)
    maps = [
        layer.output
        for layer in discriminator.layers
        if isinstance(layer, ACTIVATIONS) and len(layer.output.shape) == 4
    ]
    if not maps:
        raise ValueError(f"expected maps (batch, height, width, channels) after ReLUs in {discriminator.name!r}")
    parts = []
    for number, x in enumerate(maps, start=1):
        window = tuple(-(-side // grid) for side in x.shape[1:3])
        pooled = layers.MaxPooling2D(window, padding="same", name=f"pool{number}")(x)
        parts.append(layers.Flatten(name=f"flatten{number}")(pooled))
    features = layers.Concatenate(name="features")(parts) if len(parts) > 1 else parts[0]
    return keras.Model(discriminator.input, features, name=f"{discriminator.name}_features")
