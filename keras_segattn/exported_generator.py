"""Generators at work: a Keras model, a SavedModel or a `.tflite` draws pictures out of noise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_segattn.generation.latent import black, pixels


class ImageGenerator(NamedTuple):
    """A generator, however it is stored.

    Attributes:
        run: noise float32 `(batch, *shape)` → images float32 `(batch, height, width, channels)`.
        shape: of the noise of one image.
        low: what is black in an image, -1 or 0; `None` if the file does not say.
    """

    run: Callable[[np.ndarray], np.ndarray]
    shape: tuple[int, ...]
    low: float | None

    def sample(self, z: np.ndarray) -> np.ndarray:
        """Images uint8 `(batch, height, width, channels)` of noise float32 `(batch, *shape)`."""
        images = self.run(z)
        low = self.low
        if low is None:  # nothing is negative after a sigmoid
            low = -1.0 if images.min() < 0 else 0.0
        return pixels(images, low)


def load_generator(path: Path) -> ImageGenerator:
    """A generator written by `export.saved_model` or `export.tflite`.

    Raises:
        ValueError: if the file does not take noise and give images.

    Example:
        >>> generator = load_generator(Path("savedmodels/dcgan_mnist/1"))
        >>> images = generator.sample(noise("uniform", 64, generator.shape))
    """
    generator, output = _tflite(path) if path.suffix == ".tflite" else _saved_model(path)
    if len(generator.shape) > 2 or len(output) != 4 or output[-1] not in (1, 3):
        raise ValueError(f"{path} is no generator: it takes {generator.shape} and gives {output}")
    return generator


def keras_generator(model: keras.Model) -> ImageGenerator:
    """A Keras model as a generator."""

    def run(z: np.ndarray) -> np.ndarray:
        return keras.ops.convert_to_numpy(model(z))

    return ImageGenerator(run, model.input_shape[1:], black(model))


def _saved_model(path: Path) -> tuple[ImageGenerator, tuple[int | None, ...]]:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]
    inputs = signature.structured_input_signature[1]
    if len(inputs) != 1 or len(signature.structured_outputs) != 1:
        raise ValueError(
            f"{path} is no generator: it takes {sorted(inputs)} and gives {sorted(signature.structured_outputs)}"
        )
    ((name, spec),) = inputs.items()
    ((output, result),) = signature.structured_outputs.items()

    def run(z: np.ndarray) -> np.ndarray:
        _ = loaded  # its variables live as long as it does
        return signature(**{name: tf.constant(z, spec.dtype)})[output].numpy()

    return ImageGenerator(run, tuple(spec.shape[1:]), None), tuple(result.shape)


def _tflite(path: Path) -> tuple[ImageGenerator, tuple[int, ...]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=2)
    runner = interpreter.get_signature_runner("serving_default")
    inputs: dict[str, Any] = runner.get_input_details()
    outputs: dict[str, Any] = runner.get_output_details()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(f"{path} is no generator: it takes {sorted(inputs)} and gives {sorted(outputs)}")
    ((name, details),) = inputs.items()
    ((output, result),) = outputs.items()

    def run(z: np.ndarray) -> np.ndarray:
        return np.concatenate([runner(**{name: one[None]})[output] for one in z])  # the batch in the file is 1

    return ImageGenerator(run, tuple(int(n) for n in details["shape"][1:]), None), tuple(map(int, result["shape"]))
