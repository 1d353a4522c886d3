"""Conditional DCGAN: sizes, parity, and dependence of the output on the class."""

from functools import partial

import keras
import numpy as np
import pytest
import theano_gans as theano
from harness import images, loss_and_gradients, randomise, without_weights
from torch_oracles import relative_difference

from keras_segattn import ConditionalDCGANDiscriminator, ConditionalDCGANGenerator
from keras_segattn.generation import generate, noise

# Rounding of sums of a few thousand float32 products, accumulated in another order.
RELATIVE_DIFFERENCE = 1e-4
# The same for gradients, whose sums over a batch nearly cancel.
GRADIENT_DIFFERENCE = 1e-3
TINY = {"classes": 3, "filters": 4, "units": 6}


def randomised(model):
    randomise(model)
    return model


def labels(count=12, classes=3):
    return np.eye(classes, dtype="float32")[np.arange(count) % classes]


def generator_arrays(fc1, fc2, up1, image):
    """Kernels, or their gradients, in Theano's layout: outputs that become a map are ordered by its channels first."""
    fc2 = fc2.reshape(-1, 7, 7, 8).transpose(0, 3, 1, 2).reshape(len(fc2), -1)
    return [fc1, fc2, flipped(up1), flipped(image)]


def discriminator_arrays(down1, down2, fc, score):
    """The same for the discriminator: inputs from a map are ordered by its channels first, and the class follows."""
    mapped = fc[: 49 * 8].reshape(7, 7, 8, -1).transpose(2, 0, 1, 3).reshape(49 * 8, -1)
    return [flipped(down1), flipped(down2), np.concatenate([mapped, fc[49 * 8 :]]), score]


def flipped(kernel):
    return kernel.transpose(3, 2, 0, 1)[:, :, ::-1, ::-1].copy()


def test_sizes_of_the_release():
    with without_weights():
        generator, discriminator = ConditionalDCGANGenerator(), ConditionalDCGANDiscriminator()
    assert generator.count_params() == 110 * 1024 + 1034 * 6272 + 138 * 64 * 25 + 74 * 25
    assert discriminator.count_params() == 11 * 64 * 25 + 74 * 128 * 25 + 6282 * 1024 + 1034
    assert generator.output_shape == (None, 28, 28, 1)


@pytest.mark.parity
@pytest.mark.parametrize(
    ("build", "arrays_of", "oracle", "name", "x"),
    [
        (partial(ConditionalDCGANGenerator, latent=5), generator_arrays, "generator", "z", noise("uniform", 12, 5)),
        (ConditionalDCGANDiscriminator, discriminator_arrays, "discriminator", "image", images((28, 28, 1), batch=12)),
    ],
)
def test_values_and_gradients_equal_pytorchs(build, arrays_of, oracle, name, x):
    model = randomised(build(**TINY))
    inputs = {name: x, "label": labels()}
    arrays = arrays_of(*(variable.numpy() for variable in model.trainable_variables))

    def module(leaves, x):
        return getattr(theano, f"conditional_dcgan_{oracle}")(leaves, x, theano.channels_first(labels()))

    expected = theano.channels_last(module(theano.tensors(arrays), theano.channels_first(x)))
    assert relative_difference(model(inputs), expected) < RELATIVE_DIFFERENCE
    loss, gradients = loss_and_gradients(model, inputs)
    expected_loss, expected_gradients = theano.loss_and_gradients(module, arrays, x)
    np.testing.assert_allclose(loss, expected_loss, rtol=RELATIVE_DIFFERENCE)
    for ours, theirs in zip(arrays_of(*gradients), expected_gradients, strict=True):
        assert relative_difference(ours, theirs) < GRADIENT_DIFFERENCE


def test_the_class_counts():
    model = randomised(ConditionalDCGANGenerator(latent=5, **TINY))
    z = noise("uniform", 12, 5)
    one, other = (generate(model, {"z": z, "label": np.roll(labels(), shift, axis=1)}) for shift in (0, 1))
    assert one.shape == (12, 28, 28, 1)
    assert (one != other).mean() > 0.5


def test_save_and_load(tmp_path):
    model = randomised(ConditionalDCGANGenerator(latent=5, **TINY))
    model.save(tmp_path / "model.keras")
    x = {"z": noise("uniform", 12, 5), "label": labels()}
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(x), model(x))


@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        (ConditionalDCGANGenerator, {"classes": 0}, "classes must be a positive integer"),
        (
            ConditionalDCGANGenerator,
            {"image_shape": (56, 56, 1)},
            r"must be \(28, 28, channels\), received \(56, 56, 1\)",
        ),
        (ConditionalDCGANDiscriminator, {"input_shape": (32, 32, 1)}, "a side of 7 times"),
        (ConditionalDCGANDiscriminator, {"statistics": "none"}, "statistics must be one of"),
        (ConditionalDCGANDiscriminator, {"classifier_activation": "tanh"}, "one of None, 'sigmoid'"),
    ],
)
def test_bad_arguments_are_named(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)
