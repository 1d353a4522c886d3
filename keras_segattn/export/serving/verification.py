"""Verification of a SavedModel in runtimes that did not write it: TensorFlow's C API and OpenVINO."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_segattn.export.archive import as_float32
from keras_segattn.export.meta_graph import (
    count_operators,
    describe_signatures,
    dtype_of,
    lint,
    read_meta_graph,
    shape_of,
    signature_defs,
    stored_weight_bytes,
)
from keras_segattn.export.preparation import comparison_of, facts_in
from keras_segattn.export.report import ExportError, ExportReport, RuntimeResult
from keras_segattn.export.runtimes.libtensorflow import Answer, Call, run_saved_model
from keras_segattn.export.runtimes.openvino import run_openvino
from keras_segattn.export.serving.config import VERSION_BATCHING_FILE
from keras_segattn.export.serving.reference import reference_function
from keras_segattn.export.serving.signatures import png_files
from keras_segattn.export.serving.texts import texts_of
from keras_segattn.export.serving.warmup import read_warmup
from keras_segattn.facts import Facts, told_facts
from keras_segattn.fields import Picture, Tokens, Vectors
from keras_segattn.runtimes import check_vocabularies
from keras_segattn.tasks.closeness import Arrays, Check, Compare, closeness_checks

# Share of pixels that must have the same class as in Keras; sums in another order change a few with nearly tied scores.
MIN_CLASS_AGREEMENT = 0.999
# Size that replaces an open height, width or length of a file without facts.
UNKNOWN_SIZE = 128
# Number of tokens of a text of any length.
UNKNOWN_LENGTH = 4


@dataclass(frozen=True)
class Sample:
    """A trial call of a signature.

    Args:
        signature: name of the signature.
        inputs: input name → array.
        reference: function from the inputs to Keras' outputs, both name → array; `None` if there is no reference.
        timed: whether to measure the latency.
    """

    signature: str
    inputs: Arrays
    reference: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    timed: bool = False


def verify_saved_model(path: str | Path, *, reference: keras.Model | None = None) -> ExportReport:
    """Measure a SavedModel, whoever wrote it: whether it suits TensorFlow Serving and runs without Python.

    The graph is checked, TensorFlow's C API loads and runs every signature on batches of 1 and 3, the warm-up file (if
    there is one) is replayed, and OpenVINO, if installed, must give the same outputs. Inputs of strings get PNG files,
    or texts of the vocabularies in the file's facts.

    Args:
        path: version directory, or a folder of them, in which the highest version is taken.
        reference: Keras model to compare `serving_default` with. If the file takes uint8 images, they are normalised
            as the model's facts say before the model gets them.

    Returns:
        The report; its `passed` says whether all checks hold.

    Raises:
        ExportError: if there is no SavedModel, or its graph is damaged.
        ValueError: if `reference` has other inputs or outputs than the file.

    Example:
        >>> verify_saved_model("savedmodels/fcn8s/1", reference=model).raise_if_failed()
    """
    path = Path(path)
    versions = [x for x in path.iterdir() if x.name.isdecimal() and x.is_dir()] if path.is_dir() else []
    if versions and not (path / "saved_model.pb").exists():
        path = max(versions, key=lambda version: int(version.name))
    facts = facts_in(path)
    samples = [
        Sample(
            name,
            {key: random_input(tensor, batch, key, facts) for key, tensor in signature.inputs.items()},
            reference_function(reference, signature) if reference and name == "serving_default" else None,
            timed=batch == 1,
        )
        for name, signature in signature_defs(read_meta_graph(path)).items()
        for batch in (1, 3)
    ]
    weight_bytes = None if reference is None else sum(w.value.numpy().nbytes for w in as_float32(reference).weights)
    report = report_on(path, samples, facts=facts, weight_bytes=weight_bytes)
    if facts is not None and facts.vocabularies:
        try:
            told_facts(facts)
            check_vocabularies(path, facts)
            fit = Check("vocabularies", True, "of the model", "of the model")
        except ValueError as error:
            fit = Check("vocabularies", False, str(error), "of the model")
        report = replace(report, checks=(*report.checks, fit))
    path = path.resolve()
    if not path.name.isdecimal():
        return report
    unfinished = half_written(path.parent)
    advice = "none; copy a version to a name that is no number, then rename it"
    check = Check("half-written versions", not unfinished, "; ".join(unfinished) or "none", advice)
    return replace(report, checks=(*report.checks, check))


def half_written(folder: Path) -> list[str]:
    """Describe the version directories of a model that a server would load although files are missing in them."""
    found = []
    for version in sorted(one for one in folder.iterdir() if one.name.isdecimal() and one.is_dir()):
        missing = [name for name in ("saved_model.pb", "variables/variables.index") if not (version / name).is_file()]
        shards = [file.name.rpartition("-of-")[2] for file in version.glob("variables/variables.data-*-of-*")]
        if shards != shards[:1] * int(next(filter(str.isdecimal, shards), 0)) or not shards:
            missing.append("variables/variables.data" if not shards else "part of variables/variables.data")
        if missing:
            found.append(f"{version.name} has no {', '.join(missing)}")
    return found


def report_on(
    directory: Path, samples: Sequence[Sample], *, facts: Facts | None, weight_bytes: int | None
) -> ExportReport:
    """Measure a SavedModel on the given calls.

    Args:
        directory: version directory of a SavedModel.
        samples: trial calls; a signature may have several.
        facts: facts about the model; its task determines how outputs are compared.
        weight_bytes: bytes of the Keras model's weights, if known.

    Raises:
        ExportError: if there is no SavedModel, or its graph is damaged.
    """
    meta_graph = read_meta_graph(directory)
    checks = lint(meta_graph)
    checks += batching_checks(directory, meta_graph)
    compare = comparison_of(facts)
    runtimes: list[RuntimeResult] = []
    try:
        warmup = read_warmup(directory)
        calls = [Call(sample.signature, sample.inputs, sample.timed) for sample in samples]
        calls += [Call(signature, inputs, label=f"warm-up of {signature}") for signature, inputs in warmup]
        version, answers = run_saved_model(directory, calls)
        stored = stored_weight_bytes(directory)
    except ExportError as error:
        checks.append(Check("runs in TensorFlow's C API", False, str(error), "every signature and the warm-up"))
    else:
        checks += answer_checks(samples, answers)
        for signature in dict.fromkeys(sample.signature for sample in samples):
            tried = [pair for pair in zip(samples, answers, strict=False) if pair[0].signature == signature]
            result, closeness = signature_result(f"libtensorflow {version}", signature, tried, compare)
            runtimes.append(result)
            checks += closeness
        if warmup:
            checks.append(Check("warm-up replayed", True, f"{len(warmup)} requests", "all"))
        if weight_bytes is not None:
            checks.append(Check("weights stored once", stored <= weight_bytes, f"{stored} B", f"<= {weight_bytes} B"))
        second = [pair for pair in zip(samples, answers, strict=False) if pair[0].signature == "serving_default"]
        result_of_openvino = second and openvino_result(directory, *second[-1], compare)
        if result_of_openvino:
            runtimes.append(result_of_openvino[0])
            checks += result_of_openvino[1]
    return ExportReport(
        path=directory,
        format="saved_model",
        signatures=describe_signatures(meta_graph),
        operators=count_operators(meta_graph),
        flex_operators=(),
        size_bytes=sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()),
        weight_bytes=weight_bytes,
        runtimes=tuple(runtimes),
        checks=tuple(checks),
    )


def batching_checks(directory: Path, meta_graph: Any) -> list[Check]:
    """Check that a version which a server batches has inputs of fixed sizes, since others cannot share a batch."""
    if not (directory / VERSION_BATCHING_FILE).is_file():
        return []
    found = {
        f"{name}/{key}": shape_of(tensor)
        for name, signature in signature_defs(meta_graph).items()
        for key, tensor in sorted(signature.inputs.items())
    }
    unfixed = [name for name, shape in found.items() if shape is None or None in shape[1:]]
    measured = f"open in {', '.join(unfixed)}" if unfixed else "fixed"
    return [Check(f"sizes under {VERSION_BATCHING_FILE}", not unfixed, measured, "fixed")]


def answer_checks(samples: Sequence[Sample], answers: Sequence[Answer]) -> list[Check]:
    """Check that no output holds NaN or infinity, and that each has as many rows as the inputs."""
    numbers, rows = [], []
    for sample, answer in zip(samples, answers, strict=False):
        batch = {len(array) for array in sample.inputs.values()}
        for name, output in answer.outputs.items():
            if output.dtype.kind == "f" and not np.isfinite(output).all():
                numbers.append(f"{sample.signature}/{name}")
            if {*output.shape[:1]} != batch:
                rows.append(f"{sample.signature}/{name} {output.shape}")
    finite = f"NaN or infinity in {', '.join(sorted(set(numbers)))}" if numbers else "all finite"
    return [
        Check("finite outputs", not numbers, finite, "all finite"),
        Check("one output for each input of a batch", not rows, ", ".join(rows) or "all", "all"),
    ]


def signature_result(
    runtime: str, signature: str, tried: Sequence[tuple[Sample, Answer]], compare: Compare
) -> tuple[RuntimeResult, list[Check]]:
    """Return the result of a runtime for one signature, and checks that compare it with Keras."""
    latency = next((answer.latency_ms for _, answer in tried if answer.latency_ms is not None), None)
    expected = {str(i): keras_outputs(sample) for i, (sample, _) in enumerate(tried) if sample.reference is not None}
    answers = {str(i): answer.outputs for i, (_, answer) in enumerate(tried)}
    found, checks = closeness(answers, expected, compare, f"of {signature} to Keras")
    return RuntimeResult(f"{runtime} {signature}", *found, latency_ms=latency), checks


def openvino_result(
    directory: Path, sample: Sample, answer: Answer, compare: Compare
) -> tuple[RuntimeResult, list[Check]] | None:
    """Run one call in OpenVINO and compare with Keras, or else with TensorFlow's C API; `None` if not installed."""
    ran = run_openvino(directory, sample.inputs, list(answer.outputs))
    if ran is None:
        return None
    runtime, outputs = ran
    if outputs is None:
        return RuntimeResult("OpenVINO", not_run=runtime), []
    expected = answer.outputs if sample.reference is None else keras_outputs(sample)
    found, checks = closeness({"": outputs}, {"": expected}, compare, "of OpenVINO")
    return RuntimeResult(f"{runtime} {sample.signature}", *found), checks


