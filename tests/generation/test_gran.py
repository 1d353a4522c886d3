"""GRAN: shapes, counts, weights that the steps share, parity."""

import math

import keras
import numpy as np
import pytest
import theano_gans as theano
from harness import images, loss_and_gradients, randomise, without_weights
from torch_oracles import relative_difference

from keras_segattn import GRANDiscriminator, GRANGenerator
from keras_segattn.generation import estimate_statistics, noise
from keras_segattn.generation.gran import MNIST, MNIST_DISCRIMINATOR

# Rounding of sums of a few hundred float32 products, accumulated in another order, through a dozen normalisations.
RELATIVE_DIFFERENCE = 1e-4
# The same for gradients, whose sums over a batch nearly cancel; before a normalisation, those of biases are rounding.
GRADIENT_DIFFERENCE = 1e-3
TINY = {"latent": 6, "image_shape": (16, 16, 3), "filters": 3}


def randomised(model):
    randomise(model)
    return model


def variables(model):
    """Our name of each trainable variable → its value."""
    return {"/".join(v.path.split("/")[-2:]).replace("/", "."): v.numpy() for v in model.trainable_variables}


def test_mnist_sizes():
    with without_weights():
        generator, discriminator = GRANGenerator(**MNIST), GRANDiscriminator(**MNIST_DISCRIMINATOR)
    assert generator.output_shape == (None, 28, 28, 1)
    # h_z, project, up1 and delta; down1 and down2, both normalised; h_c: kernels, biases, gains and shifts.
    decoder = (100 * 100 + 300) + 200 * 12544 + 3 * 12544 + 256 * 128 * 25 + 128 + 128 * 25 + 1
    encoder = 25 * 128 + 256 + 25 * 128 * 256 + 512 + 12544 * 100 + 300
    assert generator.count_params() == decoder + encoder
    assert discriminator.count_params() == 25 * 80 + 160 + 25 * 80 * 40 + 80 + 49 * 40 * 100 + 100 + 100


@pytest.mark.parametrize("kind", ["shared", "per_step"])
def test_parameters_do_not_depend_on_the_number_of_steps(kind):
    with without_weights():
        counts = {GRANGenerator(steps=steps, noise=kind, **TINY).count_params() for steps in (2, 3, 5)}
        moving = [GRANGenerator(steps=steps, noise=kind, statistics="moving", **TINY) for steps in (2, 4)]
    assert len(counts) == 1
    assert len({sum(math.prod(v.shape) for v in model.trainable_variables) for model in moving}) == 1


def test_one_step_is_a_plain_generator():
    model = randomised(GRANGenerator(steps=1, **TINY))
    names = {layer.name for layer in model.layers}
    assert not [name for name in names if name.startswith(("down", "h_c", "project_c", "canvas"))]
    z = noise("normal", 8, 6)
    stroke = keras.Model(model.input, model.get_layer("delta").output)(z)
    np.testing.assert_allclose(model(z), keras.ops.sigmoid(stroke), atol=1e-6)


def test_the_canvas_is_the_sum_of_the_strokes_and_steps_see_what_was_painted():
    model = randomised(GRANGenerator(steps=3, **TINY))
    nodes = model.get_layer("delta")._inbound_nodes
    strokes = keras.Model(model.input, [node.output_tensors[0] for node in nodes])(noise("normal", 8, 6))
    assert len(strokes) == 3
    np.testing.assert_allclose(model(noise("normal", 8, 6)), keras.ops.sigmoid(sum(strokes)), atol=1e-6)
    assert relative_difference(strokes[1], strokes[0]) > 0.01  # from the same noise


