"""Training of generators, each against its discriminator."""

import dataclasses
import inspect
from typing import Any

import keras

from keras_segattn.data import PictureBatches
from keras_segattn.facts import facts_of
from keras_segattn.fields import Noise, OneHot, Picture
from keras_segattn.generation.latent import black
from keras_segattn.registry import model_card
from keras_segattn.training.gan import train_gan
from keras_segattn.training.gan_recipes import GAN_RECIPES, GANRecipe
from keras_segattn.training.workflows.job import Job, Workflow, filled

# Arguments that generator and discriminator both have, but with values of their own.
APART = ("name", "weights", "input_tensor")


def train(job: Job) -> None:
    """Train a generator on the distribution of noise that it is built for, whatever the recipe says."""
    shape = job.shape("image_shape")
    conditional = any(isinstance(kind, OneHot) for kind in job.card.inputs.values())
    if conditional and job.data.data.labels is None:
        raise ValueError(f"{job.card.name} is told the class of an image: {job.data.text} has no classes")
    known = {"classes": job.classes()} if conditional else {}
    arguments = job.filled(image_shape=shape, **known)
    generator = job.card.builder(**arguments)
    discriminator = partner_of(job, arguments, shape)
    facts = facts_of(generator, labels=job.names if conditional else None, training=job.sentence)
    [noise] = [kind for kind in facts.inputs.values() if isinstance(kind, Noise)]
    batches = PictureBatches(
        job.data.data.examples,
        pixels_of(generator, shape[-1]),
        shape,
        batch_size=job.batch_size,
        shuffle=True,
        seed=job.seed,
        drop_remainder=True,
    )
    job.begin()
    train_gan(
        generator,
        discriminator,
        batches,
        epochs=job.epochs,
        recipe=dataclasses.replace(job.recipe, noise=noise.distribution),
        run_dir=job.run_dir,
        seed=job.seed,
        progress=job.progress,
        facts=facts,
    )


def pixels_of(generator: keras.Model, channels: int) -> Picture:
    """Return the normalisation of pictures to the range of a generator's images."""
    low = black(generator)
    std = 255 / (1 - low)
    return Picture("grey" if channels == 1 else "RGB", mean=(-low * std,) * channels, std=(std,) * channels)


def partner_of(job: Job, arguments: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """Build the discriminator of a generator, for the same images and with the arguments that both have."""
    if job.card.training.partner is None:
        raise ValueError(f"{job.card.name} has no discriminator to be trained against")
    card = model_card(job.card.training.partner)
    common = set(inspect.signature(card.builder).parameters) - set(APART)
    shared = {name: value for name, value in arguments.items() if name in common}
    return card.builder(**filled(card, shared, job.data.text, input_shape=shape))


def with_rate(recipe: GANRecipe, rate: float) -> GANRecipe:
    """Return a recipe with another rate of the generator; the discriminator's rate changes in proportion."""
    ratio = recipe.discriminator_rate / recipe.generator_rate
    return dataclasses.replace(recipe, generator_rate=rate, discriminator_rate=rate * ratio)


WORKFLOW = Workflow(train=train, recipes=GAN_RECIPES, validates=False, with_rate=with_rate)
