"""Resumable training of detectors, by the losses that a `RegionTrainer` computes."""

from collections.abc import Sequence
from os import PathLike

import keras

from keras_segattn.data.instance_batches import InstanceBatches
from keras_segattn.facts import Facts
from keras_segattn.training.engine import Run, fit
from keras_segattn.training.instance_recipes import INSTANCE_RECIPES, InstanceRecipe
from keras_segattn.training.recipes import resolve_recipe
from keras_segattn.training.region_trainer import RegionTrainer
from keras_segattn.training.source import Source


def train_instances(
    trainer: RegionTrainer,
    train_data: InstanceBatches,
    validation_data: InstanceBatches | None = None,
    *,
    epochs: int,
    recipe: str | InstanceRecipe = "adamw-cosine",
    run_dir: str | PathLike[str] | None = None,
    resume: bool = True,
    mixed_precision: bool | str = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: bool = True,
    facts: Facts | None = None,
) -> keras.callbacks.History:
    """Train a detector on pictures with their objects.

    The run directory holds `checkpoint.npz`, written after every epoch, `history.csv`, `settings.json`, `best.keras`
    (epoch of the lowest loss on the validation data) and, at the end, `model.keras`. Every file appears complete or not
    at all. If training is killed at any time, the same call goes on with the epoch after the checkpoint.

    Args:
        trainer: detector with its losses, an `InstanceTrainer` or a `CascadeTrainer`; this function compiles it.
        train_data: pictures with their objects.
        validation_data: pictures with their objects, on which the losses are computed after every epoch.
        epochs: passes over the data, those before an interruption included.
        recipe: name in `INSTANCE_RECIPES`, or an `InstanceRecipe`.
        run_dir: directory for the files, made if missing; `None` writes nothing.
        resume: whether to go on from the run directory's checkpoint; `False` starts again and overwrites it.
        mixed_precision: `True` or `"mixed_float16"`, with loss scaling, or `"mixed_bfloat16"`; weights stay float32.
        callbacks: further Keras callbacks; their own state is not part of the checkpoint.
        progress: whether to show Keras' progress bar.
        facts: Facts that are stored with the detector, such as names of classes; `None` stores what `facts_of` finds.

    Returns:
        Keras' history of all epochs: `"loss"` and its parts; with the prefix `"val_"`, those of the validation data.

    Raises:
        ValueError: if an argument is wrong.
        CheckpointError: if the checkpoint is damaged, or belongs to another model or other settings.
        TrainingDivergedError: if a loss or a weight becomes NaN or infinite.

    Example:
        >>> history = train_instances(InstanceTrainer(model), batches, epochs=12, run_dir="run")
    """
    run = Run(
        epochs=epochs,
        run_dir=run_dir,
        resume=resume,
        mixed_precision=mixed_precision,
        callbacks=callbacks,
        progress=progress,
        facts=facts,
    )
    chosen = resolve_recipe(recipe, INSTANCE_RECIPES)
    train = Source.of(train_data, "train_data")
    validation = None if validation_data is None else Source.of(validation_data, "validation_data")
    with run.scope(trainer.detector):
        optimizer = run.scaled(chosen.make_optimizer(epochs * train.steps))
        # The number of regions changes from batch to batch, and XLA would compile anew for every number.
        trainer.compile(optimizer, jit_compile=False)
    return fit(trainer, [trainer.detector], train, validation, run, settings={"choice": trainer.choice._asdict()})
