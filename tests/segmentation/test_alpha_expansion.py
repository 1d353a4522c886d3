"""α-expansion against the least energy of all labellings of tiny graphs."""

import itertools
import sys

import numpy as np
import pytest

from keras_segattn.segmentation.alpha_expansion import alpha_expansion, potts_energy

# Two sums of the same float64 numbers in another order.
ROUNDING = 1e-9


def random_energy(seed, nodes, classes):
    """Return unary energies of at least 0, edges (some of them doubled) and weights."""
    rng = np.random.default_rng(seed)
    edges = np.array([pair for pair in itertools.permutations(range(nodes), 2) if rng.random() < 0.4]).reshape(-1, 2)
    return rng.uniform(0, 2, (nodes, classes)), edges, rng.exponential(0.5, len(edges))


def least_energy(unary, edges, weights):
    labellings = itertools.product(range(unary.shape[1]), repeat=len(unary))
    return min(potts_energy(unary, edges, weights, np.array(labels)) for labels in labellings)


def test_energy_is_the_sum_of_its_terms():
    unary, edges, weights = random_energy(0, 5, 3)
    labels = np.array([0, 2, 1, 1, 0])
    expected = sum(unary[i, labels[i]] for i in range(5))
    expected += sum(w for (i, j), w in zip(edges, weights, strict=True) if labels[i] != labels[j])
    assert abs(potts_energy(unary, edges, weights, labels) - expected) < ROUNDING


@pytest.mark.parametrize("start", ["unary", "random"])
def test_two_labels_are_exact(start):
    for seed in range(40):
        energy = random_energy(seed, 7, 2)
        initial = np.random.default_rng(seed).integers(0, 2, 7) if start == "random" else None
        found = potts_energy(*energy, alpha_expansion(*energy, initial))
        assert abs(found - least_energy(*energy)) < ROUNDING


def test_more_labels_are_within_a_factor_of_two_and_mostly_exact():
    exact = 0
    for seed in range(40):
        energy = random_energy(seed, 6, 4)
        found, least = potts_energy(*energy, alpha_expansion(*energy)), least_energy(*energy)
        assert least - ROUNDING <= found <= 2 * least
        exact += found - least < ROUNDING
    assert exact >= 30


def test_no_expansion_of_the_result_lowers_the_energy():
    energy = random_energy(1, 8, 3)
    labels = alpha_expansion(*energy)
    found = potts_energy(*energy, labels)
    for label, takes in itertools.product(range(3), itertools.product((False, True), repeat=8)):
        assert potts_energy(*energy, np.where(takes, label, labels)) >= found - ROUNDING


def test_negative_unary_energies_shift_nothing():
    unary, edges, weights = random_energy(2, 7, 3)
    np.testing.assert_array_equal(alpha_expansion(unary - 10, edges, weights), alpha_expansion(unary, edges, weights))


def test_without_edges_or_nodes_or_with_one_label():
    unary, edges, weights = random_energy(3, 5, 3)
    nothing, no_weights = np.zeros((0, 2), int), np.zeros(0)
    np.testing.assert_array_equal(alpha_expansion(unary, nothing, no_weights), unary.argmin(1))
    np.testing.assert_array_equal(alpha_expansion(unary, edges, weights * 0), unary.argmin(1))
    assert alpha_expansion(np.zeros((0, 3)), nothing, no_weights).shape == (0,)
    np.testing.assert_array_equal(alpha_expansion(unary[:, :1], edges, weights), [0] * 5)


def test_strong_edges_give_one_label():
    unary, _, _ = random_energy(4, 6, 3)
    chain = np.stack([np.arange(5), np.arange(1, 6)], 1)
    np.testing.assert_array_equal(alpha_expansion(unary, chain, np.full(5, 1e6)), [unary.sum(0).argmin()] * 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unary": np.zeros(3)}, r"unary must be finite numbers \(nodes, labels\), received float64 \(3,\)"),
        ({"unary": np.full((3, 2), np.inf)}, "unary must be finite"),
        ({"edges": np.zeros((2, 2))}, r"edges must be integers \(edges, 2\), received float64 \(2, 2\)"),
        ({"edges": np.array([[0, 3], [1, 2]])}, r"edges must join nodes 0..2, received 0..3"),
        ({"edges": np.array([[0, 1], [2, 2]])}, r"two different nodes, received \[2 2\]"),
        ({"weights": np.array([1.0])}, "weights must be 2 finite numbers of at least 0"),
        ({"weights": np.array([1.0, -1.0])}, "weights must be 2 finite numbers of at least 0"),
        ({"initial": np.array([0, 1])}, r"initial must be integers \(3,\), received int64 \(2,\)"),
        ({"initial": np.array([0, 1, 2])}, r"initial must be labels 0..1, received 0..2"),
    ],
    ids=[
        "flat-unary",
        "infinite",
        "float-edges",
        "unknown-node",
        "loop",
        "few-weights",
        "negative-weight",
        "few-labels",
        "unknown-label",
    ],
)
def test_bad_energies_are_named(changes, message):
    energy = {"unary": np.zeros((3, 2)), "edges": np.array([[0, 1], [1, 2]]), "weights": np.ones(2)}
    with pytest.raises(ValueError, match=message):
        alpha_expansion(**energy | changes)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "maxflow", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install keras-segattn\[labelling\]"):
        alpha_expansion(*random_energy(0, 3, 2))
