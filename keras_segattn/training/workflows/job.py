"""Requests of users to train a model, and functions that the workflows of all tasks share."""

import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from keras_segattn.arguments import check_labels, unknown
from keras_segattn.data.sources import Source
from keras_segattn.facts import Facts
from keras_segattn.fields import Picture
from keras_segattn.files import locked, replaced
from keras_segattn.registry import Card
from keras_segattn.training.checkpoint import CheckpointError

SETTINGS_FILE = "run.json"


@dataclass(frozen=True, kw_only=True)
class Job:
    """Request of a user to train a model.

    Args:
        card: card of the model's builder.
        data: data to train on.
        validation: data to evaluate on after every epoch, or `None`.
        run_dir: directory for checkpoint, history and models.
        arguments: arguments of the builder.
        epochs: passes over the data.
        batch_size: number of examples per update.
        size: (height, width) of pictures, or `None` if the user gave none.
        recipe: recipe to train by, one of the workflow's recipes.
        mixed_precision: whether to compute in 16 bits.
        seed: seed of order and augmentation.
        resume: whether to go on with the training in the run directory.
        labels: names of the classes, or `None` if the user gave none.
        augment: whether pictures are changed at random.
        progress: whether to show a progress bar.
        settings: settings that must not change between the parts of an interrupted training run.
    """

    card: Card
    data: Source
    validation: Source | None
    run_dir: Path
    arguments: Mapping[str, Any]
    epochs: int
    batch_size: int
    size: tuple[int, int] | None
    recipe: Any
    mixed_precision: bool
    seed: int
    resume: bool
    labels: tuple[str, ...] | None
    augment: bool
    progress: bool
    settings: Mapping[str, Any]

    @property
    def training(self) -> dict[str, Any]:
        """Return the arguments that every trainer has."""
        return {
            "epochs": self.epochs,
            "recipe": self.recipe,
            "run_dir": self.run_dir,
            "resume": self.resume,
            "mixed_precision": self.mixed_precision,
            "progress": self.progress,
        }

    @property
    def sentence(self) -> str:
        """Return a text for the facts that names the training data and the number of epochs."""
        return f"{self.data}, {self.epochs} epoch{'s' if self.epochs > 1 else ''}"

    @property
    def mirror(self) -> bool:
        """Return whether pictures are mirrored left to right half of the time."""
        return self.augment and self.data.data.mirrors

    @property
    def names(self) -> tuple[str, ...] | None:
        """Return the names of the classes: the user's, or else those of the data."""
        return self.labels or self.data.data.labels

    def classes(self, background: int = 0) -> int:
        """Return the number of classes, including `background` classes without a name.

        Raises:
            ValueError: if neither data nor user give the number, or if the given numbers differ.
        """
        found = self.data.data
        known = len(found.labels) if found.labels else found.classes
        if self.labels and known is not None:
            check_labels(self.labels, known)
        count = len(self.names) if self.names else known
        if count is None and "classes" in self.arguments:
            return int(self.arguments["classes"])
        if count is None:
            raise ValueError(
                f"{self.data.text} does not say how many classes there are: give labels, their names, or "
                f"classes=… among the arguments of {self.card.name}"
            )
        if self.labels and "classes" in self.arguments:
            check_labels(self.labels, self.arguments["classes"] - background)
        return count + background

    def shape(self, argument: str = "input_shape") -> tuple[int, int, int]:
        """Return the shape of the pictures: the user's, else the common shape of the data, else the published one.

        Args:
            argument: name of the builder's argument for the shape.

        Raises:
            ValueError: if no size is given anywhere.
        """
        picture = next((kind for kind in self.card.inputs.values() if isinstance(kind, Picture)), Picture())
        default = inspect.signature(self.card.builder).parameters[argument].default
        given = self.arguments.get(argument)
        published = self.card.published.get(argument) or default
        sizes = [place for place in (self.size, given, self.data.data.size, picture.size, published) if place]
        size = next(((place[0], place[1]) for place in sizes if None not in place[:2]), None)
        if size is None:
            raise ValueError(f"no size of the pictures of {self.card.name} is known: give size=(height, width)")
        channels = self.data.data.channels or (given or published or (3,))[-1]
        return (*size, channels)

    def filled(self, **known: Any) -> dict[str, Any]:
        """Return the arguments of the builder: the user's, and those that follow from the data.

        Raises:
            ValueError: if the two contradict each other, or the builder does not take an argument.
        """
        return filled(self.card, self.arguments, self.data.text, **known)

    def begin(self) -> None:
        """Write the settings into the run directory, before the trainer writes its files there."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        with locked(self.run_dir), replaced(self.run_dir / SETTINGS_FILE) as temporary:
            temporary.write_text(json.dumps(self.settings, indent=2, ensure_ascii=False), encoding="utf-8")

    def check_validation(self) -> None:
        """Raise `ValueError` if the validation data have other classes or channels than the training data."""
        if self.validation is None:
            return
        for name in ("labels", "classes", "channels"):
            mine, other = (getattr(source.data, name) for source in (self.data, self.validation))
            if mine != other:
                raise ValueError(
                    f"expected the same {name} to train and to evaluate on, received {mine} of {self.data.text} and "
                    f"{other} of {self.validation.text}"
                )


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """Functions and recipes that train and evaluate the models of one task.

    Args:
        train: function that trains the model of a job.
        recipes: recipes by name, the default one first.
        validates: whether the trainer can evaluate after every epoch.
        with_rate: function from a recipe and a learning rate to the recipe with that rate.
        evaluate: function from model, facts, data, size of the pictures and batch size to scores by name, or `None` if
            the task has no scores.
    """

    train: Callable[[Job], Any]
    recipes: Mapping[str, Any]
    validates: bool = True
    with_rate: Callable[[Any, float], Any] = lambda recipe, rate: dataclasses.replace(recipe, learning_rate=rate)
    evaluate: Callable[[keras.Model, Facts, Source, tuple[int, int] | None, int], dict[str, float]] | None = None


def filled(card: Card, given: Mapping[str, Any], data: str, **known: Any) -> dict[str, Any]:
    """Return the arguments of a builder: the given ones, and those that are known from the data.

    Args:
        card: card of the builder.
        given: arguments of the user by name.
        data: name of the data in messages.
        **known: arguments that follow from the data. If one is a shape, the user's may leave sizes open (`None`).

    Raises:
        ValueError: if the two contradict each other, or the builder does not take an argument.
    """
    parameters = inspect.signature(card.builder).parameters
    for name in given:
        if name not in parameters:
            raise ValueError(unknown(f"argument of {card.name}", name, parameters))
    for name, value in known.items():
        if name not in parameters:
            raise ValueError(f"{card.name} has no argument {name!r}, so it cannot be trained on {data}")
        if name in given and not _agree(given[name], value):
            raise ValueError(f"expected {name}={value!r}, which {data} and the size need, received {given[name]!r}")
    return {**known, **given}


def picture_of(facts: Facts) -> Picture:
    """Return the field of the picture that a model takes.

    Raises:
        ValueError: if it takes no picture, or several.
    """
    found = [kind for kind in facts.inputs.values() if isinstance(kind, Picture)]
    if len(found) != 1:
        raise ValueError(f"expected a model that takes one picture, received inputs {list(facts.inputs)}")
    return found[0]


def check_same(run_dir: Path, settings: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` if a run directory holds a training run that was begun with other settings."""
    file = run_dir / SETTINGS_FILE
    if not (run_dir / "checkpoint.npz").exists() or not file.exists():
        return
    before, now = json.loads(file.read_text(encoding="utf-8")), json.loads(json.dumps(settings))
    changed = [
        f"{name} was {before.get(name)!r}, now {value!r}" for name, value in now.items() if before.get(name) != value
    ]
    if changed:
        raise CheckpointError(
            f"{run_dir} holds a training with other settings ({'; '.join(changed)}): give those, another run_dir, or "
            "train from the start (resume=False, --restart)"
        )


def freeze(model: keras.Model, layer: str, source: str) -> None:
    """Exclude the layers between the input `source` and a layer, that layer included, from training."""
    keras.Model(model.input[source], model.get_layer(layer).output).trainable = False


def _agree(given: Any, known: Any) -> bool:
    """Return whether an argument equals the known value, or leaves open sizes that are known."""
    if not isinstance(given, tuple | list) or not isinstance(known, tuple):
        return bool(given == known)
    return len(given) == len(known) and all(one in (None, other) for one, other in zip(given, known, strict=True))
