"""Export to a version directory of TensorFlow Serving, verified before it takes its number."""

import contextlib
import dataclasses
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from keras_segattn.arguments import check_positive_integer
from keras_segattn.export.archive import as_float32, write_archive
from keras_segattn.export.checks import check_finite, check_labels, check_statistics
from keras_segattn.export.folding import fold_affine
from keras_segattn.export.report import ExportError, ExportReport
from keras_segattn.export.saved_model_verify import Sample, report_on, verify_saved_model
from keras_segattn.export.serving import (
    SIGNATURES,
    ServedModel,
    picture,
    png_files,
    served_model,
    serving_endpoints,
)
from keras_segattn.export.serving_config import MAX_BATCH_SIZE, write_serving_config
from keras_segattn.export.warmup import write_warmup
from keras_segattn.fields import Picture
from keras_segattn.files import folder_for_writing

__all__ = ["saved_model", "verify_saved_model"]

LABELS_FILE = "labels.txt"
MAX_VERSION = 2**63 - 1
# Grey: a warm-up needs an image's size, not its content, and a constant takes a few bytes.
GREY = 128


def saved_model(
    model: keras.Model,
    base_dir: str | Path,
    version: int | None = None,
    *,
    signatures: Sequence[str] = SIGNATURES,
    preprocess: Literal["in_graph"] | Picture | None = "in_graph",
    labels: Sequence[str] | None = None,
    input_size: tuple[int, int] | None = None,
    warmup: bool | int | np.ndarray = True,
    name: str | None = None,
) -> ExportReport:
    """Write `<base_dir>/<name>/<version>/` for TensorFlow Serving, and measure it in TensorFlow's C API and OpenVINO.

    | signature | input | outputs |
    |---|---|---|
    | `serving_default` | the model's input, `image`: uint8 RGB `(batch, height, width, 3)`; with `preprocess=None` float32 as the network expects | the model's: its dict, or `logits` (`probabilities` after a softmax) |
    | `encoded` | `image_bytes`: string `(batch,)`, each a JPEG or PNG file | the same; but instead of scores of every pixel `mask` `(batch, height, width)`, the arg-max as uint8 (int32 above 256 classes) |

    The batch is open in all of them, weights and graph are stored once. Beside it, in `base_dir`, `models.config` lists
    the model and `batching_parameters.txt` says how requests are batched. The version is written under another
    name, verified there and renamed, so a running server never sees half of it.

    Args:
        model: a model with one image as its input; any other with `preprocess=None` and `serving_default` only.
            One of mixed precision is rebuilt in float32.
        base_dir: folder of all models; made if missing.
        version: positive integer; `None` is one more than the highest there.
        signatures: which to offer; `serving_default` always.
        preprocess: `"in_graph"` puts the normalisation of the registry's card into the graph, a `Picture`
            that one; with `None` `serving_default` takes normalised images, and `encoded` feeds plain RGB 0..255.
        labels: names of the classes, in order, stored as `assets.extra/labels.txt`.
        input_size: height and width of an image. With it, `serving_default` takes that size only, and `encoded`
            resizes to it. `None` is the model's own; where that is open too, any size, one for all images of a
            batch: give a size where a server batches the requests of several clients.
        warmup: what the server runs before it calls the version available: `True` one image, an integer a batch of
            that many, an array a batch of images as `serving_default` takes them.
        name: of the model for clients; `None` is `model.name`.

    Returns:
        The report, all checks passed.

    Raises:
        ValueError: if an argument is wrong or does not fit the model.
        ExportError: if the version exists, the folder cannot be written, the model holds NaN or normalises by the
            batch, or a check on the written files fails. Nothing is left behind.

    Example:
        >>> report = export.saved_model(model, "savedmodels", labels=["sea", "land", "lake"])
        >>> report.path
        PosixPath('savedmodels/fcn8s/1')
    """  # noqa: E501
    name = model.name if name is None else name
    check_name(name)
    signatures = check_signatures(signatures)
    check_labels(labels, model)
    check_finite(model)
    check_statistics(model)
    parent = Path(base_dir) / name
    check_version(parent, version)
    images = "encoded" in signatures or preprocess is not None
    served = served_model(as_float32(model), preprocess, input_size, images=images)
    requests = warmup_requests(served, warmup, signatures)

    with temporary_version(parent) as temporary:
        # What is written is folded; what it is compared with is the model as it was given.
        folded = dataclasses.replace(served, model=fold_affine(served.model))
        write_archive(serving_endpoints(folded, signatures), temporary)
        endpoints = serving_endpoints(served, signatures)
        write_warmup(temporary, name, requests)
        if labels is not None:
            (temporary / "assets.extra" / LABELS_FILE).write_text("".join(f"{x}\n" for x in labels), encoding="utf-8")
        samples = [
            Sample(signature, inputs, endpoints[signature].function, timed)
            for signature in signatures
            for inputs, timed in verification_inputs(served, signature)
        ]
        weight_bytes = sum(weight.value.numpy().nbytes for weight in folded.model.weights)
        report = dataclasses.replace(report_on(temporary, samples, weight_bytes=weight_bytes), path=parent)
        report.raise_if_failed()
        write_serving_config(Path(base_dir), name)
        return dataclasses.replace(report, path=publish(temporary, parent, version))


