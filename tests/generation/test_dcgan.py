"""DCGAN: shapes, counts and parity, and the published house numbers.

If `DCGAN_WEIGHTS` names the folder of the arrays that the authors published (Newmu/dcgan_code, models/svhn_…), their
house numbers are compared, too. `RECORD_FIXTURES=1 pytest -m parity tests/generation` records PyTorch's outputs anew.
"""

import os
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import pytest
import theano_gans as theano
from harness import images, loss_and_gradients, without_weights
from torch_oracles import relative_difference

from keras_segattn import DCGANDiscriminator, DCGANGenerator, export, model_card, weights
from keras_segattn.files import replaced
from keras_segattn.generation import arithmetic, estimate_statistics, interpolate, noise, pixels
from keras_segattn.generation.dcgan import SVHN

# Rounding of sums of a few thousand float32 products, accumulated in another order, through five normalisations.
RELATIVE_DIFFERENCE = 1e-4
# The same for gradients, whose sums over a batch nearly cancel.
GRADIENT_DIFFERENCE = 1e-3
RECORDED = Path(__file__).with_name("dcgan.npz")
TINY = {"latent": 8, "image_shape": (32, 32, 3), "filters": 4}
GENERATOR = theano.dcgan_generator_shapes(8, 3, 4, 3)
DISCRIMINATOR = theano.dcgan_discriminator_shapes(3, 4, 3)
PUBLISHED = os.environ.get("DCGAN_WEIGHTS")


def loaded(model, arrays, tmp_path):
    report = weights.load(model, theano.write_list(arrays, tmp_path / f"{model.name}.jl"))
    assert report.complete
    return model


def tiny_generator(**arguments):
    return DCGANGenerator(**TINY, **arguments)


def tiny_discriminator(**arguments):
    return DCGANDiscriminator(input_shape=(32, 32, 3), filters=4, **arguments)


def z(count=16, latent=8):
    return noise("normal", count, latent)


def test_the_release_is_flipped_and_reordered(tmp_path):
    arrays = theano.released_like(GENERATOR)
    model = loaded(tiny_generator(), arrays, tmp_path)
    kernel = np.asarray(model.get_layer("up1").kernel)
    assert kernel[0, 1, 5, 7] == arrays[3][7, 5, 4, 3]
    project = np.asarray(model.get_layer("project").kernel).reshape(8, 4, 4, 16)
    assert project[3, 1, 2, 9] == arrays[0].reshape(8, 16, 4, 4)[3, 9, 1, 2]
    gamma = np.asarray(model.get_layer("project_bn").gamma).reshape(4, 4, 16)
    assert gamma[1, 2, 9] == arrays[1].reshape(16, 4, 4)[9, 1, 2]
    assert np.asarray(model.get_layer("image").kernel)[0, 0, 2, 3] == arrays[-1][3, 2, 4, 4]


def test_lists_that_do_not_fit_are_refused(tmp_path):
    prefix = theano.write_list(theano.released_like(DISCRIMINATOR), tmp_path / "200_discrim_params.jl")
    with pytest.raises(weights.WeightsError, match="do not fit model 'dcgan_generator'"):
        weights.load(tiny_generator(), prefix)
    (tmp_path / "200_discrim_params.jl_03.npy").rename(tmp_path / "03.npy")
    with pytest.raises(weights.WeightsError, match=r"numbered from 1, found numbers \[1, 2, 4, 5, 6, 7, 8\]"):
        weights.load(tiny_discriminator(), prefix)
    np.save(f"{prefix}_03.npy", np.array([{}], dtype=object))
    with pytest.raises(weights.WeightsError, match=r"_03\.npy: expected an intact NumPy array"):
        weights.load(tiny_discriminator(), prefix)
    damaged = (tmp_path / "200_discrim_params.jl_02.npy").read_bytes()[:-8]
    (tmp_path / "200_discrim_params.jl_03.npy").write_bytes(damaged)
    with pytest.raises(weights.WeightsError, match=r"_03\.npy: expected an intact NumPy array"):
        weights.load(tiny_discriminator(), prefix)


def recorded_inputs():
    return z(), images((32, 32, 3), batch=16)


def outputs_of_ours(tmp_path):
    latent, image = recorded_inputs()
    generator = loaded(tiny_generator(), theano.released_like(GENERATOR), tmp_path)
    discriminator = loaded(tiny_discriminator(), theano.released_like(DISCRIMINATOR), tmp_path)
    return {"image": np.asarray(generator(latent))[:4, ::4, ::4], "score": np.asarray(discriminator(image))}


def test_outputs_are_those_that_pytorch_recorded(tmp_path):
    with np.load(RECORDED) as recorded:
        for name, ours in outputs_of_ours(tmp_path).items():
            assert relative_difference(ours, recorded[name]) < RELATIVE_DIFFERENCE


