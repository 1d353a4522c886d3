"""One signature of an exported model, NumPy arrays in and out, however the model is stored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Shapes = dict[str, tuple[int | None, ...]]


class Signature(NamedTuple):
    """A signature.

    Attributes:
        run: its inputs → its outputs, by name. Of a file for phones too, batches may be of any size.
        inputs: shapes by name; `None` is any size.
        outputs: likewise.
    """

    run: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
    inputs: Shapes
    outputs: Shapes


def open_signature(path: Path, name: str = "serving_default") -> Signature:
    """A signature of a SavedModel, or of a `.tflite` in which the batch is 1.

    Raises:
        ValueError: if there is none of that name.

    Example:
        >>> open_signature(Path("savedmodels/stn_rotated/1")).run({"image": pictures})["logits"]
    """
    return _tflite(path, name) if path.suffix == ".tflite" else _saved_model(path, name)


def _saved_model(path: Path, name: str) -> Signature:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    _check(path, name, list(loaded.signatures))
    signature = loaded.signatures[name]
    specs = signature.structured_input_signature[1]

    def run(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        _ = loaded  # its variables live as long as it does
        made = signature(**{key: tf.constant(given[key], spec.dtype) for key, spec in specs.items()})
        return {key: value.numpy() for key, value in made.items()}

    inputs, outputs = (
        {key: tuple(spec.shape) for key, spec in part.items()} for part in (specs, signature.structured_outputs)
    )
    return Signature(run, inputs, outputs)


def _tflite(path: Path, name: str) -> Signature:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=2)
    _check(path, name, list(interpreter.get_signature_list()))
    runner = interpreter.get_signature_runner(name)

    def run(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        each = zip(*(values[:, None] for values in given.values()), strict=True)
        made = [runner(**dict(zip(given, one, strict=True))) for one in each]
        return {key: np.concatenate([one[key] for one in made]) for key in made[0]}

    def shapes(details: dict[str, Any]) -> Shapes:
        return {key: tuple(int(n) for n in facts["shape"]) for key, facts in details.items()}

    return Signature(run, shapes(runner.get_input_details()), shapes(runner.get_output_details()))


def _check(path: Path, name: str, known: list[str]) -> None:
    if name not in known:
        raise ValueError(f"{path} has no signature {name!r}, only {', '.join(sorted(known)) or 'none'}")