def test_noise_of_every_step_counts_unless_it_is_shared():
    z = noise("normal", 8, (3, 6))
    model = randomised(GRANGenerator(steps=3, noise="per_step", **TINY))
    shared = GRANGenerator(steps=3, **TINY)
    shared.set_weights(model.get_weights())
    first = np.repeat(z[:, :1], 3, axis=1)
    np.testing.assert_allclose(model(first), shared(z[:, 0]), atol=1e-5)
    for step in range(3):
        changed = z.copy()
        changed[:, step] = noise("normal", 8, 6, seed=7)
        assert np.abs(np.asarray(model(changed)) - np.asarray(model(z))).max() > 1e-3


def test_moving_statistics_of_every_step():
    model = randomised(GRANGenerator(steps=3, statistics="moving", **TINY))
    batch = noise("normal", 64, 6)
    estimate_statistics(model, [batch])
    # Averages over a single batch are its own statistics, so inference gives the same as training.
    np.testing.assert_allclose(model(batch), model(batch, training=True), atol=1e-4)
    np.testing.assert_allclose(model(batch[:1]), np.asarray(model(batch))[:1], atol=1e-5)
    means = np.asarray(model.get_layer("project_bn").moving_mean)
    assert means.shape == (3, 4 * 4 * 6)
    assert relative_difference(means[1], means[0]) > 0.01


@pytest.mark.parity
@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"steps": 3}, (6,)),
        ({"steps": 2, "noise": "per_step", "normalize_last": True, "first": 7, "image_shape": (28, 28, 1)}, (2, 6)),
    ],
)
def test_generator_equals_pytorchs_in_value_and_gradient(arguments, shape):
    model = randomised(GRANGenerator(**{**TINY, **arguments}))
    options = {
        "steps": arguments["steps"],
        "first": arguments.get("first", 4),
        "noise": arguments.get("noise", "shared"),
    }
    check(model, noise("normal", 16, shape), lambda w, x: theano.gran_generator(w, x, **options))


@pytest.mark.parity
def test_discriminator_equals_pytorchs_in_value_and_gradient():
    model = randomised(GRANDiscriminator(input_shape=(16, 16, 3), filters=3, units=5))
    check(model, images((16, 16, 3), batch=16), theano.gran_discriminator)


def check(model, x, oracle):
    named = variables(model)

    def module(leaves, inputs):
        return oracle(dict(zip(named, leaves, strict=True)), inputs)

    values = list(named.values())
    expected = theano.channels_last(module(theano.tensors(values), theano.channels_first(x)))
    assert relative_difference(model(x), expected) < RELATIVE_DIFFERENCE
    loss, gradients = loss_and_gradients(model, x)
    expected_loss, expected_gradients = theano.loss_and_gradients(module, values, x)
    np.testing.assert_allclose(loss, expected_loss, rtol=RELATIVE_DIFFERENCE)
    largest = max(np.abs(gradient).max() for gradient in expected_gradients)
    for name, ours, theirs in zip(named, gradients, expected_gradients, strict=True):
        scale = max(np.abs(theirs).max(), GRADIENT_DIFFERENCE * largest)
        assert np.abs(ours - theirs).max() < GRADIENT_DIFFERENCE * scale, name


@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        (GRANGenerator, {"steps": 0}, "steps must be a positive integer"),
        (GRANGenerator, {"noise": "none"}, "noise must be one of 'shared', 'per_step'"),
        (GRANGenerator, {"image_shape": (28, 28, 1)}, r"a side of 4 times 2, 4, 8, …, received \(28, 28, 1\)"),
        (GRANGenerator, {"statistics": None}, "statistics must be one of"),
        (GRANGenerator, {"normalize_last": "yes"}, "normalize_last must be one of True, False"),
        (GRANGenerator, {"noise": "per_step", "input_tensor": keras.Input((100,))}, r"of \(batch, 5, 100\)"),
        (GRANDiscriminator, {"first": 7}, r"a side of 7 times 2, 4, 8, …, received \(32, 32, 3\)"),
        (GRANDiscriminator, {"units": 0}, "units must be a positive integer"),
    ],
)
def test_bad_arguments_are_named(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)
