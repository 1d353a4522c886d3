"""Training of generators against discriminators."""

import csv
import json
import math
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_segattn import DCGANDiscriminator, DCGANGenerator, GRANDiscriminator, GRANGenerator
from keras_segattn.generation import ConditionalDCGANDiscriminator, ConditionalDCGANGenerator
from keras_segattn.training import GAN_RECIPES, CheckpointError, GANRecipe, TrainingDivergedError, train_gan
from keras_segattn.training.gan_recipes import LinearDecay
from keras_segattn.training.gan_trainer import GANTrainer, Optimizers, discriminator_loss, generator_loss

# float32 against a float64 computation of the same few numbers.
TOLERANCE = 1e-5
# Smallest images for which the discriminator has batch normalisation.
LATENT, SHAPE = 4, (16, 16, 1)
FILES = {"checkpoint.npz", "discriminator.keras", "history.csv", "model.keras", "samples", "settings.json"}


def images(count=12, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, *SHAPE)).astype("float32")


def batches(count=12, batch=4):
    return tf.data.Dataset.from_tensor_slices(images(count)).batch(batch)


def networks(statistics="batch"):
    return (
        DCGANGenerator(latent=LATENT, image_shape=SHAPE, filters=2, statistics=statistics),
        DCGANDiscriminator(input_shape=SHAPE, filters=2, statistics=statistics),
    )


def trainer_of(recipe, generator, discriminator):
    return GANTrainer(generator, discriminator, recipe, Optimizers(*recipe.make_optimizers(1, 3)))


def values(variables):
    return [np.array(variable) for variable in variables]


def all_changed(before, variables):
    return all(not np.array_equal(old, new) for old, new in zip(before, variables, strict=True))


def none_changed(before, variables):
    return all(np.array_equal(old, new) for old, new in zip(before, variables, strict=True))


def test_losses_are_cross_entropies():
    real, generated = np.array([[2.0], [-1.0], [0.5]]), np.array([[-3.0], [0.2], [1.0]])

    def probability(logits):
        return 1 / (1 + np.exp(-logits))

    expected = -np.log(probability(real)).mean() - np.log(1 - probability(generated)).mean()
    assert float(discriminator_loss(real, generated)) == pytest.approx(expected, rel=TOLERANCE)
    assert float(generator_loss(generated)) == pytest.approx(-np.log(probability(generated)).mean(), rel=TOLERANCE)
    # The generator's loss does not level off where the discriminator is sure.
    assert float(generator_loss(np.array([[-50.0]]))) == pytest.approx(50, rel=TOLERANCE)


def test_each_update_changes_one_network():
    generator, discriminator = networks("moving")
    trainer = trainer_of(GANRecipe(), generator, discriminator)
    g, d = generator.trainable_variables, discriminator.trainable_variables
    before_g, before_d = values(g), values(d)
    trainer.discriminator_step(images(8))
    assert none_changed(before_g, g)
    assert all_changed(before_d, d)
    before_d = values(d)
    trainer.generator_step(8)
    assert all_changed(before_g, g)
    assert none_changed(before_d, d)
    assert [int(optimizer.iterations) for optimizer in vars(trainer.optimizers).values()] == [1, 1]


def test_a_step_draws_noise_for_each_update():
    trainer = trainer_of(GANRecipe(), *networks())
    first, second = (np.asarray(trainer.noise(64)) for _ in range(2))
    assert first.shape == (64, LATENT)
    assert not np.array_equal(first, second)
    assert -1 <= first.min() < -0.9
    assert 0.9 < first.max() <= 1
    normal = np.asarray(trainer_of(GANRecipe(noise="normal"), *networks()).noise(64))
    assert np.abs(normal).max() > 1.5


