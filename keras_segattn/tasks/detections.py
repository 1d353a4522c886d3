"""Comparison of detectors: count the expected detections that were found, instead of comparing numbers in order.

A detection that is suppressed by a narrow margin, or ranked one place lower, shifts all later detections.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from keras_segattn.tasks.closeness import MIN_FOUND_AGAIN, Arrays, Check, Comparison

OUTPUTS = frozenset({"boxes", "scores", "classes", "masks", "count"})  # without masks if only boxes are found
# A detection matches an expected one if the classes are equal and the boxes overlap by at least this IoU.
SAME_IOU = 0.5
# Largest differences in float32 files, in pixels (boxes) and as probabilities (scores, masks). They allow for sums in
# another order, followed by exponentials and thresholds.
BOX_LIMIT, SCORE_LIMIT, MASK_LIMIT = 0.1, 1e-3, 1e-2


class DetectionComparison(NamedTuple):
    """Numbers of matched detections, summed over the samples, and their largest differences.

    Attributes:
        found, expected: numbers of detections.
        matched: number of expected detections that were found with the same class.
        box: largest difference of a matched box's corner, in pixels.
        score, mask: largest difference of a matched score, and of a value of a matched mask, 0 without masks.
    """

    found: int
    expected: int
    matched: int
    box: float
    score: float
    mask: float

    @property
    def share(self) -> float:
        """`matched` ÷ max(`found`, `expected`); 1 if there are no detections on either side."""
        larger = max(self.found, self.expected)
        return self.matched / larger if larger else 1.0


def compare_detections(got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> DetectionComparison:
    """Match detections of equal class by overlap, best first.

    Args:
        got: output name → `(samples, batch, …)` or `(batch, …)`.
        wanted: outputs of the reference in the same form; the samples that both have are compared.
    """
    number = min(len(got["count"]), len(wanted["count"]))
    names = OUTPUTS & wanted.keys()
    flat = [
        {name: named[name][:number].reshape(-1, *named[name].shape[-_RANKS[name] :]) for name in names - {"count"}}
        | {"count": named["count"][:number].reshape(-1)}
        for named in (got, wanted)
    ]
    found, expected = (int(side["count"].sum()) for side in flat)
    pairs, box, score, mask = 0, 0.0, 0.0, 0.0
    for image in range(len(flat[1]["count"])):
        ours, theirs = ({name: side[name][image] for name in names} for side in flat)
        free = list(range(int(ours["count"])))
        for place in range(int(theirs["count"])):
            overlaps = [
                _iou(ours["boxes"][i], theirs["boxes"][place]) if ours["classes"][i] == theirs["classes"][place] else -1
                for i in free
            ]
            if not overlaps or max(overlaps) < SAME_IOU:
                continue
            i = free.pop(int(np.argmax(overlaps)))
            pairs += 1
            box = max(box, float(np.abs(ours["boxes"][i] - theirs["boxes"][place]).max()))
            score = max(score, float(abs(ours["scores"][i] - theirs["scores"][place])))
            if "masks" in names:
                mask = max(mask, float(np.abs(ours["masks"][i] - theirs["masks"][place]).max()))
    return DetectionComparison(found, expected, pairs, box, score, mask)


# Number of dimensions of each output without samples and batch.
_RANKS = {"boxes": 2, "scores": 1, "classes": 1, "masks": 3}


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    common = float(sides.prod())
    union = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - common
    return common / union if union > 0 else float(np.array_equal(a, b))


def compare(outputs: Mapping[str, Arrays], expected: Mapping[str, Arrays], precision: str) -> Comparison:
    """Compare the detections of a file with those expected; see `closeness.compare`.

    The samples of all signatures, or of all calls, are joined and compared as one set.
    """
    names = OUTPUTS.intersection(*expected.values())
    joined = [
        {name: np.concatenate([side[key][name] for key in expected]) for name in names} for side in (outputs, expected)
    ]
    found = compare_detections(*joined)
    return Comparison(found.box, 0.0, found.share, None, checks=tuple(detection_checks(found, precision)))


def detection_checks(found: DetectionComparison, precision: str) -> list[Check]:
    """Return checks that enough detections are found again, and in float32 that they are equal up to rounding."""
    measured = f"{found.matched} of {found.expected} found again, {found.found} in all"
    floor = MIN_FOUND_AGAIN[precision]
    checks = [Check("detections", found.share >= floor, measured, f">= {floor:.0%}")]
    if precision == "float32":
        limits = {"box": (found.box, BOX_LIMIT, " px"), "score": (found.score, SCORE_LIMIT, "")}
        limits["mask"] = (found.mask, MASK_LIMIT, "")
        checks += [
            Check(f"{name} difference", value <= limit, f"{value:.2e}{unit}", f"<= {limit:g}{unit}")
            for name, (value, limit, unit) in limits.items()
        ]
    return checks
