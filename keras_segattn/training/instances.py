"""Trains a detector: resumable, by the losses that a `RegionTrainer` has."""

from collections.abc import Sequence
from os import PathLike

import keras

from keras_segattn.arguments import check_positive_integer
from keras_segattn.data.instance_batches import InstanceBatches
from keras_segattn.facts import Facts
from keras_segattn.training.instance_recipes import InstanceRecipe, resolve_instance_recipe
from keras_segattn.training.region_trainer import RegionTrainer
from keras_segattn.training.resumable import fit_resumably


def train_instances(
    trainer: RegionTrainer,
    train_data: InstanceBatches,
    validation_data: InstanceBatches | None = None,
    *,
    epochs: int,
    recipe: str | InstanceRecipe = "adamw-cosine",
    run_dir: str | PathLike[str] | None = None,
    resume: bool = True,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: bool = True,
    facts: Facts | None = None,
) -> keras.callbacks.History:
    """Train a detector.

    The run directory holds `checkpoint.npz`, written after every epoch, `history.csv`, `settings.json`, `best.keras`
    (epoch of the lowest loss on the validation data) and, at the end, `model.keras`. Every file appears whole or not at
    all. Killed at any time and called again with the same arguments, training goes on with the epoch after the
    checkpoint.

    Args:
        trainer: detector with its losses, an `InstanceTrainer` or a `CascadeTrainer`; it is compiled.
        train_data: pictures with their objects.
        validation_data: the same, evaluated after every epoch.
        epochs: passes over the data, those before an interruption included.
        recipe: name in `INSTANCE_RECIPES`, or an `InstanceRecipe`.
        run_dir: directory for the files, made if missing; `None` writes nothing.
        resume: whether to go on from the run directory's checkpoint; `False` starts again and overwrites it.
        callbacks: further Keras callbacks; their own state is not part of the checkpoint.
        progress: whether to show Keras' progress bar.
        facts: Facts that are stored with the detector, such as names of classes; `None` is what `facts_of` finds.

    Returns:
        Keras' history of all epochs: `"loss"`, its parts, and with `"val_"` those of the validation data.

    Raises:
        ValueError: if an argument is wrong.
        CheckpointError: if the checkpoint is damaged, or of another model or other settings.
        TrainingDivergedError: if a loss or a weight becomes NaN or infinite.

    Example:
        >>> history = train_instances(InstanceTrainer(model), batches, epochs=12, run_dir="run")
    """
    check_positive_integer("epochs", epochs)
    chosen = resolve_instance_recipe(recipe)
    # The number of regions changes from batch to batch, for each of which XLA would compile anew.
    trainer.compile(chosen.make_optimizer(epochs * len(train_data)), jit_compile=False)
    return fit_resumably(
        trainer,
        trainer.detector,
        train_data,
        validation_data,
        epochs=epochs,
        settings={"choice": trainer.choice._asdict()},
        run_dir=run_dir,
        resume=resume,
        callbacks=callbacks,
        progress=progress,
        facts=facts,
    )
