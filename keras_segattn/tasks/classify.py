"""Classification: one class per example, a class at each of several places, or whether an image is real."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from keras_segattn.facts import Facts
from keras_segattn.fields import Picture
from keras_segattn.ops.transformations import TRANSFORMATIONS, grid_of
from keras_segattn.tasks.task import Example, Result, Rows, Task, class_names, output
from keras_segattn.visualize.panels import panels
from keras_segattn.visualize.transformations import transformer_panels

# Classes of a model with one output unit, such as the discriminator of a generator.
TWO_CLASSES = ("generated", "real")
NOTHING = "none"


@dataclass(frozen=True)
class Guess:
    """A class with its probability.

    Attributes:
        index: number of the class.
        name: name of the class.
        probability: probability of the class, 0..1.
    """

    index: int
    name: str
    probability: float


class Seen(NamedTuple):
    """The result of a spatial transformer on a picture.

    Attributes:
        picture: uint8 `(height, width, channels)`, as the model takes it.
        theta: parameters of all transformations, concatenated.
        transformed: uint8 `(rows, columns, channels)`, or `(parts, rows, columns, channels)` if there are several.
    """

    picture: np.ndarray
    theta: np.ndarray
    transformed: np.ndarray


@dataclass(frozen=True)
class Classified(Result):
    """The classes of an example.

    Attributes:
        places: classes of each place, most probable first; most models have one place.
        blank: number of the class that means "nothing here" in models with several places; else `None`.
        seen: result of a spatial transformer, or `None` without one.
    """

    places: tuple[tuple[Guess, ...], ...]
    blank: int | None = None
    seen: Seen | None = None

    @property
    def best(self) -> Guess:
        """The most probable class of the first place."""
        return self.places[0][0]

    @property
    def text(self) -> str:
        """The most probable classes of all places as one text, without "nothing here"."""
        return "".join(place[0].name for place in self.places if place[0].index != self.blank)

    def rows(self) -> Rows:
        """Return the classes of the only place, or the most probable class of each place."""
        if len(self.places) == 1:
            return [("class", "probability"), *((one.name, f"{one.probability:.4f}") for one in self.places[0])]
        best = [place[0] for place in self.places]
        numbered = ((str(place), one.name, f"{one.probability:.4f}") for place, one in enumerate(best, start=1))
        return [("place", "class", "probability"), *numbered]

    def notes(self) -> list[str]:
        """Return the text that several places spell, and the parameters of a spatial transformer."""
        spelt = [self.text] if len(self.places) > 1 else []
        theta = [] if self.seen is None else [f"theta: {' '.join(f'{value:.3f}' for value in self.seen.theta)}"]
        return spelt + theta

    def to_json(self) -> dict[str, Any]:
        """Return the classes, and the parameters of a spatial transformer, in types that JSON has."""
        places = [[asdict(one) for one in place] for place in self.places]
        classes: dict[str, Any] = {"classes": places[0]} if len(places) == 1 else {"places": places, "text": self.text}
        return classes | ({} if self.seen is None else {"theta": [float(value) for value in self.seen.theta]})

    def draw(self) -> Image.Image | None:
        """Draw the picture and the output of the spatial transformer; `None` without one."""
        if self.seen is None:
            return None
        title = self.text if len(self.places) > 1 else f"{self.best.name}  {self.best.probability:.2f}"
        picture, theta, transformed = self.seen
        family = _family(theta)
        if family and transformed.ndim == 3:
            # If several transformers follow one another, the first one read the picture.
            grid = grid_of(theta[:family], transformed.shape[:2])
            return transformer_panels([picture], [grid], [transformed], [title])
        parts = transformed if transformed.ndim == 4 else transformed[None]
        cells = [np.broadcast_to(part, (*part.shape[:2], 3)) for part in (picture, *parts)]
        return panels([(title, cells[0]), *(("", cell) for cell in cells[1:])], columns=len(cells))


class Classify(Task):
    """The task of classifiers.

    Their output is `logits` or `probabilities`, `(classes,)` or `(places, classes)`; a spatial transformer adds `theta`
    and `transformed`.
    """

    name = "classify"
    drawing = "rectified"

    def interpret(
        self, outputs: Mapping[str, np.ndarray], facts: Facts, example: Example, options: Mapping[str, Any]
    ) -> Classified:
        """Return the `options["top"]` most probable classes of each place."""
        name, scores = output(outputs, ("logits", "probabilities"), self.name)
        if scores.ndim not in (1, 2):
            raise ValueError(f"to classify, {name} must be (classes,) or (places, classes), received {scores.shape}")
        scores = np.atleast_2d(scores).astype(np.float64)
        final = facts.options.get("activation") in ("softmax", "sigmoid") or name == "probabilities"
        labels: Sequence[str] | None = facts.labels
        blank = facts.options.get("blank")
        if scores.shape[1] == 1:
            # The softmax of half a score and its opposite is the sigmoid of the score.
            scores = np.concatenate([1 - scores, scores] if final else [-scores / 2, scores / 2], axis=1)
            labels = labels or TWO_CLASSES
        if blank is not None:
            blank %= scores.shape[1]
            labels = labels or [NOTHING if i == blank else str(i) for i in range(scores.shape[1])]
        names = class_names(labels, scores.shape[1])
        # Ranked before the softmax, which rounds all improbable classes to 0 and so loses their order.
        ranked = np.argsort(-scores, axis=-1, kind="stable")[:, : options["top"]]
        if not final:
            scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
            scores /= scores.sum(axis=-1, keepdims=True)
        places = tuple(
            tuple(Guess(int(i), names[i], float(row[i])) for i in best)
            for row, best in zip(scores, ranked, strict=True)
        )
        return Classified(places, blank, _seen(outputs, facts, example))


def _seen(outputs: Mapping[str, np.ndarray], facts: Facts, example: Example) -> Seen | None:
    """Return what a spatial transformer did to the first picture; `None` without either."""
    picture = next((name for name in example.frames), None)
    if picture is None or not {"theta", "transformed"} <= outputs.keys():
        return None
    image, transformed = example.arrays[picture], np.asarray(outputs["transformed"], np.float32)
    channels = image.shape[-1]
    # The outputs of several transformers of one picture are concatenated along the channels.
    beside = transformed.shape[-1] // channels
    if beside > 1:
        split = transformed.reshape(*transformed.shape[:-1], beside, channels)
        transformed = np.moveaxis(split, -2, 0)
    field = facts.inputs[picture]
    if isinstance(field, Picture):
        transformed = transformed * np.asarray(field.std, np.float32) + np.asarray(field.mean, np.float32)
        transformed = transformed[..., ::-1] if field.channels == "BGR" else transformed
    return Seen(image, np.asarray(outputs["theta"]), np.rint(transformed).clip(0, 255).astype(np.uint8))


def _family(theta: np.ndarray) -> int:
    """Return the number of parameters of the first transformation; 0 if its family is unknown."""
    sizes = {len(family.identity) for family in TRANSFORMATIONS.values()}
    affine = len(TRANSFORMATIONS["affine"].identity)
    return len(theta) if len(theta) in sizes else affine if len(theta) % affine == 0 else 0


TASK = Classify()
