"""Training of a model that is given by name on data that are given as text, and its evaluation, for every task.

`keras_segattn.data.sources` lists the forms of the text, which is also the value of `--data` on the command line.
"""

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import keras

from keras_segattn.arguments import check_choice, check_positive_integer, unknown
from keras_segattn.data.sources import open_source
from keras_segattn.facts import Facts, check_labels_of, facts_of, holds_facts, read_facts
from keras_segattn.registry import model_card
from keras_segattn.training.workflows import classify, detect, generate, segment, write
from keras_segattn.training.workflows.job import Job, Workflow, check_same

WORKFLOWS: dict[str, Workflow] = {
    "segment": segment.WORKFLOW,
    "classify": classify.WORKFLOW,
    "detect": detect.WORKFLOW,
    "write": write.WORKFLOW,
    "generate": generate.WORKFLOW,
}


def train(
    model: str,
    data: str,
    run_dir: str | PathLike[str],
    *,
    validation: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    epochs: int = 20,
    batch_size: int = 8,
    size: tuple[int, int] | None = None,
    recipe: str | None = None,
    learning_rate: float | None = None,
    mixed_precision: bool = False,
    seed: int = 0,
    resume: bool = True,
    labels: Sequence[str] | None = None,
    augment: bool = True,
    progress: bool = True,
) -> Path:
    """Build a model and train it with the trainer of its task.

    The run directory holds `checkpoint.npz`, `history.csv`, `settings.json` and `run.json`, with `validation` also
    `best.keras`, and at the end `model.keras`. Facts about the models are stored in their files
    (`keras_segattn.read_facts`). After an interruption, the same call goes on with the epoch after the checkpoint.

    Args:
        model: name of a builder.
        data: text that names the data, such as `"folder:images,masks"`; see `data.source_forms`.
        run_dir: directory for the files, made if missing.
        validation: text that names the data that are evaluated after every epoch.
        arguments: arguments of the builder. Sizes of vocabularies limit the number of tokens that are kept. Arguments
            that follow from the data, such as the number of classes, may be left out.
        epochs: passes over the data, those before an interruption included.
        batch_size: number of examples per update.
        size: (height, width) of the pictures; default: the size of the data if all pictures have the same, or the
            published one.
        recipe: name of a recipe of the task; default: the builder's own, or the first of the task.
        learning_rate: learning rate instead of the recipe's. For a generator, the rate of its discriminator changes in
            proportion.
        mixed_precision: whether to compute in 16-bit floats; the weights stay float32.
        seed: seed of initial weights, order of the examples and augmentation.
        resume: whether to go on with the training in the run directory; `False` starts again and overwrites it.
        labels: names of the classes, instead of those of the data; for a detector, without the background.
        augment: whether pictures are changed at random: mirrored if they stay plausible, and for the task `segment`
            also zoomed and coloured.
        progress: whether to show a progress bar.

    Returns:
        Path of the trained model.

    Raises:
        ValueError: if an argument is wrong or contradicts the data.
        FileNotFoundError: if data are missing.
        CheckpointError: if the run directory holds a training with other settings, or its checkpoint is damaged.
        TrainingDivergedError: if a loss or a weight becomes NaN or infinite.

    Example:
        >>> train("squeezenet1_1", "folder:flowers", "run", epochs=10, size=(128, 128))
        PosixPath('run/model.keras')
    """
    card = model_card(model)
    workflow = WORKFLOWS[card.task]
    check_positive_integer("epochs", epochs)
    check_positive_integer("batch_size", batch_size)
    check_choice("mixed_precision", mixed_precision, (True, False))
    name = recipe or card.training.recipe or next(iter(workflow.recipes))
    if name not in workflow.recipes:
        raise ValueError(unknown(f"recipe to {card.task}", name, workflow.recipes))
    chosen = workflow.recipes[name]
    if learning_rate is not None:
        chosen = workflow.with_rate(chosen, learning_rate)
    if validation is not None and not workflow.validates:
        raise ValueError(f"models that {card.task} are not evaluated while they are trained: leave validation out")
    settings = {
        "model": card.name,
        "data": data,
        "arguments": dict(arguments or {}),
        "batch_size": batch_size,
        "size": size,
        "recipe": name,
        "learning_rate": learning_rate,
        "mixed_precision": mixed_precision,
        "seed": seed,
        "labels": labels,
        "augment": augment,
    }
    settings = json.loads(json.dumps(settings, default=repr))
    if resume:
        check_same(Path(run_dir), settings)
    kind = next(iter(card.inputs.values())).kind if card.task == "write" else None
    source = open_source(data, card.task, kind)
    held_out = None if validation is None else open_source(validation, card.task, kind)
    job = Job(
        card=card,
        data=source,
        validation=held_out,
        run_dir=Path(run_dir),
        arguments=dict(arguments or {}),
        epochs=epochs,
        batch_size=batch_size,
        size=size,
        recipe=chosen,
        mixed_precision=mixed_precision,
        seed=seed,
        resume=resume,
        labels=None if labels is None else tuple(labels),
        augment=augment,
        progress=progress,
        settings=settings,
    )
    job.check_validation()
    keras.utils.set_random_seed(seed)
    workflow.train(job)
    return job.run_dir / "model.keras"


def evaluate(
    model: keras.Model | str | PathLike[str],
    data: str,
    *,
    size: tuple[int, int] | None = None,
    batch_size: int = 1,
    labels: Sequence[str] | None = None,
) -> dict[str, float]:
    """Compute the scores of a trained model on data.

    Args:
        model: trained model, or the path of its `.keras` file.
        data: text that names the data, see `train`.
        size: (height, width) to which pictures are resized; default: the size of the model, or of the pictures.
        batch_size: number of pictures that are evaluated at once.
        labels: names of the classes, instead of those that are stored with the model.

    Returns:
        Name of a score → value in 0..1, or NaN if there is nothing to score. The scores of `segment` are accuracy and
        IoU, those of `classify` are `top1_error` and `top5_error`, and those of `detect` are average precisions such as
        `"segm AP50"`.

    Raises:
        ValueError: if the task of the model has no scores, or the data do not fit.

    Example:
        >>> evaluate("run/model.keras", "folder:held_out")
        {'top1_error': 0.04, 'top5_error': 0.0}
    """
    network, facts = (model, facts_of(model)) if isinstance(model, keras.Model) else _opened(Path(model))
    workflow = WORKFLOWS.get(facts.task or "")
    if workflow is None or workflow.evaluate is None:
        able = ", ".join(task for task, other in WORKFLOWS.items() if other.evaluate)
        raise ValueError(f"models that {able} have scores, {network.name!r} is to {facts.task}")
    source = open_source(data, str(facts.task))
    names = labels or facts.labels or source.data.labels
    for known in (names, source.data.labels):
        check_labels_of(known, network, facts.card)
    facts = dataclasses.replace(facts, labels=None if names is None else tuple(names))
    return workflow.evaluate(network, facts, source, size, batch_size)


def _opened(path: Path) -> tuple[keras.Model, Facts]:
    """Open a trained model and its facts; no code from the file is ever run."""
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a readable Keras model: {error}") from error
    return model, read_facts(path) if holds_facts(path) else facts_of(model)
