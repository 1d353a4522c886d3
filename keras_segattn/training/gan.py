"""Resumable training of a generator against a discriminator, with the recipes of DCGAN and GRAN."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_segattn import visualize
from keras_segattn.facts import Facts
from keras_segattn.generation.latent import black, generate, noise
from keras_segattn.graph import functional
from keras_segattn.training.engine import Run, fit, plain
from keras_segattn.training.gan_recipes import GAN_RECIPES, GANRecipe
from keras_segattn.training.gan_trainer import GANTrainer, Optimizers, class_count, input_shapes, noise_shape
from keras_segattn.training.recipes import resolve_recipe
from keras_segattn.training.recorder import save_with_facts
from keras_segattn.training.source import Data, Source, check_logits

# Number of images in the picture that is written after every epoch, and number of its columns.
SAMPLES, COLUMNS = 64, 8


def train_gan(
    generator: keras.Model,
    discriminator: keras.Model,
    train_data: Data,
    *,
    epochs: int,
    recipe: str | GANRecipe = "dcgan",
    run_dir: str | PathLike[str] | None = None,
    resume: bool = True,
    checkpoint_steps: int | None = None,
    mixed_precision: bool | str = False,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: bool = True,
    facts: Facts | None = None,
) -> keras.callbacks.History:
    """Train a generator and its discriminator in turn; the defaults are those of Radford et al. 2016, section 4.

    These are Adam with rate 2e-4 and β1 = 0.5, and batches of 128 images. A step updates the discriminator, then the
    generator, by its loss -log D(G(z)). `GAN_RECIPES` holds other recipes.

    The run directory holds `checkpoint.npz` (weights, optimizers, random seeds, history), written after every epoch,
    `samples/epoch_001.png` … (images from the same noise every time), `history.csv`, `settings.json` and, at the end,
    `model.keras` (the generator) and `discriminator.keras`. Every file appears complete or not at all. If training is
    killed at any time, the same call goes on with the epoch after the checkpoint; if the batches are a function of the
    epoch, it ends with the weights of an uninterrupted run. Training needs the TensorFlow backend and a single device.

    Args:
        generator: functional model from noise to images `(batch, height, width, 1 or 3)`, trained in place; if it is
            conditional, from `"z"` and `"label"`.
        discriminator: functional model from such images to logits `(batch, 1)`, trained in place; if it is conditional,
            from `"image"` and `"label"`.
        train_data: batches of float32 images `(batch, height, width, channels)` in the generator's range (-1..1 for
            DCGAN, 0..1 for GRAN), or of `(image, label)` with integer labels `(batch,)`, 0..classes-1, which only
            conditional networks use: a function of the epoch with a length, a finite `tf.data.Dataset`, or a
            `keras.utils.PyDataset`.
        epochs: passes over the data, those before an interruption included.
        recipe: name in `GAN_RECIPES`, or a `GANRecipe`.
        run_dir: directory for the files, made if missing; `None` writes nothing.
        resume: whether to go on from the run directory's checkpoint; `False` starts again and overwrites it.
        checkpoint_steps: number of steps after which a checkpoint is written within an epoch, for data that are a
            function of the epoch; `None` writes one after every epoch only.
        mixed_precision: `True` or `"mixed_float16"`, with loss scaling, or `"mixed_bfloat16"`; weights stay float32.
        seed: seed of the noise.
        callbacks: further Keras callbacks; their own state is not part of the checkpoint.
        progress: whether to show Keras' progress bar.
        facts: Facts that are stored with the generator, such as names of classes; `None` stores what `facts_of` finds.

    Returns:
        Keras' history of all epochs: `"discriminator_loss"`, `"generator_loss"`, and the mean probability of being real
        that the discriminator gives to real images (`"real_score"`) and to generated ones (`"generated_score"`).

    Raises:
        TypeError: if a model is not functional or the data are of an unknown kind.
        ValueError: if an argument is wrong, the networks do not fit each other or the first batch does not fit them.
        RuntimeError: if Keras' backend is not TensorFlow.
        CheckpointError: if the checkpoint is damaged, or belongs to another model or other settings.
        TrainingDivergedError: if a loss or a weight becomes NaN or infinite.

    Example:
        >>> generator = DCGANGenerator(image_shape=(28, 28, 1), filters=32, first=7)
        >>> discriminator = DCGANDiscriminator(input_shape=(28, 28, 1), filters=32, first=7)
        >>> history = train_gan(generator, discriminator, images, epochs=20, run_dir="run")
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(f"train_gan needs the backend 'tensorflow', received {keras.backend.backend()!r}")
    run = Run(
        epochs=epochs,
        run_dir=run_dir,
        resume=resume,
        checkpoint_steps=checkpoint_steps,
        monitor=None,
        mixed_precision=mixed_precision,
        callbacks=callbacks,
        progress=progress,
        facts=facts,
    )
    chosen = resolve_recipe(recipe, GAN_RECIPES)
    generator, discriminator = functional(generator), functional(discriminator)
    check_networks(generator, discriminator)
    train = Source.of(train_data, "train_data")
    check_gan_batch(train.first_batch(0), generator, train.name)

    # Both networks normalise by the statistics of the whole batch, which needs a single device.
    with run.scope(generator, replicas=False), run.scope(discriminator, replicas=False):
        optimizers = Optimizers(*(run.scaled(one) for one in chosen.make_optimizers(epochs, train.steps)))
        trainer = GANTrainer(generator, discriminator, chosen, optimizers, seed)
    settings = {
        "generator_optimizer": plain(keras.saving.serialize_keras_object(optimizers.generator)),
        "discriminator_optimizer": plain(keras.saving.serialize_keras_object(optimizers.discriminator)),
        "noise": chosen.noise,
        "l2": chosen.l2,
        "penalized": chosen.penalized,
    }
    watchers: list[keras.callbacks.Callback] = []
    directory = run.directory
    if directory is not None:
        z: Any = noise(chosen.noise, SAMPLES, noise_shape(generator), seed)
        if classes := class_count(generator):  # images of all classes in turn
            z = {"z": z, "label": np.eye(classes, dtype="float32")[np.arange(SAMPLES) % classes]}
        watchers.append(GeneratedPictures(generator, z, directory / "samples"))
    history = fit(
        trainer,
        [generator, discriminator],
        train,
        None,
        run,
        settings=settings,
        optimizer=optimizers,
        watchers=watchers,
    )
    if directory is not None:
        save_with_facts(discriminator, directory / "discriminator.keras")
    return history


