"""Resumable training of models that write sentences, by likelihood, or by REINFORCE if their attention is hard."""

from collections.abc import Sequence
from dataclasses import asdict
from os import PathLike

import keras

from keras_segattn.data.sequence_batches import SequenceBatches
from keras_segattn.facts import Facts
from keras_segattn.layers import AttentionRNN, HardAttention
from keras_segattn.training.engine import Run, fit
from keras_segattn.training.hard_attention_trainer import HardAttentionTrainer
from keras_segattn.training.recipes import resolve_recipe
from keras_segattn.training.sequence_recipes import SEQUENCE_RECIPES, SequenceRecipe
from keras_segattn.training.source import Source


def train_sequences(
    model: keras.Model,
    train_data: SequenceBatches,
    validation_data: SequenceBatches | None = None,
    *,
    epochs: int,
    recipe: str | SequenceRecipe = "adam-cosine",
    run_dir: str | PathLike[str] | None = None,
    resume: bool = True,
    mixed_precision: bool | str = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: bool = True,
    facts: Facts | None = None,
) -> keras.callbacks.History:
    """Train a model that writes sentences, such as translations or captions.

    The run directory holds `checkpoint.npz`, written after every epoch, `history.csv`, `settings.json`, `best.keras`
    (epoch of the lowest loss on the validation data) and, at the end, `model.keras`. Every file appears complete or not
    at all. If training is killed at any time, the same call goes on with the epoch after the checkpoint.

    Args:
        model: model that `RNNSearch` or `ShowAttendTell` built. If its attention is hard, it is trained by
            `HardAttentionTrainer`, which takes only the optimizer from the recipe.
        train_data: pairs of sentences, or captions and their pictures (`CaptionBatches`).
        validation_data: batches of the same kind, evaluated after every epoch.
        epochs: passes over the data, those before an interruption included.
        recipe: name in `SEQUENCE_RECIPES`, or a `SequenceRecipe`.
        run_dir: directory for the files, made if missing; `None` writes nothing.
        resume: whether to go on from the run directory's checkpoint; `False` starts again and overwrites it.
        mixed_precision: `True` or `"mixed_float16"`, with loss scaling, or `"mixed_bfloat16"`; weights stay float32.
        callbacks: further Keras callbacks; their own state is not part of the checkpoint.
        progress: whether to show Keras' progress bar.
        facts: Facts that are stored with the model, such as its vocabularies; `None` stores what `facts_of` finds.

    Returns:
        Keras' history of all epochs: `"loss"` and its parts; with the prefix `"val_"`, those of the validation data.

    Raises:
        ValueError: if an argument is wrong.
        CheckpointError: if the checkpoint is damaged, or belongs to another model or other settings.
        TrainingDivergedError: if a loss or a weight becomes NaN or infinite.

    Example:
        >>> history = train_sequences(model, batches, held_out, epochs=10, run_dir="run")
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
    chosen = resolve_recipe(recipe, SEQUENCE_RECIPES)
    train = Source.of(train_data, "train_data")
    validation = None if validation_data is None else Source.of(validation_data, "validation_data")
    for data in (train_data, validation_data):
        if isinstance(data, SequenceBatches):  # Keras wants as many targets as the model has outputs
            data.outputs = tuple(model.output) if isinstance(model.output, dict) else ("logits",)
    hard = has_hard_attention(model)
    # REINFORCE compares each draw with one moving average of the costs of all pictures, which needs a single device.
    with run.scope(model, replicas=not hard):
        trainer = HardAttentionTrainer(model) if hard else model
        optimizer = run.scaled(chosen.make_optimizer(epochs, train.steps))
        losses = None if hard else chosen.make_losses(model)
        # XLA would compile anew for every length of the loops, which changes from batch to batch.
        trainer.compile(optimizer, losses, jit_compile=False)
    computing = [model, trainer.drawing] if hard else [model]
    return fit(trainer, computing, train, validation, run, settings={"recipe": asdict(chosen)})


def has_hard_attention(model: keras.Model) -> bool:
    """Return whether a model draws the locations that it attends to."""
    loops = (layer for layer in model.layers if isinstance(layer, AttentionRNN))
    return any(isinstance(getattr(loop.cell, "attention", None), HardAttention) for loop in loops)