def closeness(
    outputs: dict[str, Arrays], expected: dict[str, Arrays], compare: Compare, what: str
) -> tuple[tuple[float | None, float | None], list[Check]]:
    """Return largest difference and arg-max agreement with the expected outputs, and checks on them.

    Outputs that are no floating-point numbers, such as classes and texts, are compared for equality.
    """
    texts = [name for named in expected.values() for name, array in named.items() if array.dtype.kind in "OS"]
    numbers = {key: {name: named[name] for name in named if name not in texts} for key, named in expected.items()}
    found = compare(outputs, numbers, "float32") if expected else None
    if found is not None and found.checks is not None:
        return (found.difference, found.agreement), closeness_checks(found, what, "float32")
    scores = {
        key: {name: array for name, array in named.items() if array.dtype.kind == "f"}
        for key, named in expected.items()
    }
    classes = [
        np.mean(outputs[key][name] == array)
        for key, named in expected.items()
        for name, array in named.items()
        if array.dtype.kind != "f"
    ]
    checks: list[Check] = []
    difference = agreement = None
    if any(scores.values()):
        found = compare(outputs, scores, "float32")
        difference, agreement = found.difference, found.agreement
        checks += closeness_checks(found, what, "float32")
    if classes:
        agreement = float(min(classes))
        passed = agreement >= MIN_CLASS_AGREEMENT
        checks.append(Check(f"classes {what}", passed, f"{agreement:.4f}", f">= {MIN_CLASS_AGREEMENT}"))
    return (difference, agreement), checks


