"""Names of classes: order, probabilities, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from keras_segattn.classification import imagenet
from keras_segattn.classification.imagenet import decode_predictions, imagenet_names
from keras_segattn.registry import Pretrained
from keras_segattn.weights import WeightsError

LABELS = ("sea", "land", "lake", "ice")
# float64 rounding of a softmax over four classes.
TOLERANCE = 1e-12
LOGITS = arrays("float32", st.tuples(st.integers(0, 3), st.just(4)), elements=st.floats(-1e4, 1e4, width=32))


@given(LOGITS, st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_logits_are_ranked_and_become_probabilities(logits, top):
    decoded = decode_predictions(logits, top, labels=LABELS)
    assert len(decoded) == len(logits)
    for row, best in zip(logits, decoded, strict=True):
        assert [name for _, name, _ in best] == [LABELS[index] for index, _, _ in best]
        values = [row[index] for index, _, _ in best]
        assert values == sorted(row, reverse=True)[:top]
        probabilities = [probability for _, _, probability in best]
        assert all(0 <= p <= 1 for p in probabilities)
        assert sum(probabilities) <= 1 + TOLERANCE
        if top == len(LABELS):
            assert abs(sum(probabilities) - 1) <= TOLERANCE


def test_probabilities_are_taken_as_they_are():
    assert decode_predictions([[0.25, 0.5, 0.25, 0.0]], 3, from_logits=False, labels=LABELS) == [
        [(1, "land", 0.5), (0, "sea", 0.25), (2, "lake", 0.25)]
    ]


@pytest.mark.parametrize(
    ("predictions", "arguments", "message"),
    [
        ([[0.0, 1.0, 2.0]], {}, "expected 3 names of classes, received 4: sea, land, lake, ice"),
        ([0.0, 1.0, 2.0, 3.0], {}, r"expected predictions \(batch, 4\) and top of 1..4, received \(4,\) and 1"),
        ([[0.0, 1.0, 2.0, 3.0]], {"top": 5}, r"received \(1, 4\) and 5"),
        ([[0.0, 1.0, 2.0, 3.0]], {"top": 0}, "top must be a positive integer, received 0"),
        ([[0.0, 1.0, 2.0, np.nan]], {}, "predictions hold NaN or infinity"),
        ([[0.0, 1.0, 2.0, 3.0]], {"from_logits": False}, "rows that do not sum to 1; logits need from_logits"),
        ([[-0.5, 1.0, 0.5, 0.0]], {"from_logits": False}, "expected probabilities, received negative values"),
    ],
)
def test_what_is_refused(predictions, arguments, message):
    with pytest.raises(ValueError, match=message):
        decode_predictions(predictions, **{"top": 1, "labels": LABELS, **arguments})


def test_the_absent_package_is_named(monkeypatch):
    monkeypatch.setattr(imagenet, "NAMES", Pretrained("absent-names==0.1", "absent_names", "names.json", "", "MIT"))
    imagenet_names.cache_clear()
    with pytest.raises(WeightsError, match=r"run `pip install --no-deps absent-names==0\.1`"):
        decode_predictions(np.zeros((1, 1000)))


@pytest.mark.parity
def test_imagenet_has_1000_names():
    imagenet_names.cache_clear()
    names = imagenet_names()
    assert len(names) == 1000
    assert (names[0], names[285], names[999]) == ("tench", "Egyptian Mau", "toilet paper")
    assert decode_predictions(np.eye(1000)[:1], top=1, from_logits=False) == [[(0, "tench", 1.0)]]
