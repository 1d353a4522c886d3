"""Detection: the objects in a picture, each with its box and, if the model finds it, its mask."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from keras_segattn.data.fitting import in_picture
from keras_segattn.facts import Facts
from keras_segattn.tasks import closeness, detections
from keras_segattn.tasks.closeness import Arrays
from keras_segattn.tasks.task import Example, Result, Rows, Task
from keras_segattn.visualize import draw_instances, instance_image

OUTPUTS = ("boxes", "scores", "classes", "count")


@dataclass(frozen=True)
class Detected(Result):
    """The objects in a picture, best first.

    Attributes:
        boxes: float32 `(n, 4)`, (x1, y1, x2, y2) in pixels of the picture.
        scores: float32 `(n,)`, 0..1.
        classes: integers `(n,)`, counted from 1.
        instances: masks, bool `(n, height, width)`, or `None` if the model finds boxes only.
        picture: uint8 `(height, width, 3)`.
        names: names of the classes from 1 on, or `None` if they have none.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    instances: np.ndarray | None
    picture: np.ndarray
    names: tuple[str, ...] | None = None

    def name_of(self, number: int) -> str:
        """Return the name of a class; numbers count from 1."""
        return f"class {number}" if self.names is None else self.names[number - 1]

    def rows(self) -> Rows:
        """Return one row per object: name, score and box."""
        found = zip(self.classes, self.scores, self.boxes, strict=True)
        table = ((self.name_of(int(c)), f"{score:.4f}", " ".join(f"{v:.1f}" for v in box)) for c, score, box in found)
        return [("object", "score", "box"), *table]

    def to_json(self) -> dict[str, Any]:
        """Return the objects without their masks, in types that JSON has; `masks` returns the pixels."""
        found = zip(self.classes.tolist(), self.scores.tolist(), self.boxes.tolist(), strict=True)
        objects = [{"class": c, "name": self.name_of(c), "score": score, "box": box} for c, score, box in found]
        return {"size": list(self.picture.shape[:2]), "objects": objects}

    def draw(self) -> Image.Image:
        """Draw the objects on the picture."""
        return draw_instances(self.picture, self.boxes, self.classes, self.scores, self.instances, self.names)

    def masks(self) -> Image.Image | None:
        """Return an image whose pixels are object numbers, counted from 1 in the order of `rows`; `None` without masks.

        Pixels without an object are 0; where objects overlap, the one with the higher score is visible.
        """
        return None if self.instances is None else instance_image(self.instances)


class Detect(Task):
    """The task of detectors, whose outputs are `boxes`, `scores`, `classes`, `count` and, if found, `masks`."""

    name = "detect"
    drawing = "instances"
    positions = ("boxes",)

    def interpret(
        self, outputs: Mapping[str, np.ndarray], facts: Facts, example: Example, options: Mapping[str, Any]
    ) -> Detected:
        """Return the objects whose score reaches the threshold, in coordinates of the user's picture."""
        if not set(OUTPUTS) <= outputs.keys():
            expected = ", ".join(OUTPUTS)
            raise ValueError(f"to detect, a model must give {expected}; this one gives {', '.join(outputs)}")
        if not example.frames:
            raise ValueError("objects are found in pictures, and the model takes none")
        picture, frame = next(iter(example.frames.items()))
        if frame.fit == "crop":
            raise ValueError("a detector takes whole pictures: its field must have fit='pad' or 'stretch'")
        found = in_picture(outputs, frame.size, frame.factors)
        if np.isnan(found["scores"]).any():
            raise ValueError("the model gives NaN as scores: look for NaN or infinity in its weights and its input")
        kept = found["scores"] >= options["score_threshold"]
        boxes, scores, classes = (found[name][kept] for name in OUTPUTS[:-1])
        masks = found["masks"][kept] if "masks" in found else None
        names = facts.labels
        if names is not None and classes.max(initial=0) > len(names):
            raise ValueError(f"the model finds class {classes.max()}, and has {len(names)} names")
        return Detected(boxes, scores, classes, masks, example.given[picture], names)

    def compare(
        self, outputs: Mapping[str, Arrays], expected: Mapping[str, Arrays], precision: str
    ) -> closeness.Comparison:
        """Match the detections, or compare the numbers of a backbone without heads, which detects nothing."""
        if any(not set(OUTPUTS) <= named.keys() for named in expected.values()):
            return super().compare(outputs, expected, precision)
        return detections.compare(outputs, expected, precision)


TASK = Detect()
