"""Segmentation: the class of every pixel of a picture."""

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
        mask: int32 `(height, width)` in the size of the user's picture, or of the crop if the model saw only that.
        picture: uint8 `(height, width, 3)`, the picture or crop that belongs to the mask.
        names: names of the classes, or `None` if they have none.
        clear: class that the drawing does not tint; `None` is the background, if a class is called so.
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
        """Return the name of a class."""
        return f"class {number}" if self.names is None else self.names[number]

    def rows(self) -> Rows:
        """Return the classes that occur and their shares of the pixels."""
        return [("class", "share"), *((self.name_of(one), f"{share:.4f}") for one, share in self.shares.items())]

    def to_json(self) -> dict[str, Any]:
        """Return mask size and class shares in types that JSON has; `masks` returns the pixels."""
        shares = [{"index": one, "name": self.name_of(one), "share": share} for one, share in self.shares.items()]
        return {"size": list(self.mask.shape), "classes": shares}

    def draw(self) -> Image.Image:
        """Draw the picture, tinted by the classes of its pixels."""
        clear = background_of(self.names) if self.clear is None else self.clear
        return overlay(self.picture, self.mask, labels=self.names, clear=clear)

    def masks(self) -> Image.Image:
        """Return an image whose pixels are class numbers."""
        return class_image(self.mask, None, classes=None if self.names is None else len(self.names))


class Segment(Task):
    """The task of segmenters.

    Their output is `logits` or `probabilities` `(height, width, classes)`, or `mask` `(height, width)`.
    """

    name = "segment"
    drawing = "overlay"
    every_pixel = True

    def interpret(
        self, outputs: Mapping[str, np.ndarray], facts: Facts, example: Example, options: Mapping[str, Any]
    ) -> Segmented:
        """Return the most probable class of every pixel, in the size of the user's picture."""
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
        if not example.frames:  # the input is numbers, not a picture to draw on
            return Segmented(mask, np.zeros((*mask.shape, 3), np.uint8), names, clear)
        picture, frame = next(iter(example.frames.items()))
        if frame.fit == "crop":
            seen = example.arrays[picture]
            return Segmented(mask, np.broadcast_to(seen, (*seen.shape[:2], 3)), names, clear)
        return Segmented(classes_in_picture(mask, frame), example.given[picture], names, clear)


TASK = Segment()
