"""Features of discriminators."""

import keras
import numpy as np
import pytest
from harness import images, without_weights

from keras_segattn import DCGANDiscriminator, GRANDiscriminator
from keras_segattn.generation import discriminator_features
from keras_segattn.generation.dcgan import SVHN
from keras_segattn.generation.gran import MNIST_DISCRIMINATOR


def test_as_many_as_the_release_has():
    with without_weights():
        discriminator = DCGANDiscriminator(input_shape=SVHN["image_shape"], filters=SVHN["filters"])
        assert discriminator_features(discriminator).output_shape == (None, 7168)


def test_maxima_of_all_windows():
    discriminator = DCGANDiscriminator(input_shape=(28, 28, 1), filters=2, first=7, statistics="moving")
    x = images((28, 28, 1), batch=3)
    features = np.asarray(discriminator_features(discriminator)(x))
    expected = []
    for name, side, window in (("down1_lrelu", 14, 4), ("down2_lrelu", 7, 2)):
        maps = np.asarray(keras.Model(discriminator.input, discriminator.get_layer(name).output)(x))
        padded = np.full((3, 4 * window, 4 * window, maps.shape[-1]), -np.inf)
        before = (4 * window - side) // 2
        padded[:, before : before + side, before : before + side] = maps
        expected.append(padded.reshape(3, 4, window, 4, window, -1).max(axis=(2, 4)).reshape(3, -1))
    np.testing.assert_array_equal(features, np.concatenate(expected, axis=1))


def test_of_gran():
    with without_weights():
        model = discriminator_features(GRANDiscriminator(**MNIST_DISCRIMINATOR | {"filters": 3}), grid=2)
    assert model.output_shape == (None, 2 * 2 * (6 + 3))


def test_bad_arguments():
    with pytest.raises(ValueError, match="grid must be a positive integer"):
        discriminator_features(DCGANDiscriminator(input_shape=(16, 16, 3), filters=2), grid=0)
    vector = keras.Input((3,))
    with pytest.raises(ValueError, match="after ReLUs in 'plain'"):
        discriminator_features(keras.Model(vector, keras.layers.Dense(1)(vector), name="plain"))
