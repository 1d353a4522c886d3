"""Verification of a `.tflite` in runtimes that did not write it: LiteRT's two kernel sets, and OpenVINO."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_segattn.export.detections import DetectionComparison, compare_detections, detection_checks, is_detector
from keras_segattn.export.report import Check, ExportError, ExportReport, RuntimeResult
from keras_segattn.export.scripts import failure, run_script

# Largest difference of an output, relative to max(1, its largest magnitude): float32 sums in another order.
FLOAT32_LIMIT = 1e-5
# Largest difference of an output relative to the range of its values. Weights of 11 bits; weights of 8 bits;
# weights and activations of 8 bits. Each is an order of magnitude above what FCNs measure, so as to catch a wrong
# file; how good a right one is, the arg-max says.
RANGE_LIMITS = {"float16": 5e-3, "dynamic": 5e-2, "int8": 0.2}
# Share of positions whose largest class must be that of the reference. Positions where the reference itself leads by
# less than this share of the range are left out, as no error of a converter decides them: 8 bits leave each score
# an error of a few percent of the range after tens of layers (among our miniatures with random weights int8 swaps
# classes up to 7 % apart).
MIN_ARGMAX_AGREEMENT = 0.97
NEAR_TIES = {"float32": 0.02, "float16": 0.02, "dynamic": 0.1, "int8": 0.1}

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class LiteRTRun:
    """What `litert_run.py` found in a file: its facts, and inputs and outputs by signature."""

    facts: dict[str, Any]
    inputs: dict[str, Arrays]
    default: dict[str, Arrays]
    reference: dict[str, Arrays]


def run_file(
    path: Path, inputs: Mapping[str, Arrays] | None = None, *, samples: int = 2, scale: float = 1.0
) -> LiteRTRun:
    """Run every signature of a file with LiteRT's default and reference kernels.

    Args:
        path: a `.tflite` file.
        inputs: signature → input name → `(samples, *input shape)`; `None` draws noise from a fixed seed.
        samples: how many to draw.
        scale: standard deviation of the noise.

    Raises:
        ExportError: if the file is missing or LiteRT cannot load or run it.
    """
    with tempfile.TemporaryDirectory(prefix="litert_") as folder:
        work = Path(folder)
        request: dict[str, Any] = {"model": path.resolve(), "inputs": None, "samples": samples, "scale": scale}
        request |= {"arrays": work / "arrays.npz", "facts": work / "facts.json"}
        if inputs is not None:
            request["inputs"] = work / "inputs.npz"
            save_samples(request["inputs"], inputs)
        process = run_script("litert_run", request, work)
        if process.returncode:
            raise ExportError(f"LiteRT cannot run {path}: {failure(process)}")
        facts = json.loads(request["facts"].read_text(encoding="utf-8"))
        found: dict[str, dict[str, Arrays]] = {"inputs": {}, "default": {}, "reference": {}}
        with np.load(request["arrays"]) as arrays:
            for key in arrays.files:
                kind, rest = key.split("/", 1)
                signature, name = _split(rest, facts["signatures"])
                found[kind].setdefault(signature, {})[name] = arrays[key]
    return LiteRTRun(facts, **found)


def save_samples(file: Path, samples: Mapping[str, Arrays]) -> None:
    """Write signature → input name → samples, to be read by a script."""
    flat = {f"{signature}/{name}": array for signature, named in samples.items() for name, array in named.items()}
    np.savez(file, **flat)  # type: ignore[arg-type]


def _split(key: str, signatures: Mapping[str, Any]) -> tuple[str, str]:
    """`signature/name` in two, where either may hold a slash."""
    signature = max((name for name in signatures if key.startswith(f"{name}/")), key=len)
    return signature, key.removeprefix(f"{signature}/")


@dataclass(frozen=True)
class Comparison:
    """How far outputs are from those they should equal.

    Args:
        difference: largest absolute difference.
        relative: `difference` in the unit of the limits: per output, ÷ max(1, magnitude) or ÷ range of values.
        agreement: share of positions with equal arg-max; `None` where no output has classes.
        decided: the same over positions where the first class leads the second by more than its `NEAR_TIES`.
        decided_share: the share of such positions.
        detections: of a detector, its detections instead of the numbers in its slots.
    """

    difference: float
    relative: float
    agreement: float | None
    decided: float | None
    decided_share: float = 0.0
    detections: DetectionComparison | None = None


def compare(outputs: Mapping[str, Arrays], expected: Mapping[str, Arrays], precision: str) -> Comparison:
    """Compare outputs, by signature and name, on as many samples as both have."""
    if len(expected) == 1 and is_detector(next(iter(expected.values()))):
        ((signature, slots),) = expected.items()
        detections = compare_detections(outputs[signature], slots)
        return Comparison(detections.box, 0.0, detections.share, None, detections=detections)
    differences, relatives, same, decided = [0.0], [0.0], [], []
    for signature, named in expected.items():
        for name, wanted in named.items():
            got = outputs[signature][name]
            count = min(len(got), len(wanted))
            a, b = got[:count].astype("float64"), wanted[:count].astype("float64")
            spread = float(np.ptp(b)) if b.size else 0.0
            unit = max(1.0, np.max(np.abs(b), initial=0.0)) if precision == "float32" else spread or 1.0
            differences.append(float(np.max(np.abs(a - b), initial=0.0)))
            relatives.append(differences[-1] / unit)
            if wanted.dtype.kind == "f" and wanted.ndim > 2 and wanted.shape[-1] > 1:
                second, first = np.moveaxis(np.partition(b, -2, axis=-1)[..., -2:], -1, 0)
                same.append((a.argmax(-1) == b.argmax(-1)).ravel())
                decided.append((first - second > NEAR_TIES[precision] * spread).ravel())
    # np.max lets a NaN through, which max() would lose; and NaN fails every "<=".
    everywhere = np.concatenate(same) if same else np.zeros(0)
    leads = np.concatenate(decided) if decided else np.zeros(0, bool)
    where_decided = everywhere[leads]
    return Comparison(
        float(np.max(differences)),
        float(np.max(relatives)),
        float(everywhere.mean()) if everywhere.size else None,
        float(where_decided.mean()) if where_decided.size else None,
        float(leads.mean()) if leads.size else 0.0,
    )


def closeness_checks(found: Comparison, what: str, precision: str) -> list[Check]:
    """Whether a comparison is within the limits of its precision."""
    if found.detections is not None:
        return detection_checks(found.detections, what, precision)
    limit = FLOAT32_LIMIT if precision == "float32" else RANGE_LIMITS[precision]
    unit = "× max(1, largest output)" if precision == "float32" else "× range of the output"
    measured, expected = f"{found.relative:.2e} {unit}", f"<= {limit:.0e}"
    checks = [Check(f"difference {what}", found.relative <= limit, measured, expected)]
    if found.decided is not None:
        lead = f"the first class leads by over {NEAR_TIES[precision]:.0%} of the range"
        measured = (
            f"{found.decided:.4f} of the {found.decided_share:.1%} where {lead}, {found.agreement:.4f} everywhere"
        )
        passed, expected = found.decided >= MIN_ARGMAX_AGREEMENT, f">= {MIN_ARGMAX_AGREEMENT} of those"
        checks.append(Check(f"arg-max agreement {what}", passed, measured, expected))
    return checks


def finite_check(run: LiteRTRun) -> Check:
    """Whether every floating output of both kernel sets is a number."""
    wrong = {
        f"{signature}/{name}"
        for outputs in (run.default, run.reference)
        for signature, named in outputs.items()
        for name, array in named.items()
        if array.dtype.kind == "f" and not np.isfinite(array).all()
    }
    measured = f"NaN or infinity in {', '.join(sorted(wrong))}" if wrong else "all finite"
    return Check("finite outputs", not wrong, measured, "all finite")


def report_on(
    path: Path,
    run: LiteRTRun,
    *,
    expected: Mapping[str, Arrays] | None = None,
    precision: str | None = None,
    weight_bytes: int | None = None,
    checks: tuple[Check, ...] = (),
    others: tuple[RuntimeResult, ...] = (),
) -> ExportReport:
    """The report on a file that was run.

    Args:
        path: the file.
        run: what `run_file` returned for it.
        expected: signature → output name → right outputs for `run.inputs`, or `None`.
        precision: `"float32"`, `"float16"`, `"dynamic"` or `"int8"`, which sets the limits; `None` reads it off
            the file's tensors.
        weight_bytes: bytes of the Keras model's weights, if known.
        checks: conditions that the caller measured.
        others: results in runtimes other than LiteRT.
    """
    facts = run.facts
    precision = precision or facts["precision"]
    custom = facts["custom_operators"]
    verdicts = [
        *checks,
        Check("builtin operators only", not custom, ", ".join(custom) or "no other", "no other"),
        finite_check(run),
    ]
    version = f"LiteRT {facts['version']}"
    right = compare(run.default, expected, precision) if expected else None
    runtimes = [
        RuntimeResult(
            version,
            max_difference=right.difference if right else None,
            argmax_agreement=right.agreement if right else None,
            latency_ms=facts["latency_ms"],
            delegated_share=facts["delegated_share"],
            fully_accelerated=facts["fully_accelerated"],
        )
    ]
    if right:
        verdicts += closeness_checks(right, "to Keras", precision)
    if run.reference:
        kernels = compare(run.default, run.reference, precision)
        verdicts += closeness_checks(kernels, "to the reference kernels", precision)
        plain = compare(run.reference, expected, precision) if expected else kernels
        runtimes.append(RuntimeResult(f"{version} reference kernels", plain.difference, plain.agreement))
    else:
        reason = f"too slow for a file that takes {facts['latency_ms']:.0f} ms with the default kernels"
        runtimes.append(RuntimeResult(f"{version} reference kernels", not_run=reason))
    return ExportReport(
        path=path,
        format="tflite",
        signatures=facts["signatures"],
        operators=facts["operators"],
        integer_operators=facts["integer_operators"],
        flex_operators=tuple(custom),
        size_bytes=path.stat().st_size,
        weight_bytes=weight_bytes,
        runtimes=(*runtimes, *others),
        checks=tuple(verdicts),
    )
