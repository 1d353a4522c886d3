"""One call for models in every stored form: NumPy arrays in and out, pictures as uint8."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_segattn.endpoints import Endpoint
from keras_segattn.facts import Facts, endpoints_of
from keras_segattn.fields import Field, Picture, Vectors

Arrays = dict[str, np.ndarray]
Shapes = dict[str, tuple[int | None, ...]]


class Opened(NamedTuple):
    """A model that is ready to run.

    Attributes:
        shapes: input name → shape without the batch; `None` where a size is open.
        outputs: output name → shape without the batch; `None` where a size is open.
        call: function from a batch of inputs by name to outputs by name. Pictures are uint8, RGB or grey.
    """

    shapes: Shapes
    outputs: Shapes
    call: Callable[[Arrays], Arrays]


def open_live(model: keras.Model, facts: Facts) -> Opened:
    """Open a Keras model by the first of its endpoints, which is compiled if the backend is TensorFlow."""
    endpoint = next(iter(endpoints_of(model, facts).values()))
    run, outputs = _compiled(endpoint)

    def call(given: Arrays) -> Arrays:
        tensors = {
            name: keras.ops.cast(_prepared(facts.inputs, name, given[name]), spec.dtype)
            for name, spec in endpoint.inputs.items()
        }
        return {name: keras.ops.convert_to_numpy(values) for name, values in run(tensors).items()}

    return Opened({name: tuple(spec.shape[1:]) for name, spec in endpoint.inputs.items()}, _shapes(outputs), call)


def _compiled(endpoint: Endpoint) -> tuple[Callable[[dict[str, Any]], dict[str, Any]], Mapping[str, Any]]:
    """Return the function of an endpoint, compiled on TensorFlow, and tensors with the shapes of its outputs."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        specs = {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in endpoint.inputs.items()}
        # Traced once, for all sizes.
        traced = tf.function(endpoint.function, input_signature=[specs]).get_concrete_function()
        return traced, traced.structured_outputs
    symbols = {name: keras.KerasTensor(spec.shape, spec.dtype) for name, spec in endpoint.inputs.items()}
    return endpoint.function, keras.backend.compute_output_spec(endpoint.function, symbols)


def open_saved_model(path: Path, signatures: Sequence[str], kinds: Mapping[str, Field]) -> Opened:
    """Open a SavedModel in TensorFlow.

    Args:
        path: version directory.
        signatures: names of signatures; the first that the model has is called.
        kinds: input name → kind of the input; pictures are normalised here if the signature takes them as floats.

    Raises:
        ValueError: if the model has none of the signatures, or the folder is no SavedModel.
    """
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # damaged files raise many types, such as the IndexError of a reader in C++
        raise ValueError(f"{path} is not a readable SavedModel: {error}") from error
    signature = loaded.signatures[_chosen(path, signatures, list(loaded.signatures))]
    specs = signature.structured_input_signature[1]

    def prepared(values: np.ndarray, name: str, dtype: Any) -> Any:
        taken_raw = isinstance(kinds.get(name), Picture) and not dtype.is_floating
        return tf.cast(values if taken_raw else _prepared(kinds, name, values), dtype)

    def call(given: Arrays) -> Arrays:
        _ = loaded  # its variables live as long as it does
        made = signature(**{name: prepared(given[name], name, spec.dtype) for name, spec in specs.items()})
        return {name: value.numpy() for name, value in made.items()}

    return Opened(_shapes(specs), _shapes(signature.structured_outputs), call)


def open_tflite(path: Path, signatures: Sequence[str], kinds: Mapping[str, Field]) -> Opened:
    """Open a `.tflite` file in LiteRT. Its batch size is 1, so examples run one by one, also those of several threads.

    Args:
        path: path of the file.
        signatures: names of signatures; the first that the file has is called.
        kinds: input name → kind of the input; pictures are normalised here, as the file does not do it.

    Raises:
        ValueError: if the file has none of the signatures, or is no model.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(str(path), num_threads=2)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is not a readable .tflite file: {error}") from error
    runner = interpreter.get_signature_runner(_chosen(path, signatures, list(interpreter.get_signature_list())))
    details: dict[str, Any] = runner.get_input_details()
    lock = threading.Lock()

    def prepared(name: str, values: np.ndarray) -> np.ndarray:
        ready: np.ndarray = keras.ops.convert_to_numpy(_prepared(kinds, name, values))
        return ready.astype(details[name]["dtype"])

    def call(given: Arrays) -> Arrays:
        ready = {name: prepared(name, values) for name, values in given.items()}
        count = len(next(iter(ready.values())))
        with lock:  # an interpreter holds the tensors of one call
            made = [runner(**{name: values[i : i + 1] for name, values in ready.items()}) for i in range(count)]
        return {name: np.concatenate([one[name] for one in made]) for name in made[0]}

    def shapes(tensors: Mapping[str, Any]) -> Shapes:
        sizes = {name: one["shape_signature"][1:] for name, one in tensors.items()}
        return {name: tuple(int(n) if n >= 0 else None for n in shape) for name, shape in sizes.items()}

    return Opened(shapes(details), shapes(runner.get_output_details()), call)


def check_vocabularies(path: Path, facts: Facts) -> None:
    """Check that a SavedModel has weights of the size of every vocabulary, as its embeddings and outputs are.

    Raises:
        ValueError: if a vocabulary is not of this model, or the weights cannot be read.
    """
    import tensorflow as tf

    try:
        shapes = tf.train.load_checkpoint(str(path / "variables" / "variables")).get_variable_to_shape_map()
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{path} has no readable variables: {error}") from error
    sizes = {size for shape in shapes.values() for size in shape}
    for name, tokens in facts.vocabularies.items():
        if len(tokens) not in sizes:
            raise ValueError(
                f"{path}: the vocabulary {name!r} holds {len(tokens)} tokens, but no weight of the model has that "
                "size; the facts are of another model"
            )


def _shapes(tensors: Mapping[str, Any]) -> Shapes:
    return {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}


def _prepared(kinds: Mapping[str, Field], name: str, values: np.ndarray) -> Any:
    """Prepare the values of an input for the network."""
    kind = kinds.get(name, Vectors())
    # For a file without facts, only the published model's kinds are known, which may have other channels.
    kind = kind.of_channels(values.shape[-1]) if isinstance(kind, Picture) else kind
    return kind.prepare(values)


def _chosen(path: Path, wanted: Sequence[str], known: Sequence[str]) -> str:
    for name in wanted:
        if name in known:
            return name
    raise ValueError(f"{path} has no signature {' or '.join(wanted)}, only {', '.join(sorted(known)) or 'none'}")
