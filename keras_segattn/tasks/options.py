"""Options of each task: flags on the command line, keyword arguments in Python."""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from keras_segattn.arguments import unknown

# Types accepted for each declared type: an integer also for `float`, and for `str`, where it becomes text.
ACCEPTED: dict[type, tuple[type, ...]] = {int: (Integral,), float: (Real,), str: (str, Integral)}


@dataclass(frozen=True)
class Option:
    """One option of a task.

    Args:
        type: type of the value: `int`, `float` or `str`.
        default: value if the user gives none; `None` leaves the choice to the model.
        help: sentence for the help of the command line.
        minimum: smallest allowed value, or `None`.
        choices: allowed values, or `None`.
    """

    type: type
    default: Any
    help: str
    minimum: float | None = None
    choices: tuple[str, ...] | None = None

    def checked(self, name: str, value: Any) -> Any:
        """Return the value in the option's type.

        Raises:
            ValueError: if the value has another type or is not allowed.
        """
        if value is None and self.default is None:
            return None
        if isinstance(value, bool) or not isinstance(value, ACCEPTED[self.type]):
            raise ValueError(f"{name} must be of type {self.type.__name__}, received {value!r}")
        value = self.type(value)
        if self.minimum is not None and not value >= self.minimum:
            raise ValueError(f"{name} must be at least {self.minimum}, received {value!r}")
        if self.choices is not None and value not in self.choices:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, self.choices))}, received {value!r}")
        return value


OPTIONS: dict[str, dict[str, Option]] = {
    "classify": {"top": Option(int, 5, "Number of classes to show, most probable first.", minimum=1)},
    "segment": {"clear": Option(str, None, "Class, by name or number, without colour in the overlay.")},
    "detect": {
        "score_threshold": Option(float, 0.5, "Smallest score, 0 to 1, of the objects to show.", minimum=0),
    },
    "write": {"best": Option(int, 1, "Number of sentences to show, best first.", minimum=1)},
    "generate": {
        "count": Option(int, 64, "Number of images to generate.", minimum=1),
        "label": Option(str, None, "Class of the images, by name or number; default: all classes in turn."),
        "seed": Option(int, 0, "Seed of the noise.", minimum=0),
        "noise": Option(
            str, None, "Distribution of the noise; default: as in training.", choices=("normal", "uniform")
        ),
        "scale": Option(int, 2, "Factor that enlarges the images in the drawing.", minimum=1),
    },
}


def checked_options(task: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a task: the given values, and the defaults of the others.

    Raises:
        ValueError: if the task has no such option, or a value is wrong.
    """
    known = OPTIONS[task]
    for name in given:
        if name not in known:
            raise ValueError(unknown(f"option of the task {task!r}", name, known))
    return {name: option.checked(name, given.get(name, option.default)) for name, option in known.items()}


def class_index(name: str, value: str, labels: tuple[str, ...] | None, classes: int) -> int:
    """Return the number of the class that a user gave by name, or else by number from 0.

    Raises:
        ValueError: if there is no such class.
    """
    if labels is not None and value in labels:
        return labels.index(value)
    if value.isdecimal() and int(value) < classes:
        return int(value)
    called = f", called {', '.join(labels)}" if labels else ""
    raise ValueError(f"{name} {value}: the model has {classes} classes from 0 on{called}")
