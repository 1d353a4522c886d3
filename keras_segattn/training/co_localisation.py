"""Resumable training of a localiser that finds the object common to all pictures, by triplets of crops and patches."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import keras

from keras_segattn.facts import Facts
from keras_segattn.training.co_localisation_trainer import CoLocalisationTrainer
from keras_segattn.training.engine import Run, fit
from keras_segattn.training.source import Data, Source, check_images

# Learning rate of Adam, which is used unless an optimizer is given.
LEARNING_RATE = 5e-3


def train_co_localiser(
    trainer: CoLocalisationTrainer,
    train_data: Data,
    *,
    epochs: int,
    optimizer: keras.optimizers.Optimizer | None = None,
    run_dir: str | PathLike[str] | None = None,
    resume: bool = True,
    checkpoint_steps: int | None = None,
    mixed_precision: bool | str = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: bool = True,
    facts: Facts | None = None,
) -> keras.callbacks.History:
    """Train a localiser; the weights of the encoder do not change.

    The run directory holds `checkpoint.npz`, written after every epoch, `history.csv`, `settings.json` and, at the end,
    `model.keras`, the localiser. Every file appears complete or not at all. If training is killed at any time, the same
    call goes on with the epoch after the checkpoint. Training needs a single device, since the loss compares all
    pictures of a batch.

    Args:
        trainer: localiser with its triplet loss; this function compiles it.
        train_data: batches of float32 images `(batch, height, width, channels)`, two or more per batch, which all show
            the same kind of object: a function of the epoch with a length, a finite `tf.data.Dataset`, or a
            `keras.utils.PyDataset`.
        epochs: number of epochs in all, those before an interruption included.
        optimizer: optimizer instead of Adam at the constant rate 5e-3.
        run_dir: directory for the files, made if missing; `None` writes nothing.
        resume: whether to go on from the run directory's checkpoint; `False` starts again and overwrites it.
        checkpoint_steps: number of steps after which a checkpoint is written within an epoch, for data that are a
            function of the epoch; `None` writes one after every epoch only.
        mixed_precision: `True` or `"mixed_float16"`, with loss scaling, or `"mixed_bfloat16"`; weights stay float32.
        callbacks: further Keras callbacks; their own state is not part of the checkpoint.
        progress: whether to show Keras' progress bar.
        facts: Facts that are stored with the localiser; `None` stores what `facts_of` finds.

    Returns:
        Keras' history of all epochs, with the key `"loss"`.

    Raises:
        TypeError: if the data are of an unknown kind.
        ValueError: if an argument is wrong, or the first batch does not fit the localiser.
        CheckpointError: if the checkpoint is damaged, or belongs to another model or other settings.
        TrainingDivergedError: if the loss or a weight becomes NaN or infinite.

    Example:
        >>> trainer = CoLocalisationTrainer(co_localiser(), encoder)
        >>> history = train_co_localiser(trainer, scenes, epochs=10, run_dir="run")
    """
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
    train = Source.of(train_data, "train_data")
    batch: Any = train.first_batch(0)
    check_images(batch[0] if isinstance(batch, tuple | list) else batch, trainer.localiser, train.name)
    with run.scope(trainer.localiser, replicas=False):
        trainer.compile(run.scaled(optimizer or keras.optimizers.Adam(LEARNING_RATE)), jit_compile=False)
    settings = {"margin": trainer.margin, "patch": trainer.patch}
    return fit(trainer, [trainer.localiser, trainer.encoder], train, None, run, settings=settings)
