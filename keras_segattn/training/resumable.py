"""The common part of trainings by `fit` on batches in an order of their own each epoch: they can be resumed."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import keras

from keras_segattn.facts import Facts
from keras_segattn.training.recorder import Recorder, prepare
from keras_segattn.training.segmenter import plain


def fit_resumably(
    trainer: keras.Model,
    model: keras.Model,
    train_data: keras.utils.PyDataset,
    validation_data: keras.utils.PyDataset | None,
    *,
    epochs: int,
    settings: Mapping[str, Any],
    run_dir: str | PathLike[str] | None,
    resume: bool,
    callbacks: Sequence[keras.callbacks.Callback],
    progress: bool,
    facts: Facts | None,
) -> keras.callbacks.History:
    """Fit a compiled model, with the files of a run directory; go on where an earlier call was interrupted.

    Args:
        trainer: compiled model, which may have losses and random numbers beside the model in it.
        model: what is written at the end.
        train_data: batches whose order is a function of their attribute `epoch`.
        validation_data: batches that are evaluated after every epoch; the lowest loss decides which epoch is best.
        epochs: passes over the data, those before an interruption included.
        settings: what must not change between the parts of a training, beside optimizer and number of steps.
        run_dir: directory for the files, made if missing; `None` writes nothing.
        resume: whether to go on from the run directory's checkpoint.
        callbacks: further Keras callbacks.
        progress: whether to show Keras' progress bar.
        facts: Facts that are stored with the model; `None` is what `facts_of` finds.

    Returns:
        Keras' history of all epochs.

    Raises:
        CheckpointError: if the checkpoint is damaged, or of another model or other settings.
        TrainingDivergedError: if a loss or a weight becomes NaN or infinite.
    """
    optimizer = trainer.optimizer
    optimizer.build(trainer.trainable_variables)
    fixed = {
        "optimizer": plain(keras.saving.serialize_keras_object(optimizer)),
        "steps_per_epoch": len(train_data),
        **settings,
    }
    directory = None if run_dir is None else Path(run_dir)
    recorder = Recorder(
        trainer,
        fixed,
        directory,
        writes=True,
        monitor="val_loss",
        checkpoint_steps=None,
        policy=None,
        saved=model,
        facts=facts,
    )
    if resume:
        recorder.restore(optimizer)
    if directory is not None:
        prepare(directory, fixed | {"epochs": epochs})
    first = recorder.progress.epoch
    if first < epochs:
        trainer.fit(
            train_data,
            initial_epoch=first,
            epochs=epochs,
            validation_data=validation_data,
            callbacks=[*callbacks, OrderOfEpoch(train_data), recorder],
            shuffle=False,  # the data are in the order they are meant to be
            verbose=1 if progress else 0,
        )
    recorder.save_model("model.keras")
    return recorder.result()


class OrderOfEpoch(keras.callbacks.Callback):
    """Gives batches the order of the epoch that begins, however many `fit` has counted.

    Args:
        batches: what has an attribute `epoch`.
    """

    def __init__(self, batches: Any) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Set the epoch."""
        self.batches.epoch = epoch
