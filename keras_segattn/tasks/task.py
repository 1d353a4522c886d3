"""What every task can do: read an example, run a model on examples, interpret its outputs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from PIL import Image

from keras_segattn.data.examples import Frame, computed, read
from keras_segattn.facts import Facts
from keras_segattn.fields import Field, Vectors
from keras_segattn.tasks import closeness
from keras_segattn.tasks.closeness import Arrays

Shapes = Mapping[str, tuple[int | None, ...]]
Rows = list[tuple[str, ...]]


class Example(NamedTuple):
    """One example, as a user gave it and as a model takes it.

    Attributes:
        given: input name → what the user gave: a picture uint8 `(height, width, 3)`, the tokens of a text, …
        arrays: input name → what the model takes, without a batch. Pictures are not normalised yet.
        frames: input name → how a picture was brought to the size that the model takes.
    """

    given: dict[str, Any]
    arrays: Arrays
    frames: dict[str, Frame]


@dataclass(frozen=True)
class Result:
    """What a model says about one example."""

    def rows(self) -> Rows:
        """A table; its first row are the headings."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """The result in the types of JSON."""
        raise NotImplementedError

    def notes(self) -> list[str]:
        """Lines that belong below the table."""
        return []

    def warnings(self) -> list[str]:
        """What the user should know about the example, such as words that the model does not know."""
        return []

    def draw(self) -> Image.Image | None:
        """A picture of the result, or `None` if there is nothing to draw."""
        return None

    def masks(self) -> Image.Image | None:
        """An image of class or instance numbers, or `None` of other tasks."""
        return None


class Task:
    """A meaning of outputs.

    Attributes:
        name: key of `keras_segattn.tasks.TASKS`.
        drawing: noun for what `Result.draw` draws, which file names end in.
        every_pixel: whether the outputs are scores of every pixel, of which servers also offer the largest.
        signatures: names under which stored models offer what is interpreted here, the preferred one first.
    """

    name: ClassVar[str]
    drawing: ClassVar[str]
    signatures: ClassVar[tuple[str, ...]] = ("serving_default",)
    every_pixel: ClassVar[bool] = False

    def asks(self, facts: Facts, shapes: Shapes) -> dict[str, Field]:
        """The inputs that a user gives, in order."""
        return {name: kind for name, kind in (facts.given | _unknown(facts, shapes)).items() if name in shapes}

    def read(self, facts: Facts, shapes: Shapes, given: Sequence[Any], options: Mapping[str, Any]) -> Example:  # noqa: ARG002
        """What a user gave as an example.

        Args:
            facts: what is known of the model.
            shapes: input name → shape without the batch; `None` where a size is open.
            given: paths, arrays or texts, one for each input of `asks`.
            options: all options of the task.

        Raises:
            ValueError: if something cannot be read or does not fit.
        """
        asked = self.asks(facts, shapes)
        if len(given) != len(asked):
            kinds = ", ".join(f"{name} ({kind.kind.replace('_', ' ')})" for name, kind in asked.items()) or "none"
            raise ValueError(f"the model takes {len(asked)} inputs, {kinds}; received {len(given)}")
        reading = {
            name: read(kind, shapes[name], value, facts.vocabularies)
            for (name, kind), value in zip(asked.items(), given, strict=True)
        }
        frames = {name: one.frame for name, one in reading.items() if one.frame is not None}
        arrays = {name: one.array for name, one in reading.items()}
        for name in shapes:
            if name not in arrays:
                arrays[name] = computed(facts.inputs[name], shapes[name], frames)
        return Example({name: one.given for name, one in reading.items()}, arrays, frames)

    def run(
        self,
        call: Callable[[Arrays], Arrays],
        examples: Sequence[Example],
        facts: Facts,
        options: Mapping[str, Any],
    ) -> list[Result]:
        """The results of examples whose arrays have equal shapes.

        Args:
            call: model, from a batch to its outputs.
            examples: at least one.
            facts: what is known of the model.
            options: all options of the task.
        """
        batch = {name: np.stack([one.arrays[name] for one in examples]) for name in examples[0].arrays}
        outputs = call(batch)
        return [
            self.interpret({name: values[place] for name, values in outputs.items()}, facts, example, options)
            for place, example in enumerate(examples)
        ]

    def interpret(
        self, outputs: Mapping[str, np.ndarray], facts: Facts, example: Example, options: Mapping[str, Any]
    ) -> Result:
        """What the outputs of one example mean.

        Args:
            outputs: output name → array without a batch.
            facts: what is known of the model.
            example: what it was given.
            options: all options of the task.

        Raises:
            ValueError: if the outputs are not those of the task, hold NaN, or do not fit the facts.
        """
        raise NotImplementedError

    def compare(
        self, outputs: Mapping[str, Arrays], expected: Mapping[str, Arrays], precision: str
    ) -> closeness.Comparison:
        """How far the answers of a written file are from those of the model; see `closeness.compare`."""
        return closeness.compare(outputs, expected, precision)


def output(outputs: Mapping[str, np.ndarray], names: Sequence[str], task: str) -> tuple[str, np.ndarray]:
    """Name and values of the first output that has one of the names, or of the only output.

    Raises:
        ValueError: if there is none, or it holds NaN.
    """
    found = next((name for name in names if name in outputs), None)
    if found is None and len(outputs) == 1:
        found = next(iter(outputs))
    if found is None:
        raise ValueError(f"to {task}, a model must give {' or '.join(names)}; this one gives {', '.join(outputs)}")
    values = np.asarray(outputs[found])
    if values.dtype.kind == "f" and np.isnan(values).any():  # a largest value would be that of the first NaN
        raise ValueError(f"the model gives NaN as {found}: look for NaN or infinity in its weights and its input")
    return found, values


def class_names(labels: Sequence[str] | None, classes: int) -> list[str]:
    """The names of so many classes, or their numbers if nobody named them.

    Raises:
        ValueError: if there are more or fewer names.
    """
    if labels is None:
        return [f"class {number}" for number in range(classes)]
    if len(labels) != classes:
        raise ValueError(f"the model has {classes} classes, received {len(labels)} names of them")
    return list(labels)


def _unknown(facts: Facts, shapes: Shapes) -> dict[str, Field]:
    """Inputs of which the facts say nothing."""
    return {name: Vectors() for name in shapes if name not in facts.inputs}
