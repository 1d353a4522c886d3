"""Staged training of fully convolutional networks: 32s, then 16s, then 8s."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import keras

from keras_segattn.arguments import is_integer
from keras_segattn.segmentation.fcn_transfer import initialize_from
from keras_segattn.training.recipes import resolve_recipe
from keras_segattn.training.segmentation_recipes import SEGMENTATION_RECIPES, SegmentationRecipe
from keras_segattn.training.segmenter import train_segmenter
from keras_segattn.training.source import Data


@dataclass(frozen=True)
class Stage:
    """Trained network of one stage.

    Args:
        model: trained network.
        history: Keras' history of its training.
        copied: names of the layers whose weights came from the stage before; empty for the first stage.
    """

    model: keras.Model
    history: keras.callbacks.History
    copied: tuple[str, ...]


def train_fcn_stages(
    builders: Sequence[Callable[[], keras.Model]],
    train_data: Data,
    validation_data: Data | None = None,
    *,
    epochs: int | Sequence[int],
    ignore_label: int | None = 255,
    recipe: str | SegmentationRecipe = "fcn",
    learning_rate: float | None = None,
    learning_rate_divisor: float = 100.0,
    run_dir: str | PathLike[str] | None = None,
    resume: bool = True,
    checkpoint_steps: int | None = None,
    mixed_precision: bool | str = False,
    progress: bool = True,
) -> list[Stage]:
    """Train increasingly fine networks, each from the weights of the one before (Long et al. 2015, section 4.3).

    A new score layer starts at zero, so that each stage starts from the predictions of the previous one. The paper
    divides the learning rate by 100 from stage to stage.

    Args:
        builders: functions without arguments that build the networks, coarse to fine.
        train_data: batches of images and masks, see `train_segmenter`.
        validation_data: batches of the same kind, evaluated after every epoch.
        epochs: number of epochs of every stage, or one number per stage.
        ignore_label: label of pixels that do not count, or `None`, see `train_segmenter`.
        recipe: recipe of the first stage; the other stages differ only in the learning rate.
        learning_rate: learning rate of the first stage, instead of the recipe's.
        learning_rate_divisor: number by which the rate is divided from stage to stage.
        run_dir: directory in which every stage gets a run directory, `1-fcn32s` and so on; `None` writes nothing.
        resume: whether to go on where an interrupted call stopped; finished stages are loaded, not trained again.
        checkpoint_steps: number of steps after which a checkpoint is also written within an epoch, see
            `train_segmenter`.
        mixed_precision: `True`, `False` or the name of a mixed policy, see `train_segmenter`.
        progress: whether to show Keras' progress bar.

    Returns:
        One `Stage` per network.

    Raises:
        ValueError: if there is no builder, the number of epochs does not match, or the divisor is not positive;
            also in the cases of `train_segmenter`.

    Example:
        >>> builders = [partial(build, classes=3) for build in (FCN32s, FCN16s, FCN8s)]
        >>> fcn8s = train_fcn_stages(builders, batches, epochs=30, run_dir="run")[-1].model
    """
    each = [epochs] * len(builders) if is_integer(epochs) else list(epochs)
    if not builders or len(each) != len(builders):
        raise ValueError(f"expected one number of epochs a stage, received {len(each)} for {len(builders)} stages")
    if not learning_rate_divisor > 0:
        raise ValueError(f"learning_rate_divisor must be positive, received {learning_rate_divisor!r}")
    current = resolve_recipe(recipe, SEGMENTATION_RECIPES)
    if learning_rate is not None:
        current = replace(current, learning_rate=learning_rate)
    stages: list[Stage] = []
    for number, (build, stage_epochs) in enumerate(zip(builders, each, strict=True), start=1):
        model = build()
        copied = initialize_from(model, stages[-1].model) if stages else []
        history = train_segmenter(
            model,
            train_data,
            validation_data,
            epochs=stage_epochs,
            ignore_label=ignore_label,
            recipe=current,
            run_dir=None if run_dir is None else Path(run_dir) / f"{number}-{model.name}",
            resume=resume,
            checkpoint_steps=checkpoint_steps,
            mixed_precision=mixed_precision,
            progress=progress,
        )
        stages.append(Stage(model, history, tuple(copied)))
        current = replace(current, learning_rate=current.learning_rate / learning_rate_divisor)
    return stages
