"""The generative adversarial metric."""

import math

import keras
import numpy as np
import pytest
from keras import layers

from keras_segattn import DCGANDiscriminator, DCGANGenerator, GRANDiscriminator, GRANGenerator
from keras_segattn.generation import Adversaries, Battle, adversarial_battle, noise


def generator(brightness, activation="sigmoid"):
    """Generator of uniform grey images, whatever the noise."""
    z = keras.Input((1,), name="z")
    x = layers.Dense(48, activation=activation, kernel_initializer="zeros", name="image")(z)
    model = keras.Model(z, layers.Reshape((4, 4, 3))(x))
    logit = math.log(brightness / (1 - brightness))
    model.get_layer("image").bias.assign(np.full(48, logit if activation == "sigmoid" else logit / 2))
    return model


def discriminator(threshold, activation=None):
    """Discriminator that calls an image real if its mean is brighter than the threshold."""
    image = keras.Input((4, 4, 3), name="image")
    x = layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, layers.Dense(1, activation=activation, name="score")(x))
    model.get_layer("score").set_weights([np.full((3, 1), 1 / 3), np.array([-threshold])])
    return model


def reals():
    """Ten real images, of which 7 are brighter than 0.3 and 9 brighter than 0.1."""
    return np.linspace(0, 255, 10).astype("uint8")[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)


def test_errors_and_both_readings():
    strict, lenient = Adversaries(generator(0.2), discriminator(0.3)), Adversaries(generator(0.25), discriminator(0.1))
    z = noise("normal", 20, 1)
    battle = adversarial_battle(strict, lenient, reals(), (z, z), tolerance=0.3)
    assert battle.real_errors == pytest.approx((0.3, 0.1))
    assert battle.sample_errors == (0.0, 1.0)
    assert battle.test_accuracy_ratio == pytest.approx(7 / 9)
    assert battle.test_error_ratio == pytest.approx(3)
    assert battle.sample_accuracy_ratio == math.inf
    assert battle.sample_error_ratio == 0
    assert battle.winner == 1
    assert adversarial_battle(lenient, strict, reals(), (z, z), tolerance=0.3).winner == 2
    assert adversarial_battle(strict, lenient, reals(), (z, z)).winner is None  # one knows real images better


def test_ranges_are_adapted_and_probabilities_understood():
    z = noise("normal", 20, 1)
    unit = Adversaries(generator(0.2), discriminator(0.3))
    # A value of 0.3 in 0..1 is -0.4 in -1..1.
    signed = Adversaries(generator(0.2, "tanh"), discriminator(-0.4, "sigmoid"))
    battle = adversarial_battle(unit, signed, reals(), (z, z))
    assert battle.real_errors == pytest.approx((0.3, 0.3))
    assert battle.sample_errors == (0.0, 0.0)
    assert battle.winner is None


@pytest.mark.parametrize(("errors", "winner"), [((0.2, 0.3), 1), ((0.3, 0.2), 2), ((0.3, 0.3), None)])
def test_the_readings_agree_on_who_wins(errors, winner):
    battle = Battle((0.1, 0.1), errors, tolerance=0.1)
    assert battle.winner == winner
    assert (battle.sample_accuracy_ratio > 1) == (battle.sample_error_ratio < 1) == (winner == 1)


def test_nothing_is_known_if_nobody_errs():
    battle = Battle((1.0, 1.0), (0.0, 0.0), tolerance=0.1)
    assert math.isnan(battle.test_accuracy_ratio)
    assert math.isnan(battle.sample_error_ratio)
    assert battle.winner is None


def test_dcgan_against_gran():
    first = Adversaries(
        DCGANGenerator(latent=4, image_shape=(16, 16, 3), filters=2),
        DCGANDiscriminator(input_shape=(16, 16, 3), filters=2),
    )
    second = Adversaries(
        GRANGenerator(latent=4, image_shape=(16, 16, 3), filters=2, steps=2),
        GRANDiscriminator(input_shape=(16, 16, 3), filters=2, units=3),
    )
    images = np.random.default_rng(0).integers(0, 256, (150, 16, 16, 3)).astype("uint8")
    battle = adversarial_battle(first, second, images, (noise("uniform", 150, 4), noise("normal", 150, 4)))
    assert all(0 <= error <= 1 for error in (*battle.real_errors, *battle.sample_errors))
    with pytest.raises(ValueError, match="expected images as uint8, received float64"):
        adversarial_battle(first, second, images / 255, (noise("uniform", 8, 4), noise("normal", 8, 4)))
