"""Joint boosting of decision stumps that classes share (Torralba, Murphy & Freeman, PAMI 2007), on sums over examples.

Every example has a target `z` of +1 for its own class and -1 for the others, and a weight `w` per class. A stump gives
`a [v > θ] + b` to the classes of its sharing set and a constant `k_c` to every other class. `a`, `b` and `k` minimise
the weighted squared error to the targets; the sharing set grows greedily by the class that lowers the error most.

Everything is computed for all features and thresholds of a round at once.
"""

import itertools
from typing import NamedTuple

import numpy as np

# Number of examples whose weights are read at a time, so that they and the sums stay in the cache.
RUN = 4096
# Least sum of the weights on either side of a threshold.
LEAST_WEIGHT = 1e-6


class Sums(NamedTuple):
    """Sums over the examples, for all classes, features and thresholds.

    Attributes:
        p: `(classes,)`, sums of the weights, Σ w.
        t: `(classes,)`, weighted sums of the targets, Σ w z.
        q: `(features, thresholds, classes)`, sums of the weights where the feature exceeds the threshold.
        u: `(features, thresholds, classes)`, weighted sums of the targets where it does.
    """

    p: np.ndarray
    t: np.ndarray
    q: np.ndarray
    u: np.ndarray


class Choice(NamedTuple):
    """The best stump of a round.

    Attributes:
        feature: index of the feature.
        threshold: index of the threshold.
        sharing: bool `(classes,)`, classes that share the stump; none if no threshold has weights on both sides.
        cost: weighted squared error over all examples and classes.
    """

    feature: int
    threshold: int
    sharing: np.ndarray
    cost: float


def sums_of(bins: np.ndarray, labels: np.ndarray, weights: np.ndarray, thresholds: int) -> Sums:
    """Sum the weights of examples by class, feature and threshold.

    Args:
        bins: integers `(features, examples)`, the number of thresholds that each feature exceeds.
        labels: integers `(examples,)`, the class of each example; quickest if they are in ascending order.
        weights: floats `(examples, classes)`.
        thresholds: number of thresholds of each feature.

    Returns:
        Sums; threshold `j` is exceeded by the examples with `bins > j`.

    Example:
        >>> sums_of(np.array([[0, 1]]), np.array([0, 1]), np.ones((2, 2)), 1).u
        [[[-1.0, 1.0]]]
    """
    from scipy import sparse

    classes, rows = weights.shape[1], len(bins) * (thresholds + 1)
    first = np.arange(len(bins), dtype="int32")[:, None] * (thresholds + 1)
    histogram, own = np.zeros((2, rows, classes))
    positive = np.zeros(classes)
    for begin, end in runs(labels):
        label = labels[begin]
        both = np.concatenate([weights[begin:end], weights[begin:end, label, None]], axis=1)
        # The product of a matrix of ones adds up whole rows of the weights, class beside class, for all features.
        index = (bins[:, begin:end] + first).T.ravel()
        starts, ones = np.arange(end - begin + 1, dtype="int32") * len(bins), np.ones(len(index))
        found = sparse.csc_array((ones, index, starts), shape=(rows, end - begin)) @ both
        histogram += found[:, :-1]
        own[:, label] += found[:, -1]
        positive[label] += both[:, -1].sum()
    p = weights.sum(axis=0)
    q, mine = (
        x.reshape(len(bins), thresholds + 1, classes)[:, :0:-1].cumsum(axis=1)[:, ::-1] for x in (histogram, own)
    )
    return Sums(p, 2 * positive - p, q, 2 * mine - q)


def runs(labels: np.ndarray) -> list[tuple[int, int]]:
    """Split examples into runs of one class, of at most `RUN` examples: (begin, end) of each."""
    changes = np.flatnonzero(np.diff(labels)) + 1
    ends = [0, *changes.tolist(), len(labels)]
    return [
        (begin, min(begin + RUN, last)) for first, last in itertools.pairwise(ends) for begin in range(first, last, RUN)
    ]


def stump(p: np.ndarray, t: np.ndarray, q: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit stumps by weighted least squares.

    Args:
        p: sums of the weights over the classes of the sharing set, Σ w.
        t: weighted sums of the targets, Σ w z.
        q: sums of the weights where the feature exceeds the threshold.
        u: weighted sums of the targets where it does.

    Returns:
        `a`, `b` and the weighted squared error. Where the weights on one side of the threshold are less than 1e-6 in
        all, `a` and `b` are 0 and the error is infinite.
    """
    below = p - q
    valid = (q >= LEAST_WEIGHT) & (below >= LEAST_WEIGHT)
    b = (t - u) / np.where(valid, below, 1)
    above = u / np.where(valid, q, 1)  # a + b
    cost = p - (t - u) * b - u * above
    return np.where(valid, above - b, 0.0), np.where(valid, b, 0.0), np.where(valid, cost, np.inf)


def constants(p: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the constants `k` of classes that do not share a stump, `Σ w z / Σ w`, and their squared errors."""
    k = t / np.where(p > 0, p, 1)
    return k, p - k * t


def best_stump(sums: Sums) -> Choice:
    """Choose feature, threshold and sharing set of the stump of least error; the sharing set is chosen greedily.

    For each feature, the sharing set begins empty and grows by the class that gives the least error at its best
    threshold. Of the sets of 1 to `classes - 1` classes the best one is kept.

    Args:
        sums: sums over the examples, of at least two classes.

    Example:
        >>> best_stump(sums_of(bins, labels, weights, 25)).sharing
        [True, False, True]
    """
    features, _, classes = sums.q.shape
    _, constant_costs = constants(sums.p, sums.t)
    everything = constant_costs.sum()
    members = np.zeros((features, classes), bool)
    best = Choice(0, 0, members[0], float(everything))
    every = np.arange(features)
    for _ in range(classes - 1):
        inside = [np.where(members, x, 0).sum(axis=1) for x in (sums.p, sums.t)]
        p, t = (total[:, None, None] + x for total, x in zip(inside, (sums.p, sums.t), strict=True))
        q, u = ((x * members[:, None]).sum(axis=2, keepdims=True) + x for x in (sums.q, sums.u))
        outside = everything - np.where(members, constant_costs, 0).sum(axis=1)[:, None] - constant_costs
        costs = stump(p, t, q, u)[2]
        places = costs.argmin(axis=1)
        found = np.where(members, np.inf, np.take_along_axis(costs, places[:, None], axis=1)[:, 0] + outside)
        chosen = found.argmin(axis=1)
        members = members.copy()
        members[every, chosen] = True
        least = found[every, chosen]
        feature = int(least.argmin())
        if least[feature] < best.cost:
            threshold = int(places[feature, chosen[feature]])
            best = Choice(feature, threshold, members[feature], float(least[feature]))
    return best
