"""Export of models that write sentences to a version directory of TensorFlow Serving."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_segattn.attention.vocabulary import BOS, EOS, PAD
from keras_segattn.data.vocabulary import SPECIAL, Vocabulary
from keras_segattn.decoding import BeamRules
from keras_segattn.export.archive import Endpoint, write_archive
from keras_segattn.export.checks import check_finite
from keras_segattn.export.report import ExportReport
from keras_segattn.export.saved_model import check_name, check_version, publish, temporary_version
from keras_segattn.export.saved_model_verify import Sample, report_on
from keras_segattn.export.sequences import sequence_endpoints
from keras_segattn.export.serving import picture
from keras_segattn.export.serving_config import write_serving_config
from keras_segattn.export.warmup import write_warmup
from keras_segattn.fields import Picture

# Where a length is open: tokens of what a model is tried with.
USUAL_LENGTH = 7


def saved_sequences(
    model: keras.Model,
    base_dir: str | Path,
    version: int | None = None,
    *,
    vocabularies: Mapping[str, Vocabulary],
    rules: BeamRules | None = None,
    preprocessing: Picture | None = None,
    name: str | None = None,
) -> ExportReport:
    """Write `<base_dir>/<name>/<version>/` of a sequence model, and measure it in TensorFlow's C API.

    The signatures are those of `sequence_endpoints`, of any batch; `serving_default` is `decode_beam`. The vocabularies
    are `assets.extra/source.txt` and `target.txt`, so that a client can turn text into ids and back.

    Args:
        model: float32, made by `RNNSearch` or `ShowAttendTell`.
        base_dir: folder of all models; made if missing.
        version: positive integer; `None` is one more than the highest there.
        vocabularies: of each of the model's inputs of tokens: `"target"`, and `"source"` if it reads text.
        rules: of the beam search.
        preprocessing: of a picture, to be applied in the graph; `image` is uint8 RGB then.
        name: of the model for clients; `None` is `model.name`.

    Returns:
        The report, all checks passed.

    Raises:
        ValueError: if an argument is wrong or does not fit the model.
        ExportError: if the version exists, the folder cannot be written, the model holds NaN, or a check on the
            written files fails. Nothing is left behind.

    Example:
        >>> export.saved_sequences(model, "savedmodels", vocabularies={"source": letters, "target": phonemes})
    """
    import tensorflow as tf

    name = model.name if name is None else name
    check_name(name)
    check_finite(model)
    parent = Path(base_dir) / name
    check_version(parent, version)
    endpoints = sequence_endpoints(model, rules, preprocessing=preprocessing)
    sizes = token_inputs(model)
    found = {key: len(words) for key, words in vocabularies.items()}
    if found != sizes:
        raise ValueError(f"vocabularies must have the model's inputs and sizes {sizes}, received {found}")
    endpoints = {"serving_default": endpoints["decode_beam"], **endpoints}

    with temporary_version(parent) as temporary:
        write_archive(endpoints, temporary)
        calls = {batch: dict(calls_of(endpoints, sizes, batch)) for batch in (1, 3)}
        requests = [
            (signature, {key: tf.make_tensor_proto(array) for key, array in inputs.items()})
            for signature, inputs in calls[1].items()
        ]
        write_warmup(temporary, name, requests)
        for key, words in vocabularies.items():
            words.save(temporary / "assets.extra" / f"{key}.txt")
        references = {id(endpoint): in_arrays(endpoint) for endpoint in endpoints.values()}
        samples = [
            Sample(signature, inputs, references[id(endpoints[signature])], timed=batch == 1)
            for batch, signatures in calls.items()
            for signature, inputs in signatures.items()
        ]
        weight_bytes = sum(weight.value.numpy().nbytes for weight in model.weights)
        report = dataclasses.replace(report_on(temporary, samples, weight_bytes=weight_bytes), path=parent)
        report.raise_if_failed()
        write_serving_config(Path(base_dir), name)
        return dataclasses.replace(report, path=publish(temporary, parent, version))


def token_inputs(model: keras.Model) -> dict[str, int]:
    """The inputs of tokens, and the sizes of their vocabularies."""
    sizes = {"target": model.get_layer("logits").units}
    if "source" in model.input:
        sizes["source"] = model.get_layer("source_embedding").input_dim
    return sizes


def in_arrays(endpoint: Endpoint) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The endpoint's function for arrays, in the graph that an eager loop of a search would take long without."""
    import tensorflow as tf

    function = tf.function(endpoint.function, input_signature=[dict(endpoint.inputs)], autograph=False)
    return lambda inputs: function({name: tf.constant(array) for name, array in inputs.items()})


def calls_of(
    endpoints: Mapping[str, Endpoint], sizes: Mapping[str, int], batch: int
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Inputs of every signature: sentences of several lengths, pictures, and what `encode` made of them."""
    random = np.random.default_rng(batch)
    given: dict[str, np.ndarray] = {}
    for name, spec in endpoints["score"].inputs.items():
        shape = (batch, *(size or USUAL_LENGTH for size in spec.shape[1:]))
        if name in sizes:
            given[name] = sentences(random, shape, sizes[name])
        elif spec.dtype == "uint8":
            given[name] = picture(batch, (shape[1], shape[2]), shape[3], seed=batch)
        else:
            given[name] = random.normal(size=shape).astype("float32")
    given["tokens"] = np.full((batch,), BOS, "int32")
    state = in_arrays(endpoints["encode"])({name: given[name] for name in endpoints["encode"].inputs})
    given |= {name: np.asarray(value) for name, value in state.items()}
    for signature, endpoint in endpoints.items():
        yield signature, {name: given[name] for name in endpoint.inputs}


def sentences(random: np.random.Generator, shape: tuple[int, ...], size: int) -> np.ndarray:
    """Random ids int32 `(batch, length)`, each row with its end, and padding where it is shorter."""
    ids = random.integers(min(len(SPECIAL), size - 1), size, shape).astype("int32")
    for row, length in zip(ids, shape[1] - np.arange(shape[0]) % shape[1], strict=True):
        row[length - 1 :] = PAD
        row[length - 1] = EOS
    return ids
