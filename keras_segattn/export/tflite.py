"""Export to one `.tflite` file for phones, browsers and boards, verified before it takes its name."""

import contextlib
import dataclasses
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from keras_segattn.arguments import check_choice
from keras_segattn.export import litert
from keras_segattn.export.archive import Endpoint, as_float32, model_endpoint, write_archive
from keras_segattn.export.calibration import calibration_samples
from keras_segattn.export.checks import check_finite, check_labels, check_statistics
from keras_segattn.export.detections import is_detector
from keras_segattn.export.folding import fold_affine
from keras_segattn.export.report import Check, ExportError, ExportReport
from keras_segattn.export.scripts import run_script
from keras_segattn.export.tflite_metadata import append_metadata, describe, read_metadata
from keras_segattn.export.tflite_verify import noise_scale, openvino_results, outputs_of, verify_tflite
from keras_segattn.files import folder_for_writing, replaced
from keras_segattn.layers import SpatialTransformer

__all__ = ["QUANTIZATIONS", "Quantization", "read_metadata", "tflite", "verify_tflite"]

Quantization = Literal["float16", "dynamic", "int8"]
QUANTIZATIONS: tuple[Quantization | None, ...] = (None, "float16", "dynamic", "int8")
# Of the calibration samples, how many the verification runs.
VERIFIED_SAMPLES = 16
# Of a converter's message that names no operator, the end is the part that says why.
MESSAGE_LENGTH = 600


