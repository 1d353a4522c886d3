"""Staged training of recurrent convolutional networks: two instances first, then three with the same weights."""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

import keras

from keras_segattn.arguments import is_integer
from keras_segattn.segmentation.recurrent_conv_net import depths
from keras_segattn.training.fcn_stages import Stage
from keras_segattn.training.segmentation_recipes import SegmentationRecipe
from keras_segattn.training.segmenter import train_segmenter
from keras_segattn.training.source import Data


def train_recurrent_stages(
    build: Callable[[int], keras.Model],
    train_data: Callable[[keras.Model], Data],
    validation_data: Callable[[keras.Model], Data] | None = None,
    *,
    instances: Sequence[int] = (2, 3),
    epochs: int | Sequence[int],
    ignore_label: int | None = 255,
    recipe: str | SegmentationRecipe = "recurrent-cnn",
    learning_rate: float | None = None,
    loss: keras.losses.Loss | None = None,
    run_dir: str | PathLike[str] | None = None,
    resume: bool = True,
    checkpoint_steps: int | None = None,
    progress: bool = True,
) -> list[Stage]:
    """Train a recurrent network with a growing number of instances (Pinheiro & Collobert 2014, section 4).

    All instances share their weights, so that a stage goes on with the weights of the one before. The loss is the sum
    of the losses of all instances.

    Args:
        build: function from a number of instances to a network, such as
            `lambda n: RecurrentConvNet(instances=n, patches=True)`.
        train_data: function from the network of a stage to its batches, see `train_segmenter`: patches of its input
            size (`data.PatchBatches`), or whole pictures for a labelling network.
        validation_data: function of the same kind; its batches are evaluated after every epoch.
        instances: number of instances in every stage.
        epochs: number of epochs of every stage, or one number per stage.
        ignore_label: label of pixels that do not count, or `None`, see `train_segmenter`.
        recipe: recipe of every stage.
        learning_rate: learning rate instead of the recipe's.
        loss: loss instead of the recipe's pixel cross-entropy.
        run_dir: directory in which every stage gets a run directory, `1-instances2` and so on; `None` writes nothing.
        resume: whether to go on where an interrupted call stopped; finished stages are loaded, not trained again.
        checkpoint_steps: number of steps after which a checkpoint is also written within an epoch.
        progress: whether to show Keras' progress bar.

    Returns:
        One `Stage` per network.

    Raises:
        ValueError: if there is no stage or the number of epochs does not match; also in the cases of `train_segmenter`.

    Example:
        >>> stages = train_recurrent_stages(
        ...     lambda n: RecurrentConvNet(classes=11, instances=n, patches=True),
        ...     lambda model: PatchBatches(pictures, model.input_shape[1], count=16),
        ...     epochs=5,
        ... )
        >>> labelling = RecurrentConvNet(classes=11)
        >>> labelling.set_weights(stages[-1].model.get_weights())
    """
    each = [epochs] * len(instances) if is_integer(epochs) else list(epochs)
    if not instances or len(each) != len(instances):
        raise ValueError(f"expected one number of epochs per stage, received {len(each)} for {len(instances)} stages")
    stages: list[Stage] = []
    for number, (count, stage_epochs) in enumerate(zip(instances, each, strict=True), start=1):
        model = build(count)
        copied: list[str] = []
        if stages:
            model.set_weights(stages[-1].model.get_weights())
            copied = [layer.name for layer in model.layers if layer.weights]
        history = train_segmenter(
            model,
            train_data(model),
            None if validation_data is None else validation_data(model),
            epochs=stage_epochs,
            ignore_label=ignore_label,
            recipe=recipe,
            learning_rate=learning_rate,
            loss=loss,
            supervised=depths(model),
            run_dir=None if run_dir is None else Path(run_dir) / f"{number}-instances{count}",
            resume=resume,
            checkpoint_steps=checkpoint_steps,
            progress=progress,
        )
        stages.append(Stage(model, history, tuple(copied)))
    return stages