@pytest.mark.parity
@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_values_and_gradients_equal_pytorchs(network, tmp_path):
    build, shapes, x = {
        "generator": (tiny_generator, GENERATOR, recorded_inputs()[0]),
        "discriminator": (tiny_discriminator, DISCRIMINATOR, recorded_inputs()[1]),
    }[network]
    module = getattr(theano, f"dcgan_{network}")
    arrays = theano.released_like(shapes)
    model = loaded(build(), arrays, tmp_path)
    expected = theano.channels_last(module(theano.tensors(arrays), theano.channels_first(x)))
    assert relative_difference(model(x), expected) < RELATIVE_DIFFERENCE

    loss, gradients = loss_and_gradients(model, x)
    expected_loss, expected_gradients = theano.loss_and_gradients(module, arrays, x)
    np.testing.assert_allclose(loss, expected_loss, rtol=RELATIVE_DIFFERENCE)
    # The gradients are loaded like weights, which gives them the order and layout of the model's variables.
    as_weights = loaded(build(), expected_gradients, tmp_path).trainable_variables
    for ours, theirs in zip(gradients, as_weights, strict=True):
        assert relative_difference(ours, theirs) < GRADIENT_DIFFERENCE


@pytest.mark.parity
def test_recording(tmp_path):
    latent, image = (theano.channels_first(x) for x in recorded_inputs())
    made = theano.dcgan_generator(theano.tensors(theano.released_like(GENERATOR)), latent)
    score = theano.dcgan_discriminator(theano.tensors(theano.released_like(DISCRIMINATOR)), image)
    recorded = {"image": theano.channels_last(made)[:4, ::4, ::4], "score": theano.channels_last(score)}
    if PUBLISHED:
        lists = {}
        for name in ("gen", "discrim"):
            paths = sorted(Path(PUBLISHED).glob(f"200_{name}_params.jl_*.npy"))
            lists[name] = theano.tensors([np.load(path) for path in paths])
        numbers = theano.dcgan_generator(lists["gen"], theano.channels_first(z(64, 100)))
        score = theano.dcgan_discriminator(lists["discrim"], numbers)
        recorded |= {
            "house_numbers": theano.channels_last(numbers)[:3, ::2, ::2],
            "house_number_scores": theano.channels_last(score),
        }
    elif RECORDED.is_file():
        with np.load(RECORDED) as before:
            recorded |= {name: before[name] for name in ("house_numbers", "house_number_scores")}
    file = RECORDED if os.environ.get("RECORD_FIXTURES") else tmp_path / "recorded.npz"
    with replaced(file) as temporary:
        np.savez_compressed(temporary, **recorded, provenance=f"tests/theano_gans.py, torch {version('torch')}")
    for name, ours in outputs_of_ours(tmp_path).items():
        assert relative_difference(ours, recorded[name]) < RELATIVE_DIFFERENCE


@pytest.mark.skipif(not PUBLISHED, reason="DCGAN_WEIGHTS names no folder of the published arrays")
def test_published_house_numbers():
    generator = DCGANGenerator(str(Path(PUBLISHED) / "200_gen_params.jl"), **SVHN)
    discriminator = DCGANDiscriminator(
        weights=str(Path(PUBLISHED) / "200_discrim_params.jl"), input_shape=(32, 32, 3), filters=64
    )
    numbers = np.asarray(generator(z(64, 100)))
    scores = np.asarray(discriminator(numbers))
    with np.load(RECORDED) as recorded:
        assert relative_difference(numbers[:3, ::2, ::2], recorded["house_numbers"]) < RELATIVE_DIFFERENCE
        assert relative_difference(scores, recorded["house_number_scores"]) < RELATIVE_DIFFERENCE


def test_the_discriminator_sees_through_the_published_generator():
    with np.load(RECORDED) as recorded:
        probability = 1 / (1 + np.exp(-recorded["house_number_scores"]))
    assert probability.shape == (64, 1)
    assert probability.mean() < 0.05  # it is about 0.02 for a large batch


def test_house_numbers_have_the_parameters_of_the_release():
    with without_weights():
        assert DCGANGenerator(**SVHN).count_params() == 1_446_976
        assert DCGANDiscriminator(input_shape=(32, 32, 3), filters=64).count_params() == 1_033_664


