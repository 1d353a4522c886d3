"""Resumable training of segmentation models on any number of devices, by default with the recipe of the FCN paper."""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import keras

from keras_segattn.arguments import check_choice
from keras_segattn.facts import Facts
from keras_segattn.graph import functional
from keras_segattn.metrics.scores import SCORES, SegmentationScores
from keras_segattn.training.deep_supervision import LastScores, SummedLoss, supervised_model
from keras_segattn.training.distribution import distributed_loss, replica_count, replicated_model, strategy_of
from keras_segattn.training.engine import Run, fit, plain
from keras_segattn.training.label_checks import Labels
from keras_segattn.training.recipes import resolve_recipe
from keras_segattn.training.segmentation_recipes import SEGMENTATION_RECIPES, SegmentationRecipe
from keras_segattn.training.source import Data, Source, check_batch, check_logits, check_model


def train_segmenter(
    model: keras.Model,
    train_data: Data,
    validation_data: Data | None = None,
    *,
    epochs: int,
    ignore_label: int | None = 255,
    recipe: str | SegmentationRecipe = "fcn",
    learning_rate: float | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    loss: keras.losses.Loss | None = None,
    supervised: Sequence[str] = (),
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

    These are SGD with momentum 0.9, a rate of 1e-4 (VGG16), L2 decay 5e-4 on kernels, twice the rate for biases, 20
    images per batch, and the cross-entropy averaged over the labelled pixels. `SEGMENTATION_RECIPES` holds others.

    The run directory holds `checkpoint.npz` (weights, optimizer, random seeds, history: all that resuming needs),
    `history.csv`, `settings.json`, `model.keras` (at the end), `best.keras` (best epoch by `monitor`) and, if
    tensorboard is installed, its logs. Every file appears complete or not at all. If training is killed at any time,
    the same call goes on from the checkpoint; if the batches are a function of the epoch
    (`keras_segattn.data.MaskBatches`), it ends with the weights of an uninterrupted run.

    The model may be built in the scope of a `tf.distribute` strategy. Batches are then split over its replicas. Each
    replica needs at least one image, because TensorFlow's convolutions fail on empty batches: drop a last batch that is
    too small. With several workers, the chief writes the files; to resume, the others must see the same run directory.

    Args:
        model: functional model from images `(batch, height, width, channels)` to logits
            `(batch, height, width, classes)`. Its weights are trained in place; the model itself is not compiled. The
            logits may have another size than the images, which is then the size of the masks.
        train_data: batches `(image float32 (b, h, w, channels), mask integer (b, h, w))`, as a function of the
            epoch with a length, a finite `tf.data.Dataset`, or a `keras.utils.PyDataset`.
        validation_data: batches of the same kind, evaluated after every epoch; a function of the epoch is called
            with 0.
        epochs: passes over the data, those before an interruption included.
        ignore_label: label of pixels that count neither in loss nor scores; `None` if there is none.
        recipe: name in `SEGMENTATION_RECIPES`, or a `SegmentationRecipe`.
        learning_rate: learning rate instead of the recipe's.
        momentum: momentum instead of the recipe's.
        weight_decay: weight decay instead of the recipe's.
        loss: loss instead of the recipe's pixel cross-entropy.
        supervised: names of layers whose outputs are logits, too: those of the same pixels, in the centre of a map that
            may be larger. The loss is the sum over them and the model's output (deep supervision); the logged scores
            are those of the output.
        optimizer: optimizer instead of the recipe's; it must be made in the scope of the strategy, if there is one.
        run_dir: directory for the files, made if missing; `None` writes nothing.
        resume: whether to go on from the run directory's checkpoint; `False` starts again and overwrites it.
        checkpoint_steps: number of steps after which a checkpoint is also written within an epoch, for data that are a
            function of the epoch; `None` writes one after every epoch only. If training resumes within an epoch, the
            logged loss and scores of this epoch are averages over its remaining steps only.
        monitor: `"loss"` or one of the four scores, with the prefix `"val_"` the value on the validation data. The
            lowest loss or the highest score decides which epoch is best.
        mixed_precision: `True` or `"mixed_float16"` computes in float16 with a scaled loss, `"mixed_bfloat16"`
            in bfloat16. Weights and logits stay float32, as does the returned model.
        callbacks: further Keras callbacks; their own state is not part of the checkpoint.
        progress: whether to show Keras' progress bar.
        facts: Facts that are stored with the model, such as names of classes; `None` stores what `facts_of` finds.

    Returns:
        Keras' history of all epochs: `history.history["loss"]`, `["mean_iou"]`, `["val_mean_iou"]` …

    Raises:
        TypeError: if the model is not functional or the data are of an unknown kind.
        ValueError: if an argument, the first batch's shapes or its labels do not fit the model.
        CheckpointError: if the checkpoint is damaged, or belongs to another model or other settings.
        TrainingDivergedError: if the loss becomes NaN or infinite.

    Example:
        >>> model = FCN8s(classes=3, weights="imagenet", backbone="squeezenet1_1")
        >>> history = train_segmenter(model, batches, held_out, epochs=20, recipe="adamw-cosine", run_dir="run")
    """
    run = Run(
        epochs=epochs,
        run_dir=run_dir,
        resume=resume,
        checkpoint_steps=checkpoint_steps,
        monitor=monitor,
        mixed_precision=mixed_precision,
        callbacks=callbacks,
        progress=progress,
        facts=facts,
    )
    check_choice("monitor", monitor, [f"{split}{name}" for split in ("", "val_") for name in ("loss", *SCORES)])
    chosen = resolve_recipe(recipe, SEGMENTATION_RECIPES)
    given = {"learning_rate": learning_rate, "momentum": momentum, "weight_decay": weight_decay}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if optimizer is not None and changes:
        raise ValueError(f"give an optimizer or {', '.join(changes)}, not both")
    chosen = replace(chosen, **changes)

    model = functional(model)
    classes = check_model(model)
    labels = Labels(1, 0, classes - 1, ignore_label)
    train = Source.of(train_data, "train_data", labels)
    validation = None if validation_data is None else Source.of(validation_data, "validation_data", labels)
    batch = train.first_batch(0)
    check_batch(batch, model, ignore_label, train.name)
    if validation is not None:
        check_batch(validation.first_batch(0), model, ignore_label, validation.name)
    if loss is None:
        check_logits(model)

    strategy = strategy_of(model)
    with run.scope(model):
        optimizer = run.scaled(optimizer or chosen.make_optimizer(train.steps * epochs))
        loss = loss or chosen.make_loss(ignore_label)
        trained, own_loss, scores = model, distributed_loss(loss, strategy), SegmentationScores
        if supervised:
            trained = supervised_model(model, supervised, batch[0].shape)
            own_loss, scores = SummedLoss(own_loss, classes), LastScores
        trainer = (
            replicated_model(trained, batch)
            if replica_count(strategy) > 1
            else keras.Model(inputs=trained.input, outputs=trained.output, name=model.name)
        )
        trainer.compile(
            optimizer,
            own_loss,
            metrics=[scores(classes, ignore_label=ignore_label)],
            jit_compile=False,  # XLA would compile anew for every image size
            auto_scale_loss=False,
        )
    settings = {"loss": plain(keras.saving.serialize_keras_object(loss)), "ignore_label": ignore_label}
    if supervised:
        settings["supervised"] = list(supervised)
    return fit(trainer, [model], train, validation, run, settings=settings)
