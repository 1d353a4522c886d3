"""The report on an export: numbers measured on the written file, and the checks that it had to pass."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from keras_segattn.tasks.closeness import Check


class ExportError(RuntimeError):
    """An export or verification failed. No unfinished file is left behind."""


@dataclass(frozen=True)
class RuntimeResult:
    """Measurements of the file in one runtime.

    Args:
        runtime: name and version of the runtime.
        max_difference: largest absolute difference to the reference outputs; `None` without a reference.
        argmax_agreement: share of positions with the reference's arg-max; `None` if outputs have no classes.
        latency_ms: median milliseconds per call on this machine; `None` if it was not timed.
        delegated_share: share of nodes that an accelerating delegate runs; `None` if the runtime does not tell.
        fully_accelerated: whether the runtime claims that its accelerator runs the whole model; `None` if unknown.
        not_run: reason why this runtime did not run the file; `None` if it did.
    """

    runtime: str
    max_difference: float | None = None
    argmax_agreement: float | None = None
    latency_ms: float | None = None
    delegated_share: float | None = None
    fully_accelerated: bool | None = None
    not_run: str | None = None


@dataclass(frozen=True)
class ExportReport:
    """Measured facts about one exported file or directory.

    Args:
        path: the file (`.tflite`) or version directory (SavedModel).
        format: `"saved_model"` or `"tflite"`.
        signatures: signature name → {"inputs": {name: "dtype[shape]"}, "outputs": {…}}.
        operators: operator name → number of occurrences.
        flex_operators: TensorFlow operators outside the builtin set (must be empty in a `.tflite`).
        size_bytes: size on disk of all files together.
        weight_bytes: bytes of the Keras model's weights in their own dtype; `None` if only the file is known.
        runtimes: results in each runtime, the primary one first.
        checks: conditions on the file, and whether they hold.
        integer_operators: operator name → number of occurrences that compute in int8.
    """

    path: Path
    format: Literal["saved_model", "tflite"]
    signatures: Mapping[str, Mapping[str, Mapping[str, str]]]
    operators: Mapping[str, int]
    flex_operators: tuple[str, ...]
    size_bytes: int
    weight_bytes: int | None = None
    runtimes: tuple[RuntimeResult, ...] = ()
    checks: tuple[Check, ...] = field(default=())
    integer_operators: Mapping[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        return all(check.passed for check in self.checks)

    @property
    def size_ratio(self) -> float | None:
        """Size on disk ÷ bytes of the weights."""
        return self.size_bytes / self.weight_bytes if self.weight_bytes else None

    def raise_if_failed(self) -> None:
        """Raise `ExportError` if a check failed; the message says what was measured and expected."""
        failed = [check for check in self.checks if not check.passed]
        if failed:
            lines = "; ".join(f"{c.name}: measured {c.measured}, expected {c.expected}" for c in failed)
            raise ExportError(f"{self.path.name} failed {len(failed)} check(s): {lines}")

    def to_json(self) -> str:
        """Return the report as JSON, with NaN and infinities as strings."""
        return json.dumps(_plain(asdict(self) | {"passed": self.passed}), indent=2)

    def table(self) -> Table:
        """Return the report as a table for a terminal."""
        # Text objects, so that brackets in names and paths are not read as markup.
        table = Table(title=Text(str(self.path)), show_header=False, title_justify="left")
        for name, value in self.rows():
            table.add_row(Text(name), Text(value))
        return table

    def rows(self) -> list[tuple[str, str]]:
        """Return the report as (fact, value) pairs, for any kind of table."""
        ratio = "" if self.size_ratio is None else f" = {self.size_ratio:.3f} × weights"
        rows = [
            ("size", f"{self.size_bytes / 2**20:.2f} MiB{ratio}"),
            ("operators", ", ".join(f"{name} ×{count}" for name, count in sorted(self.operators.items()))),
            ("Flex operators", ", ".join(self.flex_operators) or "none"),
        ]
        if self.integer_operators:
            counts = (f"{name} {n} of {self.operators[name]}" for name, n in sorted(self.integer_operators.items()))
            rows.append(("in int8", ", ".join(counts)))
        for name, tensors in self.signatures.items():
            for side in ("inputs", "outputs"):
                text = ", ".join(f"{key}: {spec}" for key, spec in tensors[side].items())
                rows.append((f"{name} {side}", text))
        for result in self.runtimes:
            facts = [
                ("max difference", result.max_difference, "{:.2e}"),
                ("arg-max agreement", result.argmax_agreement, "{:.4f}"),
                ("latency", result.latency_ms, "{:.2f} ms"),
                ("delegated", result.delegated_share, "{:.0%}"),
                ("fully accelerated", result.fully_accelerated, "{}"),
            ]
            text = ", ".join(f"{label} {form.format(value)}" for label, value, form in facts if value is not None)
            rows.append((result.runtime, f"not run: {result.not_run}" if result.not_run else text or "ran"))
        rows += [
            (("ok   " if c.passed else "FAIL ") + c.name, f"{c.measured} (expected {c.expected})") for c in self.checks
        ]
        return rows


def _plain(value: Any) -> Any:
    """Return `value` with paths, NaN and infinities as strings, so that JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    return value