def test_moving_statistics_are_the_mean_of_the_batches_and_serve_one_image(tmp_path):
    arrays = theano.released_like(GENERATOR)
    model = tiny_generator(statistics="moving")
    report = weights.load(model, theano.write_list(arrays, tmp_path / "list"), partial=True)
    assert len(report.missing) == 6
    batches = [noise("normal", 32, 8, seed) for seed in range(3)]
    estimate_statistics(model, batches)
    layer = model.get_layer("project_bn")
    units = [np.asarray(model.get_layer("project")(batch)) for batch in batches]
    np.testing.assert_allclose(layer.moving_mean, np.mean([x.mean(0) for x in units], 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, np.mean([x.var(0) for x in units], 0), rtol=1e-4)
    assert layer.momentum == 0.9
    together = np.asarray(model(batches[0]))
    np.testing.assert_allclose(model(batches[0][:1]), together[:1], atol=1e-5)
    # With the statistics of its own batch, a generator gives nearly, but not exactly, the same images.
    own = np.asarray(loaded(tiny_generator(), arrays, tmp_path)(batches[0]))
    assert 0 < np.abs(own - together).mean() < 0.2
    with pytest.raises(ValueError, match="has no moving statistics"):
        estimate_statistics(tiny_generator(), batches)
    with pytest.raises(ValueError, match="received none"):
        estimate_statistics(model, [])


def test_what_depends_on_its_batch_is_not_exported(tmp_path):
    for write in (export.tflite, export.saved_model):
        with pytest.raises(export.ExportError, match=r"normalises by the batch in project_bn, up1_bn, up2_bn.*partial"):
            write(tiny_generator(), tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_upsampling_takes_the_same_sizes_and_parameters(upsampling):
    model = tiny_generator(upsampling=upsampling)
    assert model(z(2)).shape == (2, 32, 32, 3)
    assert model.count_params() == tiny_generator().count_params()


def test_digits_start_from_7_pixels():
    generator = DCGANGenerator(latent=8, image_shape=(28, 28, 1), filters=4, first=7)
    discriminator = DCGANDiscriminator(input_shape=(28, 28, 1), filters=4, first=7)
    assert generator.get_layer("project_map").output.shape == (None, 7, 7, 8)
    assert discriminator.get_layer("down2").output.shape == (None, 7, 7, 8)
    assert discriminator(generator(z(2))).shape == (2, 1)


def test_every_layer_starts_by_itself_from_the_global_seed():
    def kernels(seed):
        keras.utils.set_random_seed(seed)
        model = DCGANDiscriminator(input_shape=(32, 32, 3), filters=2)
        return [np.asarray(model.get_layer(name).kernel) for name in ("down1", "down2")]

    first, again, other = kernels(0), kernels(0), kernels(1)
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[1] != other[1]).all()
    assert (first[0][:, :, :2] != first[1][:, :, :, :2]).any()
    assert np.std(first[1]) == pytest.approx(0.02, rel=0.2)


def test_without_its_top_a_discriminator_gives_its_last_map():
    with without_weights():
        model = DCGANDiscriminator(**{**model_card("DCGANDiscriminator").tiny, "include_top": False})
    assert model.output_shape == (None, 4, 4, 8)


@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        (DCGANGenerator, {"image_shape": (48, 48, 3)}, r"a side of 4 times 2, 4, 8, …, received \(48, 48, 3\)"),
        (DCGANGenerator, {"image_shape": (32, 64, 3)}, "image_shape must be"),
        (DCGANGenerator, {"image_shape": (4, 4, 3)}, "image_shape must be"),
        (DCGANGenerator, {"image_shape": (28, 28, 1)}, r"a side of 4 times 2, 4, 8, …, received \(28, 28, 1\)"),
        (DCGANGenerator, {"first": 0}, "first must be a positive integer"),
        (DCGANGenerator, {"statistics": "running"}, "statistics must be one of 'batch', 'moving'"),
        (DCGANGenerator, {"upsampling": "bilinear"}, "upsampling must be one of 'transposed', 'resize'"),
        (DCGANGenerator, {"latent": 0}, "latent must be a positive integer"),
        (DCGANGenerator, {"input_tensor": keras.Input((5,))}, r"symbolic Keras tensor of \(batch, 100\)"),
        (DCGANGenerator, {"weights": "svhn"}, "unknown weights 'svhn'"),
        (DCGANDiscriminator, {"input_shape": (48, 48, 3)}, "a side of 4 times"),
        (DCGANDiscriminator, {"first": 7}, r"a side of 7 times 2, 4, 8, …, received \(64, 64, 3\)"),
        (DCGANDiscriminator, {"input_shape": (None, None, 3)}, "fixed image size"),
        (DCGANDiscriminator, {"classifier_activation": "softmax"}, "one of None, 'sigmoid'"),
    ],
)
def test_bad_arguments_are_named(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


def test_ways_through_noise():
    start, end = noise("uniform", 2, 5)
    walk = interpolate(start, end, 5)
    np.testing.assert_array_equal(walk[[0, -1]], [start, end])
    np.testing.assert_allclose(walk[2], (start + end) / 2, rtol=1e-6)
    woman, smiling, man = noise("normal", 9, (2, 5)).reshape(3, 3, 2, 5)
    np.testing.assert_array_equal(arithmetic(smiling, woman, man), smiling.mean(0) - woman.mean(0) + man.mean(0))
    np.testing.assert_array_equal(pixels(np.array([-1, 0, 1.0])), [0, 128, 255])
    np.testing.assert_array_equal(pixels(np.array([0, 1.0]), low=0), [0, 255])
    assert np.abs(noise("uniform", 8, 100)).max() <= 1 < np.abs(noise("normal", 8, 100)).max()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: noise("gaussian", 2, 5), "distribution must be one of 'normal', 'uniform'"),
        (lambda: noise("normal", 0, 5), "count must be a positive integer"),
        (lambda: interpolate(np.zeros(3), np.zeros(4), 2), r"one shape, received \(3,\) and \(4,\)"),
        (lambda: interpolate(np.zeros(3), np.zeros(3), 0), "steps must be a positive integer"),
        (lambda: arithmetic(np.zeros(3), np.zeros(3), np.zeros(3)), r"three times \(count, \*shape\)"),
    ],
)
def test_bad_noise_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
