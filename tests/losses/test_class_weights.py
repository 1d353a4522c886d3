"""Weights of classes: sequences and mappings mean what they say, and anything else is refused by every loss."""

import collections
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn.losses import DoublyStochastic, Focal, PixelCrossEntropy, SequenceCrossEntropy
from keras_segattn.losses import SigmoidFocalCrossEntropy as SigmoidFocal

LOSSES = {
    "class_weights": lambda weights: PixelCrossEntropy(class_weights=weights).class_weights,
    "alpha": lambda weights: Focal(alpha=weights).alpha,
}
WEIGHTS = st.lists(st.floats(0, 100, width=32), min_size=1, max_size=6)


class Series:
    """Values under labels, as pandas has them: iteration gives the values in their own order."""

    def __init__(self, values):
        self.values = values

    def keys(self):
        return list(self.values)

    def __getitem__(self, key):
        return self.values[key]

    def __iter__(self):
        return iter(self.values.values())

    def __len__(self):
        return len(self.values)


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=20, deadline=None)
@given(weights=WEIGHTS, seed=st.integers(0, 999))
def test_mappings_name_the_class_of_each_weight(name, weights, seed):
    order = np.random.default_rng(seed).permutation(len(weights))
    named = {label: weights[label] for label in order}
    for given_ in (weights, tuple(weights), np.array(weights), named, types.MappingProxyType(named), Series(named)):
        assert LOSSES[name](given_) == pytest.approx(weights)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({0: 1.0, 2: 1.0}, "must name every class from 0 up"),
        ({1: 1.0, 2: 1.0}, "must name every class from 0 up"),
        ({"sea": 1.0, "land": 2.0}, "must name every class from 0 up"),
        ({False: 1.0, True: 2.0}, "must name every class from 0 up"),
        (collections.Counter(), "must be a list or a dict of one number per class"),
        ({1.0, 2.0}, "must be a list or a dict of one number per class"),
        (frozenset([1.0]), "must be a list or a dict of one number per class"),
        ({0: 1.0}.values(), "must be a list or a dict of one number per class"),
        (iter([1.0]), "must be a list or a dict of one number per class"),
        ("0.5", "must be a list or a dict of one number per class"),
        (b"12", "must be a list or a dict of one number per class"),
        (["1", "2"], "must be a list or a dict of one number per class"),
        ([True, False], "must be a list or a dict of one number per class"),
        ([[1.0, 2.0]], "must be a list or a dict of one number per class"),
        (0.25, "must be a list or a dict of one number per class"),
        ([], "must be a list or a dict of one number per class"),
        ([1.0, float("nan")], "must be non-negative and finite"),
        ({0: float("inf")}, "must be non-negative and finite"),
        ({0: 1.0, 1: -1.0}, "must be non-negative and finite"),
    ],
)
def test_sets_texts_and_incomplete_mappings_are_refused(name, weights, message):
    with pytest.raises(ValueError, match=rf"^{name} {message}.*, received"):
        LOSSES[name](weights)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -1, True, "1", {0: 1.0}, [0.5]])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda value: Focal(gamma=value), "gamma"),
        (lambda value: SigmoidFocal(gamma=value), "gamma"),
        (lambda value: SigmoidFocal(alpha=value), "alpha"),
        (lambda value: DoublyStochastic(weight=value), "weight"),
        (lambda value: SequenceCrossEntropy(label_smoothing=value), "label_smoothing"),
        (lambda value: PixelCrossEntropy(ignore_label=value) if value != -1 else SigmoidFocal(alpha=2), ".*"),
    ],
)
def test_single_numbers_of_losses_are_checked(make, name, wrong):
    with pytest.raises(ValueError, match=f"^{name} must be .* received"):
        make(wrong)
