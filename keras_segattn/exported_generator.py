"""Generators at work: a Keras model, a SavedModel or a `.tflite` draws pictures out of noise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_segattn.exported_signature import Shapes, open_signature
from keras_segattn.generation.latent import black, noise, pixels

LABEL = "label"
# Generators that normalise by the batch are meant to see this many images at once.
BATCH = 128


class ImageGenerator(NamedTuple):
    """A generator, however it is stored.

    Attributes:
        run: inputs by name → images float32 `(batch, height, width, channels)`.
        noise: name of the input that is noise.
        shape: of the noise of one image.
        classes: how many classes its input `label` tells apart; `None` if it has none.
        low: what is black in an image, -1 or 0; `None` if the file does not say.
    """

    run: Callable[[dict[str, np.ndarray]], np.ndarray]
    noise: str
    shape: tuple[int, ...]
    classes: int | None
    low: float | None

    def sample(self, z: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Images uint8 `(batch, height, width, channels)`.

        Args:
            z: noise float32 `(batch, *shape)`.
            labels: integer `(batch,)`, 0..classes-1, of a conditional generator.

        Raises:
            ValueError: if there are labels and no classes, or the other way round, or labels of other classes.
        """
        if (labels is None) is not (self.classes is None):
            raise ValueError(f"expected labels of a generator with classes only, received {labels} of {self.classes}")
        inputs = {self.noise: z}
        if labels is not None and self.classes is not None:
            if not np.isin(labels, np.arange(self.classes)).all():
                raise ValueError(f"expected labels in 0..{self.classes - 1}, received {labels}")
            inputs[LABEL] = np.eye(self.classes, dtype="float32")[labels]
        images = self.run(inputs)
        low = self.low
        if low is None:  # nothing is negative after a sigmoid
            low = -1.0 if images.min() < 0 else 0.0
        return pixels(images, low)

    def draw(self, distribution: str, count: int, seed: int = 0, label: int | None = None) -> np.ndarray:
        """Images uint8 `(count, height, width, channels)`, drawn in full batches.

        Args:
            distribution: of the noise, as of `generation.noise`.
            count: of images.
            seed: of the noise.
            label: class of all images of a conditional generator; `None` takes all classes in turn.

        Raises:
            ValueError: if the generator has no such class.
        """
        if label is not None and not 0 <= label < (self.classes or 0):
            raise ValueError(f"label {label}: the classes of this generator are {self.classes or 'none'}")
        batches = -(-count // BATCH)
        zs = np.split(noise(distribution, batches * BATCH, self.shape, seed), batches)
        if self.classes is None:
            return np.concatenate([self.sample(z) for z in zs])[:count]
        places = np.arange(batches * BATCH)
        labels = np.split(places % self.classes if label is None else np.full_like(places, label), batches)
        return np.concatenate([self.sample(z, some) for z, some in zip(zs, labels, strict=True)])[:count]


def load_generator(path: Path) -> ImageGenerator:
    """A generator written by `export.saved_model` or `export.tflite`.

    Raises:
        ValueError: if the file does not take noise, or noise and a class, and give images.

    Example:
        >>> generator = load_generator(Path("savedmodels/dcgan_mnist/1"))
        >>> images = generator.draw("uniform", 70)
    """
    run, inputs, outputs = open_signature(path)
    if len(outputs) == 1:
        ((output, made),) = outputs.items()
        if len(made) == 4 and made[-1] in (1, 3):
            return _generator(path, lambda given: run(given)[output], inputs, None)
    raise ValueError(f"{path} is no generator: it gives {outputs}")


def keras_generator(model: keras.Model) -> ImageGenerator:
    """A Keras model as a generator.

    Raises:
        ValueError: if it does not take noise, or noise and a class, and give images.
    """
    if model.output_names != ["image"]:
        raise ValueError(f"{model.name!r} generates no images: its output is {', '.join(model.output_names)}")

    def run(given: dict[str, np.ndarray]) -> np.ndarray:
        inputs = keras.tree.pack_sequence_as(model.input, [given[tensor.name] for tensor in model.inputs])
        return keras.ops.convert_to_numpy(model(inputs))

    return _generator(model.name, run, {tensor.name: tuple(tensor.shape) for tensor in model.inputs}, black(model))


def _generator(
    name: Any,
    run: Callable[[dict[str, np.ndarray]], np.ndarray],
    inputs: Shapes,
    low: float | None,
) -> ImageGenerator:
    """The generator of such inputs: noise, and perhaps one-hot labels."""
    noises = [input_ for input_, shape in inputs.items() if input_ != LABEL and len(shape) in (2, 3)]
    if len(noises) != 1 or set(inputs) - {LABEL, *noises}:
        raise ValueError(f"{name} is no generator: it takes {inputs}")
    classes = inputs[LABEL][-1] if LABEL in inputs else None
    shape = tuple(size for size in inputs[noises[0]][1:] if size is not None)
    return ImageGenerator(run, noises[0], shape, classes, low)