def check_name(name: str) -> None:
    """Raise `ValueError` unless clients can call a model so."""
    if not re.fullmatch(r"[A-Za-z_][\w.-]*", name):
        raise ValueError(f"name must be letters, digits, '_', '-' and '.' and begin with a letter, received {name!r}")


def check_signatures(signatures: Sequence[str]) -> tuple[str, ...]:
    """Raise `ValueError` unless the names are known, each once, and `serving_default` is among them."""
    names = (signatures,) if isinstance(signatures, str) else tuple(signatures)
    if set(names) - set(SIGNATURES) or len(set(names)) < len(names) or SIGNATURES[0] not in names:
        raise ValueError(f"signatures must be 'serving_default', or it and 'encoded', received {signatures!r}")
    return names


def warmup_requests(
    served: ServedModel, warmup: bool | int | np.ndarray, signatures: tuple[str, ...]
) -> list[tuple[str, Mapping[str, Any]]]:
    """One request for every signature, its inputs as TensorProtos.

    Raises:
        ValueError: if `warmup` is nothing to warm up with.
    """
    import tensorflow as tf

    given = warmup if isinstance(warmup, np.ndarray) and warmup.ndim else None
    batch = warmup if given is None else len(given)
    if not isinstance(batch, int) or not 1 <= batch <= MAX_BATCH_SIZE:
        raise ValueError(
            "warmup must be True, a batch size or a batch of images, since a version without warm-up can be called "
            f"available before its weights are there, and of at most {MAX_BATCH_SIZE}, the largest batch of the "
            f"batching file, since a server refuses larger ones and then the version; received {warmup!r:.200}"
        )
    batch, inputs = int(batch), {}
    for tensor in served.model.inputs:
        # An open size of an input that is no image (a length, say) is warmed up with 1.
        sizes = image_size(served, tensor) if len(tensor.shape) == 4 else ()
        shape = (batch, *sizes, *(size or 1 for size in tensor.shape[1 + len(sizes) :]))
        dtype = tf.as_dtype("uint8" if served.raw_pixels else tensor.dtype)
        if given is None:
            inputs[tensor.name] = constant_proto(GREY if served.raw_pixels else 0, shape, dtype)
            continue
        wanted = (None, *served.size, tensor.shape[-1]) if any(served.size) else tuple(tensor.shape)
        fits = len(wanted) == given.ndim and all(b in (None, a) for a, b in zip(given.shape, wanted, strict=True))
        if len(served.model.inputs) > 1 or given.dtype != dtype.as_numpy_dtype or not fits:
            raise ValueError(f"warmup must be {dtype.name} of {wanted}, received {given.dtype} of {given.shape}")
        inputs[tensor.name] = tf.make_tensor_proto(given)
    requests: list[tuple[str, Mapping[str, Any]]] = [("serving_default", inputs)]
    if "encoded" in signatures:
        if given is None or not served.raw_pixels:
            given = np.full((batch, *served.usual_size, served.model.inputs[0].shape[-1]), GREY, "uint8")
        requests.append(("encoded", {"image_bytes": tf.make_tensor_proto(png_files(given))}))
    return requests


