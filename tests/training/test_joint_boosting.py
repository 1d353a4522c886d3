"""Joint boosting against weighted least squares and against all sharing sets."""

import itertools

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from keras_segattn.training.joint_boosting import RUN, best_stump, constants, runs, stump, sums_of

# Sums of some hundred float64 products in another order.
ROUNDING = 1e-9
THRESHOLDS = 4


def examples(seed, classes, features=3, count=60):
    """Return bins, labels (not in order), weights and targets of random examples."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    bins = rng.integers(0, THRESHOLDS + 1, (features, count)).astype("uint8")
    bins[0] = np.clip(labels + rng.integers(-1, 2, count), 0, THRESHOLDS)  # one feature that tells classes apart
    targets = np.where(labels[:, None] == np.arange(classes), 1.0, -1.0)
    return bins, labels, rng.exponential(size=(count, classes)), targets


def cost_of(above, sharing, weights, targets):
    """Return the least squared error of a stump by scikit-learn's regression, with the fitted a, b and k."""
    total, fitted = 0.0, {}
    if sharing.any():
        x = np.repeat(above[:, None], sharing.sum(), axis=1).reshape(-1, 1).astype(float)
        z, w = targets[:, sharing].ravel(), weights[:, sharing].ravel()
        line = LinearRegression().fit(x, z, w)
        total += (w * (z - line.predict(x)) ** 2).sum()
        fitted = {"a": line.coef_[0], "b": line.intercept_}
    k = (weights * targets).sum(0) / weights.sum(0)
    total += (weights * (targets - k) ** 2)[:, ~sharing].sum()
    return total, fitted | {"k": k}


@pytest.mark.parametrize("classes", [2, 5])
def test_sums_are_direct_sums(classes):
    bins, labels, weights, targets = examples(0, classes)
    sums = sums_of(bins, labels, weights, THRESHOLDS)
    np.testing.assert_allclose(sums.p, weights.sum(0), atol=ROUNDING)
    np.testing.assert_allclose(sums.t, (weights * targets).sum(0), atol=ROUNDING)
    for feature, threshold in itertools.product(range(3), range(THRESHOLDS)):
        above = bins[feature] > threshold
        np.testing.assert_allclose(sums.q[feature, threshold], weights[above].sum(0), atol=ROUNDING)
        np.testing.assert_allclose(sums.u[feature, threshold], (weights * targets)[above].sum(0), atol=ROUNDING)


def test_runs_have_one_class_and_cover_all_examples():
    labels = np.sort(np.random.default_rng(0).integers(0, 3, 3 * RUN))
    found = runs(labels)
    assert [first for first, _ in found] == [0, *(end for _, end in found[:-1])]
    assert found[-1][1] == len(labels)
    assert all(0 < end - first <= RUN and len({*labels[first:end]}) == 1 for first, end in found)


def test_a_b_k_and_cost_are_weighted_least_squares():
    bins, labels, weights, targets = examples(1, 4)
    sums = sums_of(bins, labels, weights, THRESHOLDS)
    k, costs = constants(sums.p, sums.t)
    for feature, threshold, members in itertools.product(
        range(3), range(THRESHOLDS), itertools.product((False, True), repeat=4)
    ):
        sharing = np.array(members)
        if not sharing.any():
            continue
        q, u = (x[feature, threshold, sharing].sum() for x in (sums.q, sums.u))
        a, b, cost = stump(sums.p[sharing].sum(), sums.t[sharing].sum(), q, u)
        expected, fitted = cost_of(bins[feature] > threshold, sharing, weights, targets)
        assert abs(a - fitted["a"]) < ROUNDING
        assert abs(b - fitted["b"]) < ROUNDING
        np.testing.assert_allclose(k, fitted["k"], atol=ROUNDING)
        assert abs(cost + costs[~sharing].sum() - expected) < ROUNDING
        # The same by the formula of Shotton's program.
        p, t = sums.p[sharing].sum(), sums.t[sharing].sum()
        assert abs(cost - (p - 2 * a * u - 2 * b * t + a * a * q + b * b * p + 2 * a * b * q)) < ROUNDING


def exhaustive(sums):
    """Return the least cost over all features, thresholds and sharing sets of 1 to classes - 1 classes."""
    classes = len(sums.p)
    least, costs = np.inf, constants(sums.p, sums.t)[1]
    for members in itertools.product((False, True), repeat=classes):
        sharing = np.array(members)
        if 0 < sharing.sum() < classes:
            q, u = (x[..., sharing].sum(-1) for x in (sums.q, sums.u))
            found = stump(sums.p[sharing].sum(), sums.t[sharing].sum(), q, u)[2]
            least = min(least, found.min() + costs[~sharing].sum())
    return least


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_greedy_sharing_against_all_sharing_sets(classes):
    equal = 0
    for seed in range(8):
        bins, labels, weights, targets = examples(seed, classes)
        sums = sums_of(bins, labels, weights, THRESHOLDS)
        choice, least = best_stump(sums), exhaustive(sums)
        assert choice.cost >= least - ROUNDING
        assert 0 < choice.sharing.sum() < classes
        expected, _ = cost_of(bins[choice.feature] > choice.threshold, choice.sharing, weights, targets)
        assert abs(choice.cost - expected) < ROUNDING
        equal += choice.cost < least + ROUNDING
    assert equal == 8 if classes == 2 else equal >= 4


def test_features_that_split_nothing_are_shared_by_nobody():
    _, labels, weights, _ = examples(2, 3)
    for level in (0, THRESHOLDS):
        sums = sums_of(np.full((2, 60), level, "uint8"), labels, weights, THRESHOLDS)
        choice = best_stump(sums)
        assert not choice.sharing.any()
        assert abs(choice.cost - constants(sums.p, sums.t)[1].sum()) < ROUNDING


def test_a_class_without_weights_has_the_constant_0():
    k, costs = constants(np.array([0.0, 2.0]), np.array([0.0, -2.0]))
    np.testing.assert_array_equal(k, [0, -1])
    np.testing.assert_array_equal(costs, [0, 0])
