"""To tell the class of every pixel of a picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from keras_segattn.data.fitting import classes_in_picture
from keras_segattn.facts import Facts
from keras_segattn.tasks.options import class_index
from keras_segattn.tasks.task import Example, Result, Rows, Task, class_names, output
from keras_segattn.visualize import background_of, class_image, overlay

MASK, SCORES = "mask", ("logits", "probabilities")


@dataclass(frozen=True)
class Segmented(Result):
    """The class of every pixel.

    Attributes:
        mask: int32 `(height, width)`, of the picture that the user gave; of the crop if the model saw one.
        picture: uint8 `(height, width, 3)` that the mask lies on.
        names: of the classes, or `None` if nobody named them.
        clear: class that a drawing leaves untinted; `None` is the background, if a class is called so.
    """

    mask: np.ndarray
    picture: np.ndarray
    names: tuple[str, ...] | None = None
    clear: int | None = None

    @property
    def shares(self) -> dict[int, float]:
        """Class → its share of the pixels, the largest first."""
        classes, counts = np.unique(self.mask, return_counts=True)
        found = zip(classes.tolist(), (counts / self.mask.size).tolist(), strict=True)
        return dict(sorted(found, key=lambda pair: (-pair[1], pair[0])))

    def name_of(self, number: int) -> str:
        """The name of a class."""
        return f"class {number}" if self.names is None else self.names[number]

    def rows(self) -> Rows:
        """The classes that occur, and their shares of the pixels."""
        return [("class", "share"), *((self.name_of(one), f"{share:.4f}") for one, share in self.shares.items())]

    def to_json(self) -> dict[str, Any]:
        """The size of the mask and the shares of the classes; `masks` has the pixels."""
        shares = [{"index": one, "name": self.name_of(one), "share": share} for one, share in self.shares.items()]
        return {"size": list(self.mask.shape), "classes": shares}

    def draw(self) -> Image.Image:
        """The picture tinted by its classes."""
        clear = background_of(self.names) if self.clear is None else self.clear
        return overlay(self.picture, self.mask, labels=self.names, clear=clear)

    def masks(self) -> Image.Image:
        """An image whose pixels are the numbers of the classes."""
        return class_image(self.mask, None, classes=None if self.names is None else len(self.names))


class Segment(Task):
    """Output `logits`, `probabilities` `(height, width, classes)` or `mask` `(height, width)`."""

    name = "segment"
    drawing = "overlay"
    every_pixel = True

    def interpret(
        self, outputs: Mapping[str, np.ndarray], facts: Facts, example: Example, options: Mapping[str, Any]
    ) -> Segmented:
        """The most probable class of every pixel, in the frame of the picture."""
        name, values = output(outputs, (MASK, *SCORES), self.name)
        scores = name != MASK and values.ndim == 3
        if values.ndim != 2 and not scores:
            raise ValueError(f"to segment, {name} must be (height, width, classes), received {values.shape}")
        mask = (values.argmax(axis=-1) if scores else values).astype(np.int32)
        classes = values.shape[-1] if scores else len(facts.labels or ()) or int(mask.max()) + 1
        names = None if facts.labels is None else tuple(class_names(facts.labels, classes))
        if mask.max() >= classes:
            raise ValueError(f"the model gives class {mask.max()}, and has names of {classes}")
        clear = None if options["clear"] is None else class_index("clear", options["clear"], names, classes)
        if not example.frames:  # numbers, not a picture that could be drawn on
            return Segmented(mask, np.zeros((*mask.shape, 3), np.uint8), names, clear)
        picture, frame = next(iter(example.frames.items()))
        if frame.fit == "crop":
            seen = example.arrays[picture]
            return Segmented(mask, np.broadcast_to(seen, (*seen.shape[:2], 3)), names, clear)
        return Segmented(classes_in_picture(mask, frame), example.given[picture], names, clear)


TASK = Segment()