def image_size(served: ServedModel, tensor: Any, *, smaller: bool = False) -> tuple[int, int]:
    """Height and width to try an input with: its own, else the usual ones, or `smaller` ones."""
    height, width = served.usual_size
    own = served.size if len(served.model.inputs) == 1 else tensor.shape[1:3]
    return own[0] or (height * 3 // 4 if smaller else height), own[1] or (width * 2 // 3 if smaller else width)


def constant_proto(value: int, shape: tuple[int, ...], dtype: Any) -> Any:
    """A TensorProto of one repeated value, which it stores once."""
    import tensorflow as tf

    proto = tf.make_tensor_proto(np.full((1,) * len(shape), value, dtype.as_numpy_dtype))
    proto.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return proto


def verification_inputs(served: ServedModel, signature: str) -> Iterator[tuple[dict[str, np.ndarray], bool]]:
    """Inputs of a batch of 1, to be timed, and of a batch of 3, smaller where the model takes any size."""
    for batch in (1, 3):
        inputs: dict[str, np.ndarray] = {}
        for seed, tensor in enumerate(served.model.inputs, start=batch):
            if len(tensor.shape) == 4:
                size = image_size(served, tensor, smaller=batch > 1)
                pixels = picture(batch, size, tensor.shape[-1], seed)
                normalised = served.preprocessing or (lambda x: x / np.float32(64) - 2)
                inputs[tensor.name] = pixels if served.raw_pixels else np.asarray(normalised(pixels), tensor.dtype)
            else:
                shape = (batch, *(length or 1 for length in tensor.shape[1:]))
                inputs[tensor.name] = np.random.default_rng(seed).random(shape).astype(tensor.dtype)
        if signature == "encoded":
            inputs = {"image_bytes": png_files(pixels)}
        yield inputs, batch == 1


@contextlib.contextmanager
def temporary_version(parent: Path) -> Iterator[Path]:
    """A folder's name in `parent` that servers ignore, to be written and published; what is left of it vanishes.

    Raises:
        ExportError: if something cannot be written.
    """
    # Random, not the process number: containers give the same to every run.
    temporary = parent / f".partial.{secrets.token_hex(4)}"
    try:
        with folder_for_writing(parent):
            try:
                yield temporary
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise ExportError(f"cannot write {parent}: {error}") from error


def check_version(parent: Path, version: int | None) -> None:
    """Raise `ValueError` unless a version is one that servers count with, `ExportError` if it exists."""
    if version is None:
        return
    check_positive_integer("version", version)
    if version > MAX_VERSION:
        raise ValueError(f"version must be at most {MAX_VERSION}, since servers count in int64, received {version}")
    if (parent / str(version)).exists():
        raise ExportError(f"{parent / str(version)} exists; servers cache versions, give another or None for the next")


def publish(temporary: Path, parent: Path, version: int | None) -> Path:
    """Give a finished folder its number; `None` is the next, also if another export took one meanwhile."""
    while True:
        taken = (int(folder.name) for folder in parent.iterdir() if folder.name.isdecimal())
        target = parent / str(1 + max(taken, default=0) if version is None else version)
        try:
            return temporary.rename(target)
        except OSError:
            if version is not None or not target.exists():
                raise
