"""What a user may choose for each task: flags of the command line and keyword arguments in Python."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras_segattn.arguments import unknown

# A number where text is expected is taken as its text, a whole number where any number is.
ACCEPTED: dict[type, tuple[type, ...]] = {int: (int,), float: (int, float), str: (str, int)}


@dataclass(frozen=True)
class Option:
    """Something that a user may choose.

    Args:
        type: of the value: `int`, `float` or `str`.
        default: value if nothing is chosen; `None` if it is left to the model.
        help: sentence for the command line.
        minimum: least value, or `None`.
        choices: all values that there are, or `None`.
    """

    type: type
    default: Any
    help: str
    minimum: float | None = None
    choices: tuple[str, ...] | None = None

    def checked(self, name: str, value: Any) -> Any:
        """The value in the option's type.

        Raises:
            ValueError: if it is none.
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
    "classify": {"top": Option(int, 5, "How many classes to name.", minimum=1)},
    "segment": {"clear": Option(str, None, "Class, by name or number, that the overlay leaves as it is.")},
    "detect": {
        "score_threshold": Option(float, 0.5, "Objects that the model is less sure of are left out.", minimum=0),
    },
    "write": {"best": Option(int, 1, "How many sentences to show.", minimum=1)},
    "generate": {
        "count": Option(int, 64, "How many images.", minimum=1),
        "label": Option(str, None, "Class, by name or number, of all images; default: all classes in turn."),
        "seed": Option(int, 0, "Seed of the noise.", minimum=0),
        "noise": Option(str, None, "Instead of what the model was trained with.", choices=("normal", "uniform")),
        "scale": Option(int, 2, "Side of the square that a pixel becomes.", minimum=1),
    },
}


def checked_options(task: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a task: those given, and the defaults of the others.

    Raises:
        ValueError: if the task has no such option, or a value is wrong.
    """
    known = OPTIONS[task]
    for name in given:
        if name not in known:
            raise ValueError(unknown(f"option of the task {task!r}", name, known))
    return {name: option.checked(name, given.get(name, option.default)) for name, option in known.items()}


def class_index(name: str, value: str, labels: tuple[str, ...] | None, classes: int) -> int:
    """The class that a user means by its name, or else by its number from 0.

    Raises:
        ValueError: if there is none.
    """
    if labels is not None and value in labels:
        return labels.index(value)
    if value.isdecimal() and int(value) < classes:
        return int(value)
    called = f", called {', '.join(labels)}" if labels else ""
    raise ValueError(f"{name} {value}: the model has {classes} classes from 0 on{called}")