class GeneratedPictures(keras.callbacks.Callback):
    """Callback that draws the generator's images of the same noise after every epoch.

    Args:
        generator: model that makes the images.
        z: input of the generator.
        folder: folder for `epoch_001.png` …, made if missing.
    """

    def __init__(self, generator: keras.Model, z: Any, folder: Path) -> None:
        super().__init__()
        self.generator, self.z, self.folder = generator, z, folder

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Write the picture of an epoch."""
        self.folder.mkdir(parents=True, exist_ok=True)
        grid = visualize.image_grid(generate(self.generator, self.z), COLUMNS, scale=2)
        visualize.save(grid, self.folder / f"epoch_{epoch + 1:03d}.png")


def check_networks(generator: keras.Model, discriminator: keras.Model) -> None:
    """Check that a generator and a discriminator fit each other.

    Raises:
        ValueError: if the inputs are those of neither plain nor conditional networks, if images or classes differ
            between the two, or if the scores are not logits `(batch, 1)`.
    """
    makes, takes = input_shapes(generator), input_shapes(discriminator)
    conditional = isinstance(makes, dict) and isinstance(takes, dict)
    if conditional and (set(makes), set(takes)) == ({"z", "label"}, {"image", "label"}):
        if makes["label"] != takes["label"]:
            raise ValueError(f"expected the same classes of both, received {makes['label']} and {takes['label']}")
        takes = takes["image"]
    elif not (isinstance(makes, tuple) and isinstance(takes, tuple)):
        raise ValueError(
            "expected noise and images as the only inputs, or 'z' and 'label', and 'image' and 'label', "
            f"received {makes} and {takes}"
        )
    images = generator.output_shape
    if images != takes or len(images) != 4 or images[-1] not in (1, 3):
        raise ValueError(
            f"expected the same images (batch, height, width, 1 or 3) of both, {generator.name!r} makes {images}, "
            f"{discriminator.name!r} takes {takes}"
        )
    if discriminator.output_shape != (None, 1):
        raise ValueError(f"expected scores (batch, 1) of {discriminator.name!r}, received {discriminator.output_shape}")
    check_logits(discriminator)


def check_gan_batch(batch: Any, generator: keras.Model, name: str) -> None:
    """Raise `ValueError` unless a batch holds images like the generator's, and labels if that is conditional."""
    images, labels, _ = keras.utils.unpack_x_y_sample_weight(batch)
    image = ops.convert_to_numpy(images)
    if image.ndim != 4 or image.shape[1:] != generator.output_shape[1:]:
        raise ValueError(f"{name} gives images {image.shape}, {generator.name!r} makes {generator.output_shape}")
    low = black(generator)
    if not np.issubdtype(image.dtype, np.floating) or not (image >= low).all() or not (image <= 1).all():
        raise ValueError(
            f"images of {name} must be floating point numbers in {low:g}..1 like those of {generator.name!r}, "
            f"received {image.dtype} in {image.min():g}..{image.max():g}"
        )
    if classes := class_count(generator):
        label = None if labels is None else ops.convert_to_numpy(labels)
        if label is None or label.shape != image.shape[:1] or not np.isin(label, np.arange(classes)).all():
            raise ValueError(
                f"{name} must give (image, label) with labels (batch,), 0..{classes - 1}, for {generator.name!r}, "
                f"received {label}"
            )
