"""Runs of a `.tflite` file in LiteRT with its default and its reference kernels, and the report on them."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_segattn.export.report import ExportError, ExportReport, RuntimeResult
from keras_segattn.export.runtimes.scripts import failure, run_script
from keras_segattn.tasks import closeness
from keras_segattn.tasks.closeness import Arrays, Check, closeness_checks


@dataclass(frozen=True)
class LiteRTRun:
    """Results of `litert_run.py` on a file.

    Attributes:
        facts: measured properties of the file, such as operators, signatures and latency.
        inputs: signature → input name → samples that the file was run with.
        default: signature → output name → outputs of the default kernels.
        reference: signature → output name → outputs of the reference kernels for the first sample; empty if these
            kernels are too slow.
    """

    facts: dict[str, Any]
    inputs: dict[str, Arrays]
    default: dict[str, Arrays]
    reference: dict[str, Arrays]

    def part(self, samples: slice) -> "LiteRTRun":
        """Return the run with some of its samples only; those of the reference kernels stay."""
        inputs, default = (
            {signature: {name: array[samples] for name, array in named.items()} for signature, named in arrays.items()}
            for arrays in (self.inputs, self.default)
        )
        return replace(self, inputs=inputs, default=default)


def run_file(path: Path, inputs: Mapping[str, Arrays] | None = None, *, samples: int = 2) -> LiteRTRun:
    """Run every signature of a file with LiteRT's default and reference kernels.

    Args:
        path: path of a `.tflite` file.
        inputs: signature → input name → `(samples, *input shape)`; `None` draws noise from a fixed seed.
        samples: number of samples to draw.

    Raises:
        ExportError: if the file is missing or LiteRT cannot load or run it.
    """
    with tempfile.TemporaryDirectory(prefix="litert_") as folder:
        work = Path(folder)
        request: dict[str, Any] = {"model": path.resolve(), "inputs": None, "samples": samples}
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
    """Write samples (signature → input name → array) to an `.npz` file for a script."""
    flat = {f"{signature}/{name}": array for signature, named in samples.items() for name, array in named.items()}
    np.savez(file, **flat)  # type: ignore[arg-type]


def _split(key: str, signatures: Mapping[str, Any]) -> tuple[str, str]:
    """Split `signature/name` in two; both parts may hold slashes themselves."""
    signature = max((name for name in signatures if key.startswith(f"{name}/")), key=len)
    return signature, key.removeprefix(f"{signature}/")


def finite_check(run: LiteRTRun) -> Check:
    """Check that no floating-point output of either kernel set holds NaN or infinity."""
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
    compare: closeness.Compare = closeness.compare,
    weight_bytes: int | None = None,
    checks: tuple[Check, ...] = (),
    others: tuple[RuntimeResult, ...] = (),
) -> ExportReport:
    """Return the report on a file that was run.

    Args:
        path: path of the file.
        run: result of `run_file` for the file.
        expected: signature → output name → Keras' outputs for `run.inputs`, or `None`.
        precision: `"float32"`, `"float16"`, `"dynamic"` or `"int8"`, which sets the limits; `None` reads it off
            the file's tensors.
        compare: function that compares outputs with those expected.
        weight_bytes: bytes of the Keras model's weights, if known.
        checks: further checks, made by the caller.
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
