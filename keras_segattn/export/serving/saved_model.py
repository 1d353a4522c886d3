"""Export to a version directory of TensorFlow Serving, verified before it gets its number."""

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_segattn.arguments import check_positive_integer, is_integer
from keras_segattn.endpoints import Endpoint, of_each
from keras_segattn.export.archive import compiled, write_archive
from keras_segattn.export.preparation import Prepared, Sizes, drawn, prepared, usual_sizes
from keras_segattn.export.report import ExportError, ExportReport
from keras_segattn.export.serving.config import MAX_BATCH_SIZE, write_serving_config, write_version_batching
from keras_segattn.export.serving.pictures import FILES_TAKEN
from keras_segattn.export.serving.requests import checked_endpoints
from keras_segattn.export.serving.signatures import DEFAULT, ENCODED, FILES, png_files, served_endpoints
from keras_segattn.export.serving.texts import TEXT, texts_of
from keras_segattn.export.serving.verification import Sample, report_on
from keras_segattn.export.serving.warmup import write_warmup
from keras_segattn.facts import Facts, write_facts
from keras_segattn.fields import Picture, Tokens
from keras_segattn.files import folder_for_writing, temporary_path

MAX_VERSION = 2**63 - 1
# Value of the pixels of warm-up images: only their size matters, and a constant takes a few bytes.
GREY = 128
# Batch sizes that a written model is tried with; calls with the first one are timed.
BATCHES = (1, 3)


def saved_model(
    model: keras.Model,
    base_dir: str | Path,
    version: int | None = None,
    *,
    facts: Facts | None = None,
    preprocess: bool = True,
    sizes: Sizes | None = None,
    warmup: int | Mapping[str, np.ndarray] = 1,
    name: str | None = None,
    endpoints: Mapping[str, Endpoint] | None = None,
) -> ExportReport:
    """Write `<base_dir>/<name>/<version>/` for TensorFlow Serving, and measure it in TensorFlow's C API and OpenVINO.

    The signatures are the endpoints of the model's card: the model itself, or for models that write sentences
    `decode_beam` and others (see `decoding.sequence_endpoints`). `serving_default` is the first of them. A model whose
    only input is a picture also has `encoded`, and one that reads sentences and whose facts hold the vocabularies has
    `text`:

    | signature | input | outputs |
    |---|---|---|
    | `serving_default` | the model's inputs; a picture as uint8 RGB `(batch, height, width, 3)`, or with `preprocess=False` float32 as the network expects | the model's: its dict, or `logits` (`probabilities` after a softmax) |
    | `encoded` | `image_bytes`: string `(batch,)`, each a JPEG or PNG file | the same; but instead of scores of every pixel `mask` `(batch, height, width)`, the arg-max as uint8 (int32 above 256 classes); for models that write sentences with a vocabulary also `sentences`: string `(batch, beams)` |
    | `text` | the model's inputs as strings `(batch,)` in UTF-8, which are split into tokens as `load(…).predict` does | those of `serving_default`, and `sentences` |

    The batch size is open in all signatures, weights and graph are stored once, and `assets.extra/facts.json` holds the
    facts. In `base_dir`, `models.config` lists the model and names the flags of the server. If all other sizes are
    fixed, the version has a `batching_params.pbtxt`, by which a server lets several clients share a batch.
    A request that does not fit the signature is refused in the graph: ranks, sizes, empty or unequal batches, more than
    128 examples, ids beyond a vocabulary, and numbers that are not finite.
    The version is written under another name, verified there and then renamed, so that a running server never sees an
    unfinished one.

    Args:
        model: functional model, or a `Sequential` that begins with `keras.Input`; a mixed-precision model is rebuilt
            in float32.
        base_dir: folder of all models; made if missing.
        version: positive integer; `None` takes one more than the highest existing version.
        facts: facts to store with the model, such as `facts_of(model, labels=["sea", "land", "lake"])`; `None` stores
            what the model itself knows.
        preprocess: whether pictures are taken as pixels and normalised in the graph.
        sizes: input → (height, width) of a picture, or (length,) of a sentence. The exported model then takes only this
            size, and `encoded` resizes to it. The default is the model's own size. If that is open, any size is
            accepted, but all examples of a batch must have the same. Give a size if the server batches the requests
            of several clients.
        warmup: requests that the server runs before it calls the version available: the size of a batch, or
            input → array with a batch for `serving_default`.
        name: name of the model for clients; `None` takes `model.name`.
        endpoints: signature → endpoint, instead of those of the model's card.

    Returns:
        The report, in which all checks passed.

    Raises:
        TypeError: if the model is a subclassed one, whose inputs are unknown.
        ValueError: if an argument is wrong or does not fit the model.
        ExportError: if the version exists, the folder cannot be written, the model holds NaN or normalises by the
            batch, or a check on the written files fails. Nothing is left behind.

    Example:
        >>> report = export.saved_model(model, "savedmodels", facts=facts_of(model, labels=["sea", "land", "lake"]))
        >>> report.path
        PosixPath('savedmodels/fcn8s/1')
    """  # noqa: E501
    name = model.name if name is None else name
    check_name(name)
    parent = Path(base_dir) / name
    check_version(parent, version)
    ready = prepared(model, facts, endpoints, sizes, batch=None)
    signatures = served_endpoints(ready, ready.endpoints, preprocess=preprocess)
    stored = dataclasses.replace(ready.facts, files=FILES_TAKEN if ENCODED in signatures else None)
    requests = warmup_requests(ready, signatures, warmup, preprocess)

    with temporary_version(parent) as temporary:
        written = served_endpoints(ready, ready.written, preprocess=preprocess)
        write_archive(checked_endpoints(ready, written), temporary)
        write_warmup(temporary, name, requests)
        write_facts(temporary, stored)
        write_version_batching(temporary, signatures)
        samples = list(verification_samples(ready, signatures, preprocess))
        report = report_on(temporary, samples, facts=ready.facts, weight_bytes=ready.weight_bytes)
        report = dataclasses.replace(report, path=parent)
        report.raise_if_failed()
        write_serving_config(Path(base_dir), name)
        return dataclasses.replace(report, path=publish(temporary, parent, version))


