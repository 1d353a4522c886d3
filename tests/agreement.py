"""Comparison of two results as JSON."""

import numpy as np
import pytest

# Float32 sums in another order change probabilities, shares of pixels, scores and pixels of boxes by less than this,
# absolutely or relative to the number.
ABSOLUTE, RELATIVE = 5e-3, 1e-3


def assert_agree(found, expected):
    """Assert that two results as JSON agree up to float32 rounding; equally good classes and objects have any order."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_agree(found[key], expected[key])
    elif isinstance(expected, list) and expected and isinstance(expected[0], dict):
        assert len(found) == len(expected)
        left = list(found)
        for one in expected:
            same = min(left, key=lambda other, one=one: distance(other, one))
            assert_agree(same, one)
            left.remove(same)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert_agree(ours, theirs)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=ABSOLUTE, rel=RELATIVE)
    else:
        assert found == expected


def distance(one, other):
    """Distance of two classes, objects or sentences: number of different names first, then difference of numbers."""
    numbers = {key for key, value in other.items() if np.asarray(value).dtype.kind == "f" and np.size(value)}
    called = sum(one[key] != other[key] for key in other.keys() - numbers)
    return called, sum(float(np.abs(np.subtract(one[key], other[key])).sum()) for key in numbers)
