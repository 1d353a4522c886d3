"""Trains a segmentation model: the recipe of the FCN paper by default, resumable, on any number of devices."""

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import keras

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.facts import Facts
from keras_segattn.metrics.scores import SCORES, SegmentationScores
from keras_segattn.training.distribution import (
    AverageStatistics,
    ReplicatedLossScaleOptimizer,
    check_scope,
    distributed_loss,
    is_chief,
    replicated_model,
    strategy_of,
    strategy_scope,
)
from keras_segattn.training.precision import dtype_policies, resolve_policy
from keras_segattn.training.recipes import Recipe, resolve_recipe
from keras_segattn.training.recorder import Recorder, prepare
from keras_segattn.training.source import Data, Source, check_batch, check_logits, check_model


def train_segmenter(
    model: keras.Model,
    train_data: Data,
    validation_data: Data | None = None,
    *,
    epochs: int,
    ignore_label: int | None = 255,
    recipe: str | Recipe = "fcn",
    learning_rate: float | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    loss: keras.losses.Loss | None = None,
    optimizer: keras.optimizers.Optimizer | None = None,
    run_dir: str | PathLike[str] | None = None,
    resume: bool = True,
    checkpoint_steps: int | None = None,
    monitor: str = "val_mean_iou",
    mixed_precision: bool | str = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: bool = True,
    facts: Facts | None = None,
) -> keras.callbacks.History:
    """Train a model on images and masks; the defaults are those of Long et al. 2015, section 4.3.

    The paper's settings: SGD with momentum 0.9, rate 1e-4 (VGG16), L2 decay 5e-4 on kernels, twice the rate for
    biases, 20 images a batch, cross-entropy averaged over the labelled pixels. `RECIPES` names others.

    The run directory holds `checkpoint.npz` (weights, optimizer, random seeds, history: all that resuming needs),
    `history.csv`, `settings.json`, `model.keras` (at the end), `best.keras` (best epoch by `monitor`) and, where
    tensorboard is installed, its logs. Every file appears whole or not at all. Killed at any time and called
    again with the same arguments, training goes on from the checkpoint; if the batches are a function of the
    epoch (`keras_segattn.data.Batches`), it ends with the weights of an uninterrupted run.

    The model may be built in the scope of a `tf.distribute` strategy: batches are then split over its replicas,
    of which each needs an image: TensorFlow's convolutions fail on empty batches (drop a small last one).
    Of several workers the chief writes; the others must see the same run directory to resume.

    Args:
        model: functional model from images `(batch, height, width, channels)` to logits
            `(batch, height, width, classes)`. Its weights are trained in place; it is not compiled.
        train_data: batches `(image float32 (b, h, w, channels), mask integer (b, h, w))`, as a function of the
            epoch with a length, a finite `tf.data.Dataset`, or a `keras.utils.PyDataset`.
        validation_data: the same, evaluated after every epoch; a function of the epoch is called with 0.
        epochs: passes over the data, those before an interruption included.
        ignore_label: label of pixels that count neither in loss nor scores; `None` if there is none.
        recipe: name in `RECIPES`, or a `Recipe`.
        learning_rate: instead of the recipe's.
        momentum: instead of the recipe's.
        weight_decay: instead of the recipe's.
        loss: instead of the recipe's pixel cross-entropy.
        optimizer: instead of the recipe's; made in the scope of the strategy, if any.
        run_dir: directory for the files, made if missing; `None` writes nothing.
        resume: go on from the run directory's checkpoint; `False` starts again and overwrites it.
        checkpoint_steps: write the checkpoint also after so many steps of an epoch. The row of an epoch resumed
            in its middle averages training loss and scores over its remaining steps only.
        monitor: `"loss"` or one of the four scores, or with the prefix `"val_"` that of the validation data: its
            lowest loss or highest score decides which epoch is best.
        mixed_precision: `True` or `"mixed_float16"` computes in float16 with a scaled loss, `"mixed_bfloat16"`
            in bfloat16. Weights and logits stay float32, as does the returned model.
        callbacks: further Keras callbacks; their own state is not part of the checkpoint.
        progress: whether to show Keras' progress bar.
        facts: Facts that are stored with the model, such as names of classes; `None` is what `facts_of` finds.

    Returns:
        Keras' history of all epochs: `history.history["loss"]`, `["mean_iou"]`, `["val_mean_iou"]` …

    Raises:
        TypeError: if the model is not functional or the data are of no known kind.
        ValueError: if an argument, the first batch's shapes or its labels do not fit the model.
        CheckpointError: if the checkpoint is damaged, or of another model or other settings.
        TrainingDivergedError: if the loss becomes NaN or infinite.

    Example:
        >>> model = FCN8s(classes=3, weights="imagenet", backbone="squeezenet1_1")
        >>> history = train_segmenter(model, batches, held_out, epochs=20, recipe="adamw-cosine", run_dir="run")
    """
    check_positive_integer("epochs", epochs)
    if checkpoint_steps is not None:
        check_positive_integer("checkpoint_steps", checkpoint_steps)
    check_choice("monitor", monitor, [f"{split}{name}" for split in ("", "val_") for name in ("loss", *SCORES)])
    chosen = resolve_recipe(recipe)
    settings = {"learning_rate": learning_rate, "momentum": momentum, "weight_decay": weight_decay}
    changes: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    if optimizer is not None and changes:
        raise ValueError(f"give an optimizer or {', '.join(changes)}, not both")
    chosen = replace(chosen, **changes)
    policy = resolve_policy(mixed_precision)

    classes = check_model(model)
    train = Source.of(train_data, "train_data")
    validation = None if validation_data is None else Source.of(validation_data, "validation_data")
    if checkpoint_steps and not train.by_epoch:
        raise ValueError("checkpoint_steps needs train_data that are a function of the epoch")
    batch = train.first_batch(0)
    check_batch(batch, model, ignore_label, train.name)
    if validation is not None:
        check_batch(validation.first_batch(0), model, ignore_label, validation.name)
    if loss is None:
        check_logits(model)

    strategy = strategy_of(model)
    check_scope(model, strategy)
    replicated = strategy is not None and strategy.num_replicas_in_sync > 1
    with strategy_scope(strategy):
        optimizer = optimizer or chosen.make_optimizer(train.steps * epochs)
        if policy == "mixed_float16":
            optimizer = ReplicatedLossScaleOptimizer(optimizer)
        optimizer.build(model.trainable_variables)
        loss = loss or chosen.make_loss(ignore_label)
        fixed = {
            "optimizer": plain(keras.saving.serialize_keras_object(optimizer)),
            "loss": plain(keras.saving.serialize_keras_object(loss)),
            "ignore_label": ignore_label,
            "mixed_precision": policy,
            "steps_per_epoch": train.steps,
        }
        trainer = (
            replicated_model(model, batch)
            if replicated
            else keras.Model(inputs=model.input, outputs=model.output, name=model.name)
        )
        trainer.compile(
            optimizer,
            distributed_loss(loss, strategy),
            metrics=[SegmentationScores(classes, ignore_label=ignore_label)],
            jit_compile=False,  # images of many sizes would be compiled one by one
            auto_scale_loss=False,
        )

    directory = None if run_dir is None else Path(run_dir)
    chief = is_chief(strategy)
    precision = "float32" if policy else None
    recorder = Recorder(model, fixed, directory, chief, monitor, checkpoint_steps, precision, facts=facts)
    watchers = [*callbacks, recorder]
    if replicated:
        watchers.insert(0, AverageStatistics(strategy))
    if resume:
        recorder.restore(optimizer)
    if directory is not None and chief:
        prepare(directory, fixed | {"epochs": epochs})
        if importlib.util.find_spec("tensorboard"):
            watchers.append(keras.callbacks.TensorBoard(directory / "tensorboard", write_graph=False))

    held_out = None if validation is None else validation.epochs(0, 1)
    with dtype_policies(model, policy):
        for first, last, data, epoch_steps in parts(train, recorder.progress.epoch, recorder.progress.step, epochs):
            trainer.fit(
                data,
                initial_epoch=first,
                epochs=last,
                steps_per_epoch=epoch_steps,
                validation_data=None if held_out is None else held_out[0],
                callbacks=watchers,
                shuffle=False,  # the data are in the order they are meant to be
                verbose=1 if progress and chief else 0,
            )
            if trainer.stop_training:
                break
    recorder.save_model("model.keras")
    return recorder.result()


def parts(train: Source, epoch: int, step: int, epochs: int) -> list[tuple[int, int, Any, int | None]]:
    """The calls of `fit` that remain: (first epoch, last epoch, data, steps of an epoch)."""
    remaining: list[tuple[int, int, Any, int | None]] = []
    if step:
        remaining.append((epoch, epoch + 1, *train.rest_of_epoch(epoch, step)))
        epoch += 1
    if epoch < epochs:
        remaining.append((epoch, epochs, *train.epochs(epoch, epochs)))
    return remaining


def plain(config: Any) -> Any:
    """A serialised Keras object without the names that Keras numbers through the process, as JSON values."""
    if isinstance(config, dict):
        return {key: plain(value) for key, value in config.items() if key != "name"}
    if isinstance(config, list | tuple):
        return [plain(value) for value in config]
    return config
