"""Comparison of the outputs of a written file with those of the model, shared by all tasks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

Arrays = dict[str, np.ndarray]

# Largest difference of an output, relative to max(1, its largest magnitude); float32 sums in another order need it.
FLOAT32_LIMIT = 1e-5
# Largest difference of an output, relative to the range of its values, for weights of 11 bits, weights of 8 bits, and
# weights and activations of 8 bits. Each limit is an order of magnitude above what was measured for FCNs: it catches a
# wrong file. The arg-max agreement below says how good a right file is.
RANGE_LIMITS = {"float16": 5e-3, "dynamic": 5e-2, "int8": 0.2}
# Share of positions whose largest class must be the reference's.
MIN_ARGMAX_AGREEMENT = 0.97
# Positions where the reference's first class leads the second by less than this share of the range are left out, since
# rounding decides them: 8 bits leave each score an error of a few percent of the range after tens of layers (among our
# miniatures with random weights int8 swaps classes up to 7 % apart).
NEAR_TIES = {"float32": 0.02, "float16": 0.02, "dynamic": 0.1, "int8": 0.1}

# Share of a list's entries, such as objects or sentences, that a right file must find again. Rounding decides whether
# an entry whose score is nearly that of another stays in the list: weights of 11 bits move hardly any, weights of 8
# bits move some with low scores.
MIN_FOUND_AGAIN = {"float32": 1.0, "float16": 0.9, "dynamic": 0.6, "int8": 0.5}


@dataclass(frozen=True)
class Check:
    """One condition on a written file.

    Args:
        name: subject of the check, such as `"float32 difference to Keras"`.
        passed: whether the condition holds.
        measured: measured value, as text.
        expected: condition on it, as text, such as `"<= 1e-05"`.
    """

    name: str
    passed: bool
    measured: str
    expected: str


@dataclass(frozen=True)
class Comparison:
    """Differences between outputs and those expected.

    Args:
        difference: largest absolute difference.
        relative: largest relative difference, in the unit of the limits: each output's largest absolute difference
            ÷ max(1, largest magnitude) for float32, or ÷ range of the values.
        agreement: share of positions with equal arg-max; `None` if no output has classes.
        decided: `agreement` over the positions where the first class leads the second by more than `NEAR_TIES`.
        decided_share: share of these positions among all.
        checks: checks of a task with a comparison of its own; they replace those on `relative` and `decided`.
        further: checks of a task beside those on `relative` and `decided`.
    """

    difference: float
    relative: float
    agreement: float | None
    decided: float | None
    decided_share: float = 0.0
    checks: tuple[Check, ...] | None = None
    further: tuple[Check, ...] = ()


def compare(outputs: Mapping[str, Arrays], expected: Mapping[str, Arrays], precision: str) -> Comparison:
    """Compare outputs with those expected.

    Args:
        outputs: signature → output name → array, samples first.
        expected: expected outputs in the same form; the samples that both sides have are compared.
        precision: `"float32"`, `"float16"`, `"dynamic"` or `"int8"`.
    """
    differences, relatives, same, decided = [0.0], [0.0], [], []
    for signature, named in expected.items():
        for name, wanted in named.items():
            got = outputs[signature][name]
            count = min(len(got), len(wanted))
            a, b = got[:count].astype("float64"), wanted[:count].astype("float64")
            # One number per example, such as the log-probability of a sentence, has no range over a few samples. Its
            # distance from 0 counts, too.
            spread = float(np.ptp(np.append(b, 0) if b.ndim <= 2 else b)) if b.size else 0.0
            unit = max(1.0, np.max(np.abs(b), initial=0.0)) if precision == "float32" else spread or 1.0
            differences.append(float(np.max(np.abs(a - b), initial=0.0)))
            relatives.append(differences[-1] / unit)
            if wanted.dtype.kind == "f" and wanted.ndim > 2 and wanted.shape[-1] > 1:
                second, first = np.moveaxis(np.partition(b, -2, axis=-1)[..., -2:], -1, 0)
                same.append((a.argmax(-1) == b.argmax(-1)).ravel())
                decided.append((first - second > NEAR_TIES[precision] * spread).ravel())
    # `np.max` returns NaN if there is one, where `max()` may not; and NaN fails every "<=".
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
    """Return checks of a comparison against the limits of its precision; `what` completes their names."""
    if found.checks is not None:
        return [replace(check, name=f"{check.name} {what}") for check in found.checks]
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
    return checks + [replace(check, name=f"{check.name} {what}") for check in found.further]


# Arguments: outputs by signature and name, expected outputs, and precision of the file.
Compare = Callable[[Mapping[str, Arrays], Mapping[str, Arrays], str], Comparison]
