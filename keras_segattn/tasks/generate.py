"""Generation: images from noise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from keras_segattn.facts import Facts
from keras_segattn.fields import Field, Noise, OneHot
from keras_segattn.ops.pixels import pixels
from keras_segattn.tasks.options import class_index
from keras_segattn.tasks.task import Arrays, Example, Result, Rows, Shapes, Task, output
from keras_segattn.visualize.grid import image_grid

# Images per call. Generators that normalise with the statistics of a batch are meant to see this many at once.
BATCH = 128
COLUMNS = 8
IMAGE = "image"


@dataclass(frozen=True)
class Generated(Result):
    """Images of a generator.

    Attributes:
        images: uint8 `(count, height, width, channels)`.
        classes: class of each image; `None` if the generator has no classes.
        scale: side of the square in the drawing that stands for one pixel.
    """

    images: np.ndarray
    classes: tuple[int, ...] | None = None
    scale: int = 1

    def rows(self) -> Rows:
        """Return the number of images and their size."""
        return [("images", "height", "width", "channels"), tuple(map(str, self.images.shape))]

    def to_json(self) -> dict[str, Any]:
        """Return shape, classes and mean intensities of the images in types that JSON has; `draw` shows the pixels."""
        means = self.images.mean(axis=(1, 2, 3)).tolist()
        return {"shape": list(self.images.shape), "classes": self.classes and list(self.classes), "means": means}

    def draw(self) -> Image.Image:
        """Draw the images in a grid; if the classes take turns, each column shows one class."""
        turns = 0 if self.classes is None else len(set(self.classes))
        return image_grid(self.images, min(turns if turns > 1 else COLUMNS, len(self.images)), scale=self.scale)


class Generate(Task):
    """The task of generators, whose output is `image` `(height, width, channels)`, -1..1 after tanh, else 0..1."""

    name = "generate"
    drawing = "samples"

    def asks(self, facts: Facts, shapes: Shapes) -> dict[str, Field]:  # noqa: ARG002
        """Return no inputs: noise is drawn, and an option chooses the class."""
        return {}

    def read(self, facts: Facts, shapes: Shapes, given: Sequence[Any], options: Mapping[str, Any]) -> Example:
        """Draw noise and classes for full batches; `run` keeps the first `options["count"]` images."""
        if given:
            raise ValueError(f"a generator takes no inputs but its options, received {len(given)}")
        total = -(-options["count"] // BATCH) * BATCH
        arrays: Arrays = {}
        labels: dict[str, Any] = {}
        seed = options["seed"]
        # Inputs in the order of the facts, so that every stored form of a model gets the same noise.
        for name in sorted(shapes, key=[*facts.inputs, *shapes].index):
            kind, shape = facts.inputs.get(name), shapes[name]
            if isinstance(kind, Noise):
                kind = replace(kind, distribution=options["noise"] or kind.distribution)
                arrays[name] = kind.draw((total, *(size or 1 for size in shape)), seed)
                seed += 1
            elif isinstance(kind, OneHot):
                classes = shape[-1] or kind.classes
                places = np.arange(total) % classes
                if options["label"] is not None:
                    places[:] = class_index("label", options["label"], facts.labels, classes)
                labels[name], arrays[name] = places, np.eye(classes, dtype=np.float32)[places]
            else:
                raise ValueError(f"a generator takes noise and classes, this model takes {name}, {kind}")
        if options["label"] is not None and not labels:
            raise ValueError(f"label {options['label']}: this generator has no classes")
        return Example(labels, arrays, {})

    def run(
        self,
        call: Callable[[Arrays], Arrays],
        examples: Sequence[Example],
        facts: Facts,
        options: Mapping[str, Any],
    ) -> list[Result]:
        """Generate images in batches of `BATCH`, as in training."""
        results: list[Result] = []
        for example in examples:
            total = len(next(iter(example.arrays.values())))
            parts = [
                call({name: values[start : start + BATCH] for name, values in example.arrays.items()})
                for start in range(0, total, BATCH)
            ]
            outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            results.append(self.interpret(outputs, facts, example, options))
        return results

    def interpret(
        self, outputs: Mapping[str, np.ndarray], facts: Facts, example: Example, options: Mapping[str, Any]
    ) -> Generated:
        """Return the images of an example as pixels."""
        name, images = output(outputs, (IMAGE,), self.name)
        if images.ndim != 4 or images.shape[-1] not in (1, 3):
            raise ValueError(f"to generate, {name} must be (height, width, 1 or 3), received {images.shape[1:]}")
        count = options["count"]
        drawn = pixels(images[:count], -1.0 if facts.options.get("activation") == "tanh" else 0.0)
        classes = next((tuple(places[:count].tolist()) for places in example.given.values()), None)
        return Generated(drawn, classes, options["scale"])


TASK = Generate()