def calls_of(
    ready: Prepared, signatures: Mapping[str, Endpoint], batch: int, preprocess: bool, *, smaller: bool
) -> dict[str, dict[str, np.ndarray]]:
    """Draw plausible inputs for every signature."""
    values = drawn(ready, batch, seed=batch, pixels=preprocess, smaller=smaller)
    first = next(iter(ready.endpoints))
    found = {DEFAULT: values[first]} | values
    if ENCODED in signatures:
        (pixels,) = values[first].values()
        found[ENCODED] = {FILES: png_files(pixels)}
    if TEXT in signatures:
        kinds = {name: ready.kind(name, spec) for name, spec in ready.endpoints[first].inputs.items()}
        found[TEXT] = {
            name: texts_of(values[first][name], kind, ready.facts)
            for name, kind in kinds.items()
            if isinstance(kind, Tokens)
        }
    return {signature: found[signature] for signature in signatures}


def verification_samples(ready: Prepared, signatures: Mapping[str, Endpoint], preprocess: bool) -> Iterator[Sample]:
    """Yield calls of every signature: a timed batch of 1, and a batch of 3 with smaller pictures if sizes are open."""
    own = {id(endpoint): ready.references[name] for name, endpoint in ready.endpoints.items()}
    references = of_each(signatures, lambda _, endpoint: own.get(id(endpoint)) or compiled(endpoint))
    for batch in BATCHES:
        calls = calls_of(ready, signatures, batch, preprocess, smaller=batch > 1)
        for signature, inputs in calls.items():
            yield Sample(signature, inputs, references[signature], timed=batch == 1)