def keras_outputs(sample: Sample) -> Arrays:
    """Return the outputs of the reference for a sample."""
    if sample.reference is None:
        raise ValueError(f"the sample of {sample.signature} has no reference")
    return {name: keras.ops.convert_to_numpy(output) for name, output in sample.reference(sample.inputs).items()}


def random_input(tensor: Any, batch: int, name: str, facts: Facts | None) -> np.ndarray:
    """Draw an input for a TensorInfo.

    Args:
        tensor: TensorInfo of the input.
        batch: number of examples.
        name: name of the input.
        facts: facts about the model. If they do not say the kind of the input, it is a picture for uint8, a PNG file
            for strings, noise for floats, and zeros and ones for other integers.
    """
    kind = None if facts is None else facts.inputs.get(name)
    known = shape_of(tensor) or (batch,)
    shape = tuple((size or (UNKNOWN_SIZE if axis else batch)) for axis, size in enumerate(known))
    dtype = dtype_of(tensor)
    if dtype == "string":
        count = int(np.prod(shape))
        if isinstance(kind, Tokens) and facts is not None:
            return texts_of(kind.draw((count, UNKNOWN_LENGTH), batch), kind, facts).reshape(shape)
        return png_files(Picture().draw((count, UNKNOWN_SIZE, UNKNOWN_SIZE, 3), batch)).reshape(shape)
    if kind is not None and isinstance(kind, Picture) is (dtype == "uint8"):
        return kind.draw(shape, batch).astype(dtype)
    if dtype == "uint8" and len(shape) == 4:
        return Picture().draw(shape, batch)
    if dtype.startswith(("float", "bfloat")):
        return Vectors().draw(shape, batch).astype(dtype)
    return np.random.default_rng(batch).integers(0, 2, shape).astype(dtype)
