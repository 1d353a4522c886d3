"""Whether two results as JSON say the same."""

import numpy as np
import pytest

# Sums of float32 in another order move probabilities, shares of pixels, scores and pixels of boxes by less than this:
# in itself, or as a share of the number.
ABSOLUTE, RELATIVE = 5e-3, 1e-3


def assert_agree(found, expected):
    """Two results as JSON, up to the rounding of float32; equally good classes and objects in any order."""
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
    """How far two classes, objects or sentences are apart: by what they are called first, then by their numbers."""
    numbers = {key for key, value in other.items() if np.asarray(value).dtype.kind == "f" and np.size(value)}
    called = sum(one[key] != other[key] for key in other.keys() - numbers)
    return called, sum(float(np.abs(np.subtract(one[key], other[key])).sum()) for key in numbers)
