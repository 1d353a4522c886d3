"""Export to one `.tflite` file for phones, browsers and boards, verified before it gets its final name."""

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

from keras_segattn import graph
from keras_segattn.arguments import check_choice
from keras_segattn.endpoints import Endpoint
from keras_segattn.export.archive import write_archive
from keras_segattn.export.mobile import litert
from keras_segattn.export.mobile.calibration import calibration_samples
from keras_segattn.export.mobile.verification import openvino_results, outputs_of
from keras_segattn.export.preparation import Prepared, Sizes, comparison_of, drawn, prepared
from keras_segattn.export.report import ExportError, ExportReport
from keras_segattn.export.runtimes.scripts import failure, run_script
from keras_segattn.facts import Facts, write_facts
from keras_segattn.files import folder_for_writing, replaced
from keras_segattn.tasks.closeness import Check, Compare

Quantization = Literal["float16", "dynamic", "int8"]
QUANTIZATIONS: tuple[Quantization | None, ...] = (None, "float16", "dynamic", "int8")
# Largest number of calibration samples that verification runs.
VERIFIED_SAMPLES = 16
# Number of samples that verification draws if there is no calibration data.
DRAWN_SAMPLES = 2
# Smallest range of int8's outputs for drawn inputs ÷ range of Keras' outputs. Useful files have at least a half.
MIN_REACH = 0.1
# Number of characters quoted from the end of a converter's message, which says why it failed, if it names no operator.
MESSAGE_LENGTH = 600


def tflite(
    model: keras.Model,
    path: str | Path,
    *,
    quantize: Quantization | None = None,
    calibration: Any = None,
    facts: Facts | None = None,
    sizes: Sizes | None = None,
    endpoints: Mapping[str, Endpoint] | None = None,
) -> ExportReport:
    """Write a model as one `.tflite` file with builtin operators only, and measure the file in LiteRT.

    All sizes in the file are static and the batch is 1, so that delegates can run the whole graph. Inputs and outputs
    are float32 under every quantisation, so that the same code calls all four kinds of file:

    * `None`: float32, equal to Keras up to rounding.
    * `"float16"`: float16 weights, half the size, for GPUs.
    * `"dynamic"`: int8 weights, a quarter of the size, for CPUs; no data needed.
    * `"int8"`: int8 weights (per channel) and activations, a quarter of the size, for NPUs; needs `calibration`.
      QUANTIZE at the start and DEQUANTIZE at the end of the graph convert; more of them in the report mean that an
      operator in between has no integer kernel (such as POW). In detectors and models with spatial transformers only
      layers with weights are int8; in layers that predict a transformation only the weights are. The rest stays float.

    A zip archive with `facts.json` is appended to the file (see `keras_segattn.facts`).

    Args:
        model: functional model, or a `Sequential` that begins with `keras.Input`, whose operators TFLite has;
            mixed-precision models are rebuilt in float32.
        path: path of the file to write; it appears only if every check passes.
        quantize: quantisation, one of the above.
        calibration: floating-point images, preprocessed as the network expects: an array
            `(n, height, width, channels)`, an iterable of images or batches, a `tf.data.Dataset` of images or
            `(image, mask)`, or a function that returns one of them, such as a `representative_dataset` of
            `tf.lite`. Items may also be lists `[image]` or dicts `{name: image}`, which hold all inputs if there are
            several; or else give a mapping (signature →) input name → data. int8 learns its ranges from the first 128
            samples (at least 8). If given, verification runs on 16 of them, and for int8 also on other inputs.
        facts: facts to store in the file, such as `facts_of(model, labels=["sea", "land", "lake"])`; `None` stores what
            the model itself knows.
        sizes: input → (height, width) of a picture, or (length,) of a sentence, where the model leaves them open.
            The default length of sentences is the longest that the search writes.
        endpoints: signature → endpoint, instead of those of the model's card. They share their weights in the file.

    Returns:
        The report, in which all checks passed.

    Raises:
        TypeError: if the model is a subclassed one, whose inputs are unknown.
        ValueError: if an argument is wrong: unknown `quantize`, int8 without calibration, calibration of another
            shape or dtype, open or contradicting sizes, more or fewer labels than classes.
        ExportError: if the file cannot be written, the model holds NaN or normalises by the batch, TFLite lacks an
            operator (which the message names), or a check on the written file fails. Nothing is left behind.

    Example:
        >>> model = keras_segattn.FCN8s(classes=3, backbone="squeezenet1_1")
        >>> facts = keras_segattn.facts_of(model, labels=["sea", "land", "lake"])
        >>> report = export.tflite(model, "fcn8s.tflite", facts=facts, sizes={"image": (256, 256)})
        >>> report.runtimes[0].max_difference
    """
    check_choice("quantize", quantize, QUANTIZATIONS)
    if quantize == "int8" and calibration is None:
        raise ValueError("quantize='int8' needs calibration images, received None")
    ready = prepared(model, facts, endpoints, sizes, batch=1)
    inputs = {name: endpoint.inputs for name, endpoint in ready.endpoints.items()}
    samples = None if calibration is None else calibration_samples(calibration, inputs)
    path = Path(path)

    with atomic_file(path) as temporary, tempfile.TemporaryDirectory(prefix="tflite_") as folder:
        convert(ready.written, temporary, Path(folder), quantize, samples, **quantized_parts(ready.model))
        write_facts(temporary, dataclasses.replace(ready.facts, quantization=quantize or "float32", files=None))
        run = litert.run_file(temporary, verification_inputs(ready, samples, quantize))
        expected = {name: outputs_of(run.inputs[name], reference) for name, reference in ready.references.items()}
        checks = [signature_check(run, expected)]
        if quantize == "int8":
            others = slice(-DRAWN_SAMPLES, None)
            checks += reach_checks(run.part(others).default, part_of(expected, others), comparison_of(ready.facts))
            run, expected = run.part(slice(-DRAWN_SAMPLES)), part_of(expected, slice(-DRAWN_SAMPLES))
        report = litert.report_on(
            temporary,
            run,
            checks=tuple(checks),
            expected=expected,
            precision=quantize or "float32",
            compare=comparison_of(ready.facts),
            others=openvino_results(temporary, run, expected),
            weight_bytes=ready.weight_bytes,
        )
        report = dataclasses.replace(report, path=path)
        report.raise_if_failed()
    return report