def warmup_requests(
    ready: Prepared, signatures: Mapping[str, Endpoint], warmup: int | Mapping[str, np.ndarray], preprocess: bool
) -> list[tuple[str, Mapping[str, Any]]]:
    """Return one warm-up request per signature: name, and input → TensorProto.

    Raises:
        ValueError: if `warmup` is neither a valid batch size nor a batch of inputs that the model takes.
    """
    import tensorflow as tf

    given = dict(warmup) if isinstance(warmup, Mapping) else None
    batch = warmup if not isinstance(warmup, Mapping) else max((len(array) for array in warmup.values()), default=0)
    if not is_integer(batch) or not 1 <= batch <= MAX_BATCH_SIZE:
        raise ValueError(
            "warmup must be the size of a batch or input → array, since a version without warm-up can be called "
            f"available before its weights are there, and of at most {MAX_BATCH_SIZE}, the largest batch of the "
            f"batching file, since a server refuses larger ones and then the version; received {warmup!r:.200}"
        )
    default = signatures[DEFAULT]
    if given is not None:
        check_warmup(given, default)
    calls = calls_of(ready, signatures, batch, preprocess, smaller=False)
    requests: list[tuple[str, Mapping[str, Any]]] = []
    for signature, inputs in calls.items():
        endpoint = signatures[signature]
        if given is not None and endpoint is default:
            inputs = given  # noqa: PLW2901
        elif given is not None and signature == ENCODED:
            (array,) = given.values()
            inputs = {FILES: png_files(array)} if array.dtype == np.uint8 else inputs  # noqa: PLW2901
        protos = {}
        for name, array in inputs.items():
            kind = ready.kind(name, endpoint.inputs[name])
            if given is None and preprocess and isinstance(kind, Picture):
                shape = (batch, *usual_sizes(kind, endpoint.inputs[name].shape[1:], smaller=False))
                protos[name] = constant_proto(GREY, shape, tf.uint8)
            else:
                protos[name] = tf.make_tensor_proto(array)
        requests.append((signature, protos))
    return requests


def check_warmup(given: Mapping[str, np.ndarray], endpoint: Endpoint) -> None:
    """Raise `ValueError` unless the arrays have the names, dtypes and shapes of the endpoint's inputs."""
    if set(given) != set(endpoint.inputs):
        raise ValueError(f"warmup must hold the inputs {sorted(endpoint.inputs)}, received {sorted(given)}")
    for name, array in given.items():
        wanted, dtype = endpoint.inputs[name].shape, endpoint.inputs[name].dtype
        fits = len(wanted) == array.ndim and all(b in (None, a) for a, b in zip(array.shape, wanted, strict=True))
        if array.dtype != dtype or not fits:
            raise ValueError(f"warmup must be {dtype} of {wanted}, received {array.dtype} of {array.shape}")


def constant_proto(value: int, shape: tuple[int, ...], dtype: Any) -> Any:
    """Return a TensorProto filled with one value, which it stores only once."""
    import tensorflow as tf

    proto = tf.make_tensor_proto(np.full((1,) * len(shape), value, dtype.as_numpy_dtype))
    proto.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return proto


def check_name(name: str) -> None:
    """Raise `ValueError` unless clients can use this name for a model."""
    if not re.fullmatch(r"[A-Za-z_][\w.-]*", name):
        raise ValueError(f"name must be letters, digits, '_', '-' and '.' and begin with a letter, received {name!r}")


@contextlib.contextmanager
def temporary_version(parent: Path) -> Iterator[Path]:
    """Yield the path of a folder in `parent` that servers ignore, to be written and published.

    The folder is deleted after the block if it was not published; leftovers of killed exports are deleted before.

    Raises:
        ExportError: if the folder cannot be written.
    """
    try:
        with folder_for_writing(parent), temporary_path(parent) as temporary:
            yield temporary
    except OSError as error:
        raise ExportError(f"cannot write {parent}: {error}") from error


def check_version(parent: Path, version: int | None) -> None:
    """Raise `ValueError` if servers cannot use the version number, `ExportError` if the version exists."""
    if version is None:
        return
    check_positive_integer("version", version)
    if version > MAX_VERSION:
        raise ValueError(f"version must be at most {MAX_VERSION}, since servers count in int64, received {version}")
    if (parent / str(version)).exists():
        raise ExportError(f"{parent / str(version)} exists; servers cache versions, give another or None for the next")


def publish(temporary: Path, parent: Path, version: int | None) -> Path:
    """Rename a finished folder to its version; `None` takes the next free number, also if other exports run."""
    while True:
        taken = (int(folder.name) for folder in parent.iterdir() if folder.name.isdecimal())
        target = parent / str(1 + max(taken, default=0) if version is None else version)
        try:
            return temporary.rename(target)
        except OSError:
            if version is not None or not target.exists():
                raise
