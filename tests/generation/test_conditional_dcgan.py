"""Conditional DCGAN: sizes, parity and both exports; of two inputs, it is not in the registry."""

import keras
import numpy as np
import pytest
import theano_gans as theano
from harness import images, randomise
from torch_oracles import relative_difference

from keras_segattn import ConditionalDCGANDiscriminator, ConditionalDCGANGenerator, export
from keras_segattn.generation import noise, sample

# Sums of a few thousand float32 products in another order.
RELATIVE_DIFFERENCE = 1e-4
TINY = {"classes": 3, "filters": 4, "units": 6}


def randomised(model):
    randomise(model)
    return model


def labels(count=12, classes=3):
    return np.eye(classes, dtype="float32")[np.arange(count) % classes]


def theano_arrays(model, names, rows):
    """Kernels of layers as Theano has them; of `rows`, those behind a map of that many channels, by channel first."""
    arrays = []
    for name in names:
        kernel = np.asarray(model.get_layer(name).kernel)
        if kernel.ndim == 4:
            kernel = kernel.transpose(3, 2, 0, 1)[:, :, ::-1, ::-1].copy()
        if name == rows.get("out"):
            kernel = kernel.reshape(-1, 7, 7, 8).transpose(0, 3, 1, 2).reshape(len(kernel), -1)
        if name == rows.get("in"):
            mapped = kernel[: 49 * 8].reshape(7, 7, 8, -1).transpose(2, 0, 1, 3).reshape(49 * 8, -1)
            kernel = np.concatenate([mapped, kernel[49 * 8 :]])
        arrays.append(kernel)
    return arrays


def test_sizes_of_the_release():
    generator, discriminator = ConditionalDCGANGenerator(), ConditionalDCGANDiscriminator()
    assert generator.count_params() == 110 * 1024 + 1034 * 6272 + 138 * 64 * 25 + 74 * 25
    assert discriminator.count_params() == 11 * 64 * 25 + 74 * 128 * 25 + 6282 * 1024 + 1034
    assert generator.output_shape == (None, 28, 28, 1)


@pytest.mark.parity
def test_generator_equals_pytorchs():
    model = randomised(ConditionalDCGANGenerator(latent=5, **TINY))
    z, y = noise("uniform", 12, 5), labels()
    arrays = theano_arrays(model, ("fc1", "fc2", "up1", "image"), {"out": "fc2"})
    expected = theano.conditional_dcgan_generator(theano.tensors(arrays), *map(theano.channels_first, (z, y)))
    assert relative_difference(model({"z": z, "label": y}), theano.channels_last(expected)) < RELATIVE_DIFFERENCE


@pytest.mark.parity
def test_discriminator_equals_pytorchs():
    model = randomised(ConditionalDCGANDiscriminator(**TINY))
    x, y = images((28, 28, 1), batch=12), labels()
    arrays = theano_arrays(model, ("down1", "down2", "fc", "score"), {"in": "fc"})
    expected = theano.conditional_dcgan_discriminator(theano.tensors(arrays), *map(theano.channels_first, (x, y)))
    assert relative_difference(model({"image": x, "label": y}), theano.channels_last(expected)) < RELATIVE_DIFFERENCE


def test_the_class_counts():
    model = randomised(ConditionalDCGANGenerator(latent=5, **TINY))
    z = noise("uniform", 12, 5)
    one, other = (sample(model, {"z": z, "label": np.roll(labels(), shift, axis=1)}) for shift in (0, 1))
    assert one.shape == (12, 28, 28, 1)
    assert (one != other).mean() > 0.5


def test_save_and_load(tmp_path):
    model = randomised(ConditionalDCGANGenerator(latent=5, **TINY))
    model.save(tmp_path / "model.keras")
    x = {"z": noise("uniform", 12, 5), "label": labels()}
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(x), model(x))


def test_exports(tmp_path):
    model = randomised(ConditionalDCGANGenerator(latent=5, statistics="moving", **TINY))
    served = export.saved_model(model, tmp_path, preprocess=None, signatures=["serving_default"])
    mobile = export.tflite(model, tmp_path / "model.tflite")
    assert served.passed
    assert mobile.passed
    assert mobile.flex_operators == ()
    for report in (served, mobile):
        assert set(report.signatures["serving_default"]["inputs"]) == {"z", "label"}
        assert set(report.signatures["serving_default"]["outputs"]) == {"image"}


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