def verification_inputs(
    ready: Prepared, samples: Mapping[str, litert.Arrays] | None, quantize: str | None
) -> dict[str, litert.Arrays]:
    """Return calibration samples, or else drawn ones; for int8 both, the drawn ones last.

    The form is signature → input → `(samples, *shape)`.
    """
    calibrated = spread(samples)
    if calibrated is None or quantize != "int8":
        return calibrated or drawn_samples(ready)
    drawn_ones = drawn_samples(ready)
    return {
        signature: {name: np.concatenate([array, drawn_ones[signature][name]]) for name, array in named.items()}
        for signature, named in calibrated.items()
    }


def part_of(outputs: Mapping[str, litert.Arrays], samples: slice) -> dict[str, litert.Arrays]:
    """Return some samples of signature → output name → `(samples, *shape)`."""
    return {signature: {name: array[samples] for name, array in named.items()} for signature, named in outputs.items()}


def reach_checks(
    got: Mapping[str, litert.Arrays], expected: Mapping[str, litert.Arrays], compare: Compare
) -> list[Check]:
    """Check that an int8 file reacts to inputs that did not calibrate it.

    Ranges that were learned from useless samples cut nearly all values off, so that the outputs are nearly constant.
    Drawn inputs may reach beyond the ranges of typical ones, so that this limit is a wide one. The outputs of tasks
    with checks of their own, such as lists of objects, have no range.
    """
    if compare(got, expected, "int8").checks is not None:
        return []
    shares = [
        float(np.ptp(got[signature][name]) / reach)
        for signature, named in expected.items()
        for name, array in named.items()
        if array.dtype.kind == "f" and array.size and (reach := np.ptp(array)) > 0
    ]
    least = min(shares, default=1.0)
    return [Check("reach on other inputs", least >= MIN_REACH, f"{least:.2g} × Keras'", f">= {MIN_REACH}")]


