"""Trains a classifier: the recipe of Inception-v4 and Inception-ResNet by default, resumable."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice
from keras_segattn.facts import Facts
from keras_segattn.training.classifier_checks import check_classifier_batch, check_classifier_model
from keras_segattn.training.classifier_recipes import (
    AUX_WEIGHTS,
    CLASSIFIER_RECIPES,
    AdamWRecipe,
    ClassifierRecipe,
)
from keras_segattn.training.engine import Run, fit
from keras_segattn.training.recipes import resolve_recipe
from keras_segattn.training.source import Data, Source

TOP_K = 5
MONITORS = ("loss", "accuracy", "cross_entropy")


def train_classifier(
    model: keras.Model,
    train_data: Data,
    validation_data: Data | None = None,
    *,
    epochs: int,
    recipe: str | ClassifierRecipe | AdamWRecipe = "inception",
    run_dir: str | PathLike[str] | None = None,
    resume: bool = True,
    checkpoint_steps: int | None = None,
    monitor: str = "val_accuracy",
    mixed_precision: bool | str = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: bool = True,
    facts: Facts | None = None,
) -> keras.callbacks.History:
    """Train a classifier; the defaults are those of Szegedy et al. 2017 (arXiv 1602.07261), section 4.

    RMSProp with decay 0.9 and ε = 1, rate 0.045 that falls by 0.94 every two epochs, gradients clipped to the norm 2,
    labels smoothed by 0.1, L2 decay 4e-5. Evaluated, saved and left in the model is the exponential moving average of
    the parameters (batch normalisation's statistics are averages already, of the networks along the way). Side
    classifiers count 0.4 (`"aux_logits"`) or 0.3 each (`"aux1_logits"`, `"aux2_logits"`) in the loss.

    The run directory holds `checkpoint.npz` (weights, their averages, optimizer, random seeds, history), written
    after every epoch, `history.csv`, `settings.json`, `best.keras` (best epoch by `monitor`) and, at the end,
    `model.keras`. Every file appears whole or not at all. Killed at any time and called again with the same
    arguments, training goes on with the epoch after the checkpoint.

    The model may be built in the scope of a `tf.distribute.MirroredStrategy`: batches are then split over its replicas,
    and Keras clips the gradient of each replica's share by itself.

    Args:
        model: functional model from images `(batch, height, width, channels)` to logits `(batch, classes)`, or to a
            dict of `"logits"`, the side classifiers' and anything else, such as what a spatial transformer saw. Its
            weights are trained in place; it is not compiled.
        train_data: batches of images float32 `(batch, height, width, channels)`, preprocessed, and of labels
            integer `(batch,)`, 0..classes-1: a finite `tf.data.Dataset`, a `keras.utils.PyDataset`, or a function of
            the epoch with a length.
        validation_data: the same, evaluated after every epoch.
        epochs: number of epochs in all, those before an interruption included.
        recipe: name in `CLASSIFIER_RECIPES`, or a `ClassifierRecipe` or `AdamWRecipe`.
        run_dir: directory for the files, made if missing; `None` writes nothing.
        resume: go on from the run directory's checkpoint; `False` starts again and overwrites it.
        checkpoint_steps: number of steps after which a checkpoint is written within an epoch, for data that are a
            function of the epoch; `None` writes one after every epoch only.
        monitor: `"loss"`, `"accuracy"` or `"cross_entropy"` (without smoothing), or with the prefix `"val_"` that of
            the validation data: its lowest or highest value decides which epoch is best.
        mixed_precision: `True` or `"mixed_float16"`, with loss scaling, or `"mixed_bfloat16"`; weights stay float32.
        callbacks: further Keras callbacks; their own state is not part of the checkpoint.
        progress: whether to show Keras' progress bar.
        facts: Facts that are stored with the model, such as names of classes; `None` is what `facts_of` finds.

    Returns:
        Keras' history of all epochs: `"loss"`, `"accuracy"`, `"top5_accuracy"` (of more than five classes),
        `"cross_entropy"`, of the network in training, and with `"val_"` of the averaged one.

    Raises:
        TypeError: if the model is not functional or the data are of no known kind.
        ValueError: if an argument, the first batch's shapes or its labels do not fit the model.
        CheckpointError: if the checkpoint is damaged, or of another model or other settings.
        TrainingDivergedError: if the loss or a weight becomes NaN or infinite.
        tf.errors.InvalidArgumentError: if a later batch holds a label out of range.

    Example:
        >>> model = InceptionResNetV1(classes=10, input_shape=(32, 32, 1), padding="same", alpha=0.25)
        >>> history = train_classifier(model, batches, held_out, epochs=20, run_dir="run")
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
    check_choice("monitor", monitor, [f"{split}{name}" for split in ("", "val_") for name in MONITORS])
    chosen = resolve_recipe(recipe, CLASSIFIER_RECIPES)
    classes = check_classifier_model(model)
    train = Source.of(train_data, "train_data")
    validation = None if validation_data is None else Source.of(validation_data, "validation_data")
    for source in (train, validation):
        if source is not None:
            check_classifier_batch(source.first_batch(0), model, classes, source.name)

    with run.scope(model):
        trainer = ClassifierTrainer(inputs=model.input, outputs=model.output, name=model.name)
        trainer.smoothed = chosen.make_loss()
        metrics = [
            keras.metrics.SparseCategoricalAccuracy("accuracy"),
            keras.metrics.SparseCategoricalCrossentropy("cross_entropy", from_logits=True),
        ]
        if classes > TOP_K:
            metrics.append(keras.metrics.SparseTopKCategoricalAccuracy(TOP_K, f"top{TOP_K}_accuracy"))
        optimizer = run.scaled(chosen.make_optimizer(train.steps, epochs))
        trainer.compile(optimizer, metrics=metrics, jit_compile=False)
    return fit(trainer, [model], train, validation, run, settings={"label_smoothing": chosen.label_smoothing})


class ClassifierTrainer(keras.Model):
    """A functional classifier that `fit` trains on integer labels, with its side classifiers if it has any."""

    smoothed: keras.losses.Loss

    def compute_loss(
        self,
        x: Any = None,  # noqa: ARG002
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,  # noqa: ARG002
    ) -> Any:
        """Cross-entropy with smoothed labels of the logits, and its share of those of the side classifiers."""
        outputs = dict(y_pred) if isinstance(y_pred, dict) else {"logits": y_pred}
        one_hot = ops.one_hot(ops.cast(y, "int32"), outputs["logits"].shape[-1])
        loss = self.smoothed(one_hot, outputs.pop("logits"), sample_weight)
        for name in (name for name in AUX_WEIGHTS if name in outputs):
            loss += AUX_WEIGHTS[name] * self.smoothed(one_hot, outputs[name], sample_weight)
        return loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Scores of the logits."""
        logits = y_pred["logits"] if isinstance(y_pred, dict) else y_pred
        return super().compute_metrics(x, y, logits, sample_weight)
