"""Comparison of detectors: which of the expected detections were found, rather than how far numbers are apart.

A detection that is just suppressed, or ranked one place lower, moves all slots after it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from keras_segattn.tasks.closeness import Arrays, Check, Comparison

OUTPUTS = frozenset({"boxes", "scores", "classes", "masks", "count"})
# A detection is the same one if its class is, and its box overlaps the expected one so much.
SAME_IOU = 0.5
# Of float32 files: pixels, and probabilities. Sums in another order, through exponentials and thresholds.
BOX_LIMIT, SCORE_LIMIT, MASK_LIMIT = 0.1, 1e-3, 1e-2
# Share of the detections that must be found again with rounded weights. 11 bits move hardly any over a threshold;
# 8 bits do with those that score little.
MIN_MATCHED = {"float32": 1.0, "float16": 0.9, "dynamic": 0.6, "int8": 0.5}


class DetectionComparison(NamedTuple):
    """Detections against those expected, summed over the samples.

    Attributes:
        found, expected: numbers of detections.
        matched: how many of the expected were found with their class.
        box: largest difference of a matched box's corner, in pixels.
        score, mask: largest difference of a matched probability.
    """

    found: int
    expected: int
    matched: int
    box: float
    score: float
    mask: float

    @property
    def share(self) -> float:
        """Matched ÷ the larger number of detections; 1 if there are none on either side."""
        larger = max(self.found, self.expected)
        return self.matched / larger if larger else 1.0


def compare_detections(got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> DetectionComparison:
    """Match detections of equal class by overlap, best first.

    Args:
        got: output name → `(samples, batch, …)` or `(batch, …)`.
        wanted: the same of the reference; as many samples as both have are compared.
    """
    number = min(len(got["count"]), len(wanted["count"]))
    flat = [
        {name: named[name][:number].reshape(-1, *named[name].shape[-_RANKS[name] :]) for name in OUTPUTS - {"count"}}
        | {"count": named["count"][:number].reshape(-1)}
        for named in (got, wanted)
    ]
    found, expected = (int(side["count"].sum()) for side in flat)
    pairs, box, score, mask = 0, 0.0, 0.0, 0.0
    for image in range(len(flat[1]["count"])):
        ours, theirs = ({name: side[name][image] for name in OUTPUTS} for side in flat)
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
            mask = max(mask, float(np.abs(ours["masks"][i] - theirs["masks"][place]).max()))
    return DetectionComparison(found, expected, pairs, box, score, mask)


# Dimensions of an output without samples and batch.
_RANKS = {"boxes": 2, "scores": 1, "classes": 1, "masks": 3}


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    common = float(sides.prod())
    union = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - common
    return common / union if union > 0 else float(np.array_equal(a, b))


def compare(outputs: Mapping[str, Arrays], expected: Mapping[str, Arrays], precision: str) -> Comparison:
    """Compare the detections of a file with those expected; see `closeness.compare`.

    All signatures, or all calls, are taken together, as one with many samples.
    """
    joined = [
        {name: np.concatenate([side[key][name] for key in expected]) for name in OUTPUTS}
        for side in (outputs, expected)
    ]
    found = compare_detections(*joined)
    return Comparison(found.box, 0.0, found.share, None, checks=tuple(detection_checks(found, precision)))


def detection_checks(found: DetectionComparison, precision: str) -> list[Check]:
    """Whether the detections are equal (float32), or enough of them are found again."""
    measured = f"{found.matched} of {found.expected} found again, {found.found} in all"
    floor = MIN_MATCHED[precision]
    checks = [Check("detections", found.share >= floor, measured, f">= {floor:.0%}")]
    if precision == "float32":
        limits = {"box": (found.box, BOX_LIMIT, " px"), "score": (found.score, SCORE_LIMIT, "")}
        limits["mask"] = (found.mask, MASK_LIMIT, "")
        checks += [
            Check(f"{name} difference", value <= limit, f"{value:.2e}{unit}", f"<= {limit:g}{unit}")
            for name, (value, limit, unit) in limits.items()
        ]
    return checks