def test_real_and_generated_images_are_normalised_apart():
    generator, discriminator = networks()
    trainer = trainer_of(GANRecipe(), generator, discriminator)
    real = images(6)
    expected = np.asarray(discriminator(real))
    z = np.asarray(trainer_of(GANRecipe(), generator, discriminator).noise(6))  # same seed, so same noise
    made = generator(z)
    together = np.asarray(discriminator(np.concatenate([real, made])))
    expected_made = np.asarray(discriminator(made))
    _, real_scores, made_scores = trainer.discriminator_step(real)
    np.testing.assert_allclose(real_scores, expected, rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose(made_scores, expected_made, rtol=TOLERANCE, atol=TOLERANCE)
    assert np.abs(real_scores - together[:6]).max() > 100 * TOLERANCE  # else the test could not tell


@pytest.mark.parametrize(
    ("penalized", "kinds"), [("all", None), ("discriminator_dense", {"fc/kernel", "score/kernel"})]
)
def test_penalty_is_a_part_of_the_gradient(penalized, kinds):
    generator = GRANGenerator(latent=LATENT, image_shape=SHAPE, filters=2, steps=2)
    discriminator = GRANDiscriminator(input_shape=SHAPE, filters=2, units=3)
    recipe = GANRecipe(l2=0.5, penalized=penalized, beta_1=0.0)
    trainer = trainer_of(recipe, generator, discriminator)
    variables = discriminator.trainable_variables
    before = values(variables)
    steps = []
    optimizer = trainer.optimizers.discriminator
    optimizer.apply = lambda gradients, _: steps.append(values(gradients))
    with tf.GradientTape() as tape:
        loss = keras.ops.sum(discriminator(images(8)))
    trainer.update(discriminator, optimizer, tape, loss)
    with tf.GradientTape() as tape:
        loss = keras.ops.sum(discriminator(images(8)))
    plain = tape.gradient(loss, [variable.value for variable in variables])
    for variable, old, gradient, found in zip(variables, before, plain, steps[0], strict=True):
        penalty = 0.5 if kinds is None or variable.path in kinds else 0.0
        np.testing.assert_allclose(found, gradient + penalty * old, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.usefixtures("eagerly")
def test_leaves_a_run_directory(tmp_path, capsys):
    generator, discriminator = networks()
    before = values(generator.trainable_variables), values(discriminator.trainable_variables)
    history = train_gan(generator, discriminator, batches(), epochs=2, run_dir=tmp_path)
    assert "Epoch 2/2" in capsys.readouterr().out
    assert all_changed(before[0], generator.trainable_variables)
    assert all_changed(before[1], discriminator.trainable_variables)
    names = {"discriminator_loss", "generator_loss", "generated_score", "real_score"}
    assert set(history.history) == names
    assert all(len(epochs) == 2 and all(map(math.isfinite, epochs)) for epochs in history.history.values())
    assert {path.name for path in tmp_path.iterdir()} == FILES
    with (tmp_path / "history.csv").open(newline="") as file:
        assert set(next(csv.DictReader(file))) == {"epoch"} | names
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert (settings["steps_per_epoch"], settings["epochs"], settings["noise"]) == (3, 2, "uniform")
    saved = keras.saving.load_model(tmp_path / "model.keras")
    for have, want in zip(saved.get_weights(), generator.get_weights(), strict=True):
        np.testing.assert_array_equal(have, want)
    pictures = [Image.open(tmp_path / "samples" / f"epoch_00{epoch}.png") for epoch in (1, 2)]
    side = 8 * (2 * SHAPE[0] + 2) - 2
    assert [picture.size for picture in pictures] == [(side, side)] * 2
    # Both pictures come from the same noise, so they differ only by what was learned in one epoch of three steps.
    difference = np.abs(np.subtract(*(np.asarray(picture, "float32") for picture in pictures)))
    assert 0 < difference.mean() < 16


@pytest.mark.usefixtures("eagerly")
def test_a_finished_training_is_found_and_other_settings_do_not_go_on_with_it(tmp_path):
    models = networks("moving")
    train_gan(*models, batches(), epochs=1, recipe="dcgan-mnist", run_dir=tmp_path, progress=False)
    found = networks("moving")
    train_gan(*found, batches(), epochs=1, recipe="dcgan-mnist", run_dir=tmp_path, progress=False)
    for model, expected in zip(found, models, strict=True):
        for have, want in zip(model.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_array_equal(have, want)
    with pytest.raises(CheckpointError, match="noise"):
        train_gan(*networks("moving"), batches(), epochs=1, recipe="gran", run_dir=tmp_path)


@pytest.mark.usefixtures("eagerly")
def test_divergence_is_an_error_and_keeps_the_files(tmp_path):
    train_gan(*networks(), batches(), epochs=1, run_dir=tmp_path, progress=False)
    before = (tmp_path / "checkpoint.npz").read_bytes()
    broken = images()
    broken[6] = np.nan  # in a later batch, since the first one is checked
    data = tf.data.Dataset.from_tensor_slices(broken).batch(4)
    with pytest.raises(TrainingDivergedError, match=r"discriminator_loss became nan at epoch 2, step 2"):
        train_gan(*networks(), data, epochs=2, run_dir=tmp_path, progress=False)
    assert (tmp_path / "checkpoint.npz").read_bytes() == before
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["epoch_001.png"]


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("noise", [pytest.param("shared", marks=pytest.mark.thorough), "per_step"])
def test_gran_on_labelled_batches_by_epoch(noise):
    class ByEpoch:
        def __len__(self):
            return 2

        def __call__(self, epoch):  # noqa: ARG002
            data = (images(8) / 2 + 0.5, np.arange(8))
            return tf.data.Dataset.from_tensor_slices(data).batch(4)

    generator = GRANGenerator(latent=LATENT, image_shape=SHAPE, filters=2, steps=2, noise=noise)
    discriminator = GRANDiscriminator(input_shape=SHAPE, filters=2, units=3)
    history = train_gan(generator, discriminator, ByEpoch(), epochs=1, recipe="gran", progress=False)
    assert 0 < history.history["real_score"][0] < 1


def conditional():
    small = {"filters": 2, "units": 4, "classes": 3}
    return ConditionalDCGANGenerator(latent=LATENT, **small), ConditionalDCGANDiscriminator(**small)


def labelled(label):
    image = np.random.default_rng(0).uniform(0, 1, (8, 28, 28, 1)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((image, np.array(label))).batch(4)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.thorough
def test_conditional_networks_are_told_the_class(tmp_path):
    generator, discriminator = conditional()
    seen = []
    inner = discriminator.call
    discriminator.call = lambda inputs, **options: seen.append(np.array(inputs["label"])) or inner(inputs, **options)
    trainer = trainer_of(GANRecipe(), generator, discriminator)
    trainer.run_eagerly = True
    trainer.fit(labelled([0, 1, 2, 1] * 2), epochs=1, shuffle=False, verbose=0)
    assert len(seen) == 2 * 3  # a step scores real images once, and generated ones twice
    assert all(np.array_equal(label, np.eye(3)[[0, 1, 2, 1]]) for label in seen)

    networks = conditional()
    train_gan(*networks, labelled([0, 1, 2, 1] * 2), epochs=1, recipe="dcgan-mnist", run_dir=tmp_path, progress=False)
    assert (tmp_path / "samples" / "epoch_001.png").exists()
    with pytest.raises(ValueError, match=r"labels \(batch,\), 0\.\.2, .*received \[0 1 3 1\]"):
        train_gan(*networks, labelled([0, 1, 3, 1] * 2), epochs=1)
    with pytest.raises(ValueError, match=r"must give \(image, label\).*received None"):
        train_gan(*networks, labelled([0] * 8).map(lambda image, _: image), epochs=1)
    with pytest.raises(ValueError, match=r"as the only inputs, or 'z' and 'label'"):
        train_gan(
            networks[0], DCGANDiscriminator(input_shape=(28, 28, 1), first=7, filters=2), labelled([0] * 8), epochs=1
        )
    with pytest.raises(ValueError, match="the same classes of both"):
        train_gan(networks[0], ConditionalDCGANDiscriminator(filters=2, units=4), labelled([0] * 8), epochs=1)


def test_learns_what_is_bright():
    """A generator that begins with grey images makes brighter ones after training on white images."""
    keras.utils.set_random_seed(0)
    generator, discriminator = networks()
    white = tf.data.Dataset.from_tensors(np.full((16, *SHAPE), 0.9, "float32")).repeat(40)
    z = np.random.default_rng(0).uniform(-1, 1, (32, LATENT)).astype("float32")
    before = float(np.mean(generator(z)))
    recipe = GANRecipe(generator_rate=1e-2, discriminator_rate=1e-3)
    train_gan(generator, discriminator, white, epochs=1, recipe=recipe, progress=False)
    assert float(np.mean(generator(z))) > before + 0.2


def test_rates_of_the_recipes():
    generator, discriminator = GAN_RECIPES["gran"].make_optimizers(epochs=100, steps_per_epoch=10)
    rates = [float(generator._learning_rate(step)) for step in (0, 9, 10, 500)]
    assert rates == pytest.approx([1e-4, 1e-4, 1e-4 / 1.02, 1e-4 / 2])
    assert float(discriminator._learning_rate(0)) == pytest.approx(4e-5)
    assert (generator.beta_1, generator.beta_2, generator.epsilon) == (0.0, 0.999, 1e-8)
    generator, _ = GAN_RECIPES["dcgan-mnist"].make_optimizers(epochs=200, steps_per_epoch=10)
    rates = [float(generator._learning_rate(step)) for step in (0, 1000, 1500, 2000, 2001)]
    assert rates == pytest.approx([2e-4, 2e-4, 1e-4, 0, 0])
    generator, _ = GAN_RECIPES["dcgan"].make_optimizers(epochs=25, steps_per_epoch=10)
    assert (generator.beta_1, float(generator.learning_rate)) == (0.5, pytest.approx(2e-4))
    assert LinearDecay.from_config(LinearDecay(1.0, 8).get_config())(6) == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": "laplace"}, "noise must be one of 'normal', 'uniform'"),
        ({"schedule": "cosine"}, "schedule must be one of"),
        ({"penalized": "none"}, "penalized must be one of"),
        ({"generator_rate": 0.0}, "expected rates above 0, received 0.0 and 0.0002"),
        ({"beta_1": 1.0}, r"beta_1 in 0\.\.1"),
        ({"l2": -1.0}, "l2 >= 0"),
    ],
)
def test_bad_recipes(change, message):
    with pytest.raises(ValueError, match=message):
        replace(GANRecipe(), **change)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "epochs must be a positive integer"),
        ({"recipe": "DCGANs"}, r"unknown recipe 'DCGANs'; expected one of dcgan, dcgan-mnist, gran; .* 'dcgan'\?"),
        ({"train_data": batches().map(lambda x: x + 0.5)}, r"in -1\.\.1 like those .*, received float32 in"),
        ({"train_data": batches().map(lambda x: tf.cast(x, tf.uint8))}, "received uint8"),
        ({"train_data": batches().map(lambda x: x / 0)}, r"in -1\.\.1"),
        ({"train_data": batches().map(lambda x: x[:, :4])}, r"gives images \(4, 4, 16, 1\), 'dcgan_generator' makes"),
        ({"train_data": batches().repeat()}, "never ends"),
        ({"discriminator": DCGANDiscriminator(input_shape=(32, 32, 1), filters=2)}, "the same images"),
        ({"discriminator": DCGANDiscriminator(False, input_shape=SHAPE, filters=2)}, r"scores \(batch, 1\)"),
        (
            {"discriminator": DCGANDiscriminator(input_shape=SHAPE, filters=2, classifier_activation="sigmoid")},
            r"ends in sigmoid.*classifier_activation=None",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    generator, discriminator = networks()
    given = {"generator": generator, "discriminator": discriminator, "train_data": batches(), "epochs": 1}
    with pytest.raises(ValueError, match=message):
        train_gan(**given | arguments)


def test_other_models_and_backends(monkeypatch):
    generator, discriminator = networks()
    with pytest.raises(TypeError, match=r"functional keras\.Model, received Dense"):
        train_gan(keras.layers.Dense(3), discriminator, batches(), epochs=1)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="needs the backend 'tensorflow', received 'jax'"):
        train_gan(generator, discriminator, batches(), epochs=1)
