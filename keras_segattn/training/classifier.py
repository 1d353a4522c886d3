"""Resumable training of classifiers, by default with the recipe of Inception-v4 and Inception-ResNet."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice
from keras_segattn.facts import Facts
from keras_segattn.graph import functional
from keras_segattn.training.classifier_checks import check_classifier_batch, check_classifier_model
from keras_segattn.training.classifier_recipes import (
    AUX_WEIGHTS,
    CLASSIFIER_RECIPES,
    AdamWRecipe,
    ClassifierRecipe,
)
from keras_segattn.training.engine import Run, fit
from keras_segattn.training.label_checks import Labels
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

    These are RMSProp with decay 0.9 and ε = 1, a learning rate of 0.045 that is multiplied by 0.94 every two epochs,
    gradients clipped to the norm 2, labels smoothed by 0.1, and L2 decay 4e-5. The exponential moving average of the
    parameters is evaluated, saved and left in the model. (The statistics of batch normalisation are moving averages
    already, collected while the parameters changed.) The losses of side classifiers are weighted by 0.4
    (`"aux_logits"`) or 0.3 each (`"aux1_logits"`, `"aux2_logits"`).

    The run directory holds `checkpoint.npz` (weights, their averages, optimizer, random seeds, history), written
    after every epoch, `history.csv`, `settings.json`, `best.keras` (best epoch by `monitor`) and, at the end,
    `model.keras`. Every file appears complete or not at all. If training is killed at any time, the same call goes on
    with the epoch after the checkpoint.

    The model may be built in the scope of a `tf.distribute.MirroredStrategy`. Batches are then split over its replicas,
    and Keras clips the gradients of each replica separately.

    Args:
        model: functional model from images `(batch, height, width, channels)` to logits `(batch, classes)`, or to a
            dict of `"logits"`, the logits of side classifiers and any other outputs, such as the crops of a spatial
            transformer. Its weights are trained in place; the model itself is not compiled.
        train_data: batches of preprocessed float32 images `(batch, height, width, channels)` and integer labels
            `(batch,)`, 0..classes-1: a finite `tf.data.Dataset`, a `keras.utils.PyDataset`, or a function of the epoch
            with a length.
        validation_data: batches of the same kind, evaluated after every epoch.
        epochs: number of epochs in all, those before an interruption included.
        recipe: name in `CLASSIFIER_RECIPES`, or a `ClassifierRecipe` or `AdamWRecipe`.
        run_dir: directory for the files, made if missing; `None` writes nothing.
        resume: whether to go on from the run directory's checkpoint; `False` starts again and overwrites it.
        checkpoint_steps: number of steps after which a checkpoint is written within an epoch, for data that are a
            function of the epoch; `None` writes one after every epoch only.
        monitor: logged value by which the best epoch is chosen: `"loss"`, `"accuracy"` or `"cross_entropy"` (without
            smoothing), with the prefix `"val_"` the value on the validation data.
        mixed_precision: `True` or `"mixed_float16"`, with loss scaling, or `"mixed_bfloat16"`; weights stay float32.
        callbacks: further Keras callbacks; their own state is not part of the checkpoint.
        progress: whether to show Keras' progress bar.
        facts: Facts that are stored with the model, such as names of classes; `None` stores what `facts_of` finds.

    Returns:
        Keras' history of all epochs: `"loss"`, `"accuracy"`, `"top5_accuracy"` (with more than five classes) and
        `"cross_entropy"`. With the prefix `"val_"`, the same values on the validation data, with averaged parameters if
        the recipe averages them.

    Raises:
        TypeError: if the model is not functional or the data are of an unknown kind.
        ValueError: if an argument is wrong, or shapes or labels of the first batch do not fit the model.
        CheckpointError: if the checkpoint is damaged, or belongs to another model or other settings.
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
    model = functional(model)
    classes = check_classifier_model(model)
    labels = Labels(1, 0, classes - 1)
    train = Source.of(train_data, "train_data", labels)
    validation = None if validation_data is None else Source.of(validation_data, "validation_data", labels)
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


@keras.saving.register_keras_serializable(package="keras_segattn")
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
        """Compute the cross-entropy of logits and smoothed labels, plus the weighted ones of side classifiers."""
        outputs = dict(y_pred) if isinstance(y_pred, dict) else {"logits": y_pred}
        one_hot = ops.one_hot(ops.cast(y, "int32"), outputs["logits"].shape[-1])
        loss = self.smoothed(one_hot, outputs.pop("logits"), sample_weight)
        for name in (name for name in AUX_WEIGHTS if name in outputs):
            loss += AUX_WEIGHTS[name] * self.smoothed(one_hot, outputs[name], sample_weight)
        return loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Compute the scores of the logits."""
        logits = y_pred["logits"] if isinstance(y_pred, dict) else y_pred
        return super().compute_metrics(x, y, logits, sample_weight)