def drawn_samples(ready: Prepared) -> dict[str, litert.Arrays]:
    """Draw plausible samples: signature → input → `(samples, *shape)`."""
    drawn_ones = [drawn(ready, 1, seed, pixels=False) for seed in range(DRAWN_SAMPLES)]
    return {
        signature: {name: np.stack([one[signature][name] for one in drawn_ones]) for name in inputs}
        for signature, inputs in drawn_ones[0].items()
    }


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path` that is renamed to `path` after the block, or deleted if the block fails.

    Raises:
        ExportError: if the file cannot be written.
    """
    try:
        with folder_for_writing(path.parent), replaced(path) as temporary:
            if path.is_dir():
                raise IsADirectoryError(f"{path} is a directory")
            temporary.touch()
            yield temporary
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error}") from error


def quantized_parts(model: keras.Model) -> dict[str, Any]:
    """Return arguments for `convert` that say which parts of a model int8 must leave in float.

    Eight bits would round positions in a picture to whole pixels or worse. So layers that compute with positions have
    an attribute `exact_inputs`, the indices of their inputs that must be exact. In a model with such layers, only
    layers with weights are int8. In layers that serve only to compute an exact input, only the weights are int8.
    """
    exact = [layer for layer in model.layers if hasattr(layer, "exact_inputs")]
    wanted = [keras.tree.flatten(layer.input)[place] for layer in exact for place in layer.exact_inputs]
    names = set(graph.computing_only(model, wanted)) - {layer.name for layer in exact} if wanted else set()
    return {"layers_only": bool(exact), "exact_layers": sorted(names)}


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
    """Convert the endpoints to a flatbuffer and write it to `output`.

    With `layers_only`, int8 applies to layers with weights only; in `exact_layers` it applies to the weights only.

    Raises:
        ExportError: if the conversion fails; the message names operators that TFLite lacks.
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
        text = error.read_text(encoding="utf-8") if error.exists() else process.stderr or failure(process)
        raise ExportError(refusal(text) or f"TFLite conversion failed: {text.strip()[-MESSAGE_LENGTH:]}")


def refusal(message: str) -> str | None:
    """Return one sentence with the operators that a converter's message calls not builtin; `None` if it names none."""
    names = re.findall(r"^(?:TF Select|Flex|Custom) ops: (.+)$", message, flags=re.MULTILINE)
    operators = sorted({name.strip() for group in names for name in group.split(",")})
    if not operators:
        return None
    return (
        f"TFLite has no builtin operator for {', '.join(operators)}; replace what uses it by operators that phones "
        "have, since Flex operators need the TensorFlow runtime there"
    )


def spread(samples: Mapping[str, litert.Arrays] | None) -> dict[str, litert.Arrays] | None:
    """Select up to `VERIFIED_SAMPLES` of the calibration samples at even distances."""
    if samples is None:
        return None

    def some(array: np.ndarray) -> np.ndarray:
        return array[np.linspace(0, len(array) - 1, min(len(array), VERIFIED_SAMPLES)).round().astype(int)]

    return {signature: {name: some(array) for name, array in named.items()} for signature, named in samples.items()}


def signature_check(run: litert.LiteRTRun, expected: Mapping[str, litert.Arrays]) -> Check:
    """Check that the file has the expected signatures and outputs, and static shapes only."""
    wanted = {name: sorted(outputs) for name, outputs in expected.items()}
    found = {name: sorted(tensors["outputs"]) for name, tensors in run.facts["signatures"].items()}
    static = "?" not in json.dumps(run.facts["signatures"])
    measured = f"{found}, {'static' if static else 'open'} shapes"
    return Check("signatures", found == wanted and static, measured, f"{wanted}, static shapes")