def tflite(
    model: keras.Model,
    path: str | Path,
    *,
    quantize: Quantization | None = None,
    calibration: Any = None,
    signatures: Mapping[str, Endpoint] | None = None,
    input_shape: tuple[int, int, int] | None = None,
    labels: Sequence[str] | None = None,
) -> ExportReport:
    """Write a model as one `.tflite` of builtin operators, and measure the written file in LiteRT.

    All sizes in the file are static and the batch is 1, so that delegates can take the whole graph. Inputs and
    outputs are float32 under every quantisation, so that the same code calls all four files:

    * `None`: float32, equal to Keras up to rounding.
    * `"float16"`: float16 weights, half the size, for GPUs.
    * `"dynamic"`: int8 weights, a quarter of the size, for CPUs; no data needed.
    * `"int8"`: int8 weights (per channel) and activations, a quarter of the size, for NPUs; needs `calibration`.
      QUANTIZE at the start and DEQUANTIZE at the end convert; more of them in the report mean that an operator
      between has no integer kernel (such as POW). Of a detector or a spatial transformer only the layers with
      weights are int8, and of those that predict a transformation only the weights; the rest stays float.

    Args:
        model: any Keras model whose operators TFLite has; mixed-precision models are rebuilt in float32.
        path: the file to write; it appears only when every check has passed.
        quantize: one of the above.
        calibration: images preprocessed as the network expects, floating: an array `(n, height, width, channels)`,
            an iterable of images or batches, or a `tf.data.Dataset` of images or `(image, mask)`. int8 learns its
            ranges from the first 128 (at least 8). Where given, verification runs on 16 of them instead of noise.
            With several inputs: signature → input name → such data.
        signatures: name → endpoint; they share their weights in the file. `None` is one, `"serving_default"`, from
            the model's inputs to its outputs under their own names.
        input_shape: `(height, width, channels)` of a model that leaves height and width open.
        labels: names of the classes, in order, stored in the file.

    Returns:
        The report, all checks passed.

    Raises:
        ValueError: if an argument is wrong: unknown `quantize`, int8 without calibration, calibration of another
            shape or dtype, open or contradicting sizes, more or fewer labels than classes.
        ExportError: if the file cannot be written, the model holds NaN or normalises by the batch, TFLite lacks an
            operator (which the message names), or a check on the written file fails. Nothing is left behind.

    Example:
        >>> model = keras_segattn.FCN8s(classes=3, backbone="squeezenet1_1")
        >>> report = export.tflite(model, "fcn8s.tflite", input_shape=(256, 256, 3), labels=["sea", "land", "lake"])
        >>> report.runtimes[0].max_difference
    """
    check_choice("quantize", quantize, QUANTIZATIONS)
    if quantize == "int8" and calibration is None:
        raise ValueError("quantize='int8' needs calibration images, received None")
    check_labels(labels, model)
    model = as_float32(model)
    check_finite(model)
    check_statistics(model)
    endpoints = dict(signatures) if signatures else {"serving_default": static_endpoint(model, input_shape)}
    # What is written is folded; what it is compared with is the model as it was given.
    folded = model if signatures else fold_affine(model)
    written = endpoints if signatures else {"serving_default": static_endpoint(folded, input_shape)}
    shapes = {name: static_shapes(name, endpoint) for name, endpoint in endpoints.items()}
    samples = None if calibration is None else calibration_samples(calibration, shapes)
    path = Path(path)

    with atomic_file(path) as temporary, tempfile.TemporaryDirectory(prefix="tflite_") as folder:
        convert(written, temporary, Path(folder), quantize, samples, **quantized_parts(model))
        append_metadata(temporary, describe(model, quantize=quantize, inputs=shapes, labels=labels))
        run = litert.run_file(temporary, spread(samples), scale=noise_scale(model))
        expected = {name: outputs_of(endpoint, run.inputs[name]) for name, endpoint in endpoints.items()}
        report = litert.report_on(
            temporary,
            run,
            checks=(signature_check(run, expected),),
            expected=expected,
            precision=quantize or "float32",
            others=openvino_results(temporary, run, expected),
            weight_bytes=sum(weight.value.numpy().nbytes for weight in folded.weights),
        )
        report = dataclasses.replace(report, path=path)
        report.raise_if_failed()
    return report


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary sibling that becomes `path` when the block ends well, and vanishes when it does not.

    Raises:
        ExportError: if it cannot be written.
    """
    try:
        with folder_for_writing(path.parent), replaced(path) as temporary:
            if path.is_dir():
                raise IsADirectoryError(f"{path} is a directory")
            temporary.touch()
            yield temporary
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error}") from error


def static_endpoint(model: keras.Model, input_shape: tuple[int, int, int] | None) -> Endpoint:
    """The model with batch 1 and every size known.

    Raises:
        ValueError: if `input_shape` is missing, contradicts the model, or cannot apply to it.
    """
    shapes = {}
    for tensor in model.inputs:
        shape = tuple(tensor.shape[1:])
        if input_shape is not None and len(model.inputs) == 1:
            given = tuple(input_shape)
            fits = len(given) == len(shape) and all(b in (None, a) for a, b in zip(given, shape, strict=True))
            if not fits or not all(isinstance(size, int) and size > 0 for size in given):
                raise ValueError(f"input_shape must fit the model's {shape}, received {input_shape}")
            shape = given
        elif input_shape is not None:
            raise ValueError(f"input_shape fits models with one input, {model.name!r} has {len(model.inputs)}")
        if None in shape:
            raise ValueError(
                f"a .tflite has static sizes, and input {tensor.name!r} of {model.name!r} is {shape}; "
                "give input_shape=(height, width, channels)" + (" or signatures" if len(model.inputs) > 1 else "")
            )
        shapes[tensor.name] = (1, *shape)
    return model_endpoint(model, shapes)


def static_shapes(signature: str, endpoint: Endpoint) -> dict[str, tuple[int, ...]]:
    """Input name → shape of an endpoint.

    Raises:
        ValueError: if a size is open.
    """
    shapes = {name: tuple(spec.shape) for name, spec in endpoint.inputs.items()}
    for name, shape in shapes.items():
        if None in shape:
            raise ValueError(f"a .tflite has static sizes, and input {name!r} of signature {signature!r} is {shape}")
    return shapes


def quantized_parts(model: keras.Model) -> dict[str, Any]:
    """Arguments of `convert`: what of a model int8 must leave alone.

    Eight bits would round positions in a picture to whole pixels or worse: those of a detector's boxes, of sampling
    grids, and whatever the layers that predict these compute.
    """
    transformers = [layer for layer in model.layers if isinstance(layer, SpatialTransformer)]
    detector = isinstance(model.output, dict) and is_detector(model.output)
    return {"layers_only": detector or bool(transformers), "exact_layers": localisation_layers(model, transformers)}


def localisation_layers(model: keras.Model, transformers: Sequence[SpatialTransformer]) -> list[str]:
    """Names of the layers that only serve to predict parameters of transformers."""
    if not transformers:
        return []
    readers: dict[str, set[str]] = {layer.name: set() for layer in model.layers}
    for layer in model.layers:
        # A layer that is called several times has several nodes, and no `input`.
        for tensor in (tensor for node in layer._inbound_nodes for tensor in node.input_tensors):
            readers.setdefault(tensor._keras_history.operation.name, set()).add(layer.name)
    found = {transformer.name for transformer in transformers}
    predicting = {
        tensor._keras_history.operation.name
        for transformer in transformers
        for tensor in keras.tree.flatten(transformer.input)[1:]
    }
    # Backwards, so that all that read a layer have been seen before it.
    for layer in reversed(model.layers):
        if layer.name in predicting or (readers[layer.name] and readers[layer.name] <= predicting):
            predicting.add(layer.name)
    return sorted(predicting - found)


def convert(
    endpoints: Mapping[str, Endpoint],
    output: Path,
    work: Path,
    quantize: str | None,
    samples: Mapping[str, litert.Arrays] | None,
    *,
    layers_only: bool = False,
    exact_layers: Sequence[str] = (),
) -> None:
    """Write the flatbuffer of the endpoints to `output`.

    With `layers_only`, int8 is for layers with weights; of `exact_layers` it is for the weights only.

    Raises:
        ExportError: if the converter refuses; the message names the operators that TFLite lacks.
    """
    write_archive(endpoints, work / "saved_model")
    request: dict[str, Any] = {
        "saved_model": work / "saved_model",
        "signatures": list(endpoints),
        "quantize": quantize,
        "calibration": None,
        "layers_only": layers_only,
        "exact_layers": exact_layers,
        "output": output,
        "error": work / "error.txt",
    }
    if quantize == "int8" and samples is not None:
        request["calibration"] = work / "calibration.npz"
        litert.save_samples(request["calibration"], samples)
    process = run_script("tflite_convert", request, work)
    if process.returncode:
        error = request["error"]
        text = error.read_text(encoding="utf-8") if error.exists() else process.stderr
        raise ExportError(refusal(text) or f"TFLite conversion failed: {text.strip()[-MESSAGE_LENGTH:]}")


def refusal(message: str) -> str | None:
    """The operators that a converter's message says are not builtin, in one sentence; `None` if it names none."""
    names = re.findall(r"^(?:TF Select|Flex|Custom) ops: (.+)$", message, flags=re.MULTILINE)
    operators = sorted({name.strip() for group in names for name in group.split(",")})
    if not operators:
        return None
    return (
        f"TFLite has no builtin operator for {', '.join(operators)}; replace what uses it by operators that phones "
        "have, since Flex operators need the TensorFlow runtime there"
    )


def spread(samples: Mapping[str, litert.Arrays] | None) -> dict[str, litert.Arrays] | None:
    """At most `VERIFIED_SAMPLES` of the calibration samples, evenly spread."""
    if samples is None:
        return None

    def some(array: np.ndarray) -> np.ndarray:
        return array[np.linspace(0, len(array) - 1, min(len(array), VERIFIED_SAMPLES)).round().astype(int)]

    return {signature: {name: some(array) for name, array in named.items()} for signature, named in samples.items()}


def signature_check(run: litert.LiteRTRun, expected: Mapping[str, litert.Arrays]) -> Check:
    """Whether the file has the signatures that were asked for, with static shapes."""
    wanted = {name: sorted(outputs) for name, outputs in expected.items()}
    found = {name: sorted(tensors["outputs"]) for name, tensors in run.facts["signatures"].items()}
    static = "?" not in json.dumps(run.facts["signatures"])
    measured = f"{found}, {'static' if static else 'open'} shapes"
    return Check("signatures", found == wanted and static, measured, f"{wanted}, static shapes")
