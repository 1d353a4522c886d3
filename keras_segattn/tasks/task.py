"""Base classes of tasks and their results: read an example, run a model on examples, interpret the outputs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from PIL import Image

from keras_segattn.data.examples import Frame, boxes_on_image, computed, read
from keras_segattn.facts import Facts
from keras_segattn.fields import Boxes, Field, Vectors
from keras_segattn.tasks import closeness
from keras_segattn.tasks.closeness import Arrays

Shapes = Mapping[str, tuple[int | None, ...]]
Rows = list[tuple[str, ...]]


class Example(NamedTuple):
    """One example, as a user gave it and as a model takes it.

    Attributes:
        given: input name → value from the user: a picture uint8 `(height, width, 3)`, the tokens of a text, …
        arrays: input name → array for the model, without a batch. Pictures are not normalised yet.
        frames: input name → record of how the picture was fitted to the size that the model takes.
    """

    given: dict[str, Any]
    arrays: Arrays
    frames: dict[str, Frame]


@dataclass(frozen=True)
class Result:
    """The interpreted outputs of a model for one example."""

    def rows(self) -> Rows:
        """Return the result as a table; the first row holds the headings."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Return the result in types that JSON has."""
        raise NotImplementedError

    def notes(self) -> list[str]:
        """Return lines to print below the table."""
        return []

    def warnings(self) -> list[str]:
        """Return warnings about the example, such as words that the model does not know."""
        return []

    def draw(self) -> Image.Image | None:
        """Draw a picture of the result; `None` if there is nothing to draw."""
        return None

    def masks(self) -> Image.Image | None:
        """Return an image whose pixels are class or instance numbers; `None` if the task has none."""
        return None


class Task:
    """Base of the tasks: a task knows which inputs a user gives, and what the outputs of a model mean.

    Attributes:
        name: name of the task, one of `keras_segattn.tasks.TASKS`.
        drawing: noun for the picture that `Result.draw` makes; it ends the names of files.
        every_pixel: whether the outputs are class scores of every pixel; servers then also offer their arg-max.
        positions: names of outputs `(…, 4)` that are boxes (x1, y1, x2, y2) in pixels of the image.
        signatures: names of the signatures of stored models that `interpret` understands, the preferred one first.
    """

    name: ClassVar[str]
    drawing: ClassVar[str]
    signatures: ClassVar[tuple[str, ...]] = ("serving_default",)
    every_pixel: ClassVar[bool] = False
    positions: ClassVar[tuple[str, ...]] = ()

    def asks(self, facts: Facts, shapes: Shapes) -> dict[str, Field]:
        """Return the inputs that a user gives, in order."""
        return {name: kind for name, kind in (facts.given | _unknown(facts, shapes)).items() if name in shapes}

    def read(self, facts: Facts, shapes: Shapes, given: Sequence[Any], options: Mapping[str, Any]) -> Example:  # noqa: ARG002
        """Read an example from what a user gave.

        Args:
            facts: facts about the model.
            shapes: input name → shape without the batch; `None` where a size is open.
            given: paths, arrays or texts, one for each input that `asks` returns.
            options: values of all options of the task.

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
        for name, kind in asked.items():
            if isinstance(kind, Boxes) and kind.picture in frames:  # arrays of other channels are not resized
                arrays[name] = boxes_on_image(arrays[name], frames[kind.picture])
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
        """Run a model on examples whose arrays have equal shapes, and return one result per example.

        Args:
            call: model as a function from a batch to its outputs, both name → array.
            examples: one or more examples.
            facts: facts about the model.
            options: values of all options of the task.
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
        """Interpret the outputs for one example.

        Args:
            outputs: output name → array without a batch.
            facts: facts about the model.
            example: example that the outputs belong to.
            options: values of all options of the task.

        Raises:
            ValueError: if the outputs are not those of the task, hold NaN, or do not fit the facts.
        """
        raise NotImplementedError

    def compare(
        self, outputs: Mapping[str, Arrays], expected: Mapping[str, Arrays], precision: str
    ) -> closeness.Comparison:
        """Compare the outputs of a written file with those of the model; see `closeness.compare`."""
        return closeness.compare(outputs, expected, precision)


def output(outputs: Mapping[str, np.ndarray], names: Sequence[str], task: str) -> tuple[str, np.ndarray]:
    """Return name and values of the output with the first of the names that exists, or else of the only output.

    Raises:
        ValueError: if there is no such output, or it holds NaN.
    """
    found = next((name for name in names if name in outputs), None)
    if found is None and len(outputs) == 1:
        found = next(iter(outputs))
    if found is None:
        raise ValueError(f"to {task}, a model must give {' or '.join(names)}; this one gives {', '.join(outputs)}")
    values = np.asarray(outputs[found])
    if values.dtype.kind == "f" and np.isnan(values).any():  # `argmax` would return the position of the NaN
        raise ValueError(f"the model gives NaN as {found}: look for NaN or infinity in its weights and its input")
    return found, values


def class_names(labels: Sequence[str] | None, classes: int) -> list[str]:
    """Return one name per class: the labels, or `"class 0"`, `"class 1"`, … if there are none.

    Raises:
        ValueError: if the number of labels is not the number of classes.
    """
    if labels is None:
        return [f"class {number}" for number in range(classes)]
    if len(labels) != classes:
        raise ValueError(f"the model has {classes} classes, received {len(labels)} names of them")
    return list(labels)


def _unknown(facts: Facts, shapes: Shapes) -> dict[str, Field]:
    """Return the inputs that the facts do not mention, as `Vectors`."""
    return {name: Vectors() for name in shapes if name not in facts.inputs}
