"""Labellings against exhaustive search on small graphs and trees, and what they must leave unchanged."""

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn.segmentation import OptimalCover, SuperpixelAverage, SuperpixelCRF, Superpixels
from keras_segattn.segmentation.labelling import entropy
from keras_segattn.segmentation.segmentation_tree import merge_tree, node_sums, optimal_cover
from keras_segattn.segmentation.superpixels import Borders, borders_of, region_means, region_sums

# Sums of the same float64 numbers in another order.
ROUNDING = 1e-9
SEEDS = st.integers(0, 10_000)
ALL = [SuperpixelAverage(), SuperpixelCRF(), OptimalCover()]
NAMES = [type(one).__name__ for one in ALL]


def example(seed, height=6, width=7, classes=3, side=2):
    """Return probabilities, a picture, and regions: squares of so many pixels, numbered at random."""
    rng = np.random.default_rng(seed)
    rows, columns = (np.arange(size) // side for size in (height, width))
    _, regions = np.unique(rows[:, None] * 100 + columns, return_inverse=True)
    regions = rng.permutation(regions.max() + 1)[regions.reshape(height, width)]
    picture = rng.integers(0, 256, (height, width, 3)).astype("uint8")
    return rng.dirichlet(np.ones(classes), (height, width)), picture, regions


def with_regions(labelling, regions, **arguments):
    """Make a labelling whose superpixels are given."""
    return labelling(superpixels=lambda _: regions, **arguments)


def naive_borders(regions, picture):
    """Return pair of regions → distances of the colours along their border, pixel by pixel."""
    found = {}
    for row, column in np.ndindex(regions.shape):
        for other in ((row + 1, column), (row, column + 1)):
            if other[0] < regions.shape[0] and other[1] < regions.shape[1]:
                pair = tuple(sorted((regions[row, column], regions[other])))
                if pair[0] != pair[1]:
                    difference = picture[row, column].astype("float64") - picture[other]
                    found.setdefault(pair, []).append(np.sqrt((difference**2).sum()) / 255)
    return found


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_borders_and_means_are_those_of_the_pixels(seed):
    probabilities, picture, regions = example(seed)
    borders, expected = borders_of(regions, picture), naive_borders(regions, picture)
    assert [tuple(pair) for pair in borders.pairs] == sorted(expected)
    for pair, length, contrast in zip(borders.pairs, borders.lengths, borders.contrasts, strict=True):
        distances = expected[tuple(pair)]
        assert length == len(distances)
        assert abs(contrast - np.mean(distances)) < ROUNDING
    for number, mean in enumerate(region_means(probabilities, regions)):
        np.testing.assert_allclose(mean, probabilities[regions == number].mean(axis=0), atol=ROUNDING)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_tree_always_merges_the_border_of_least_contrast(seed):
    _, picture, regions = example(seed, 8, 8)
    count = regions.max() + 1
    parents = merge_tree(count, borders_of(regions, picture))
    current = regions.copy()
    for node in range(count, 2 * count - 1):
        contrasts = {pair: np.mean(distances) for pair, distances in naive_borders(current, picture).items()}
        children = tuple(np.flatnonzero(parents == node))
        assert contrasts[children] <= min(contrasts.values()) + ROUNDING
        current[np.isin(current, children)] = node
    assert (current == 2 * count - 2).all()
    assert parents[-1] == -1


def random_tree(seed, leaves):
    """Return the parents of a random binary tree."""
    rng = np.random.default_rng(seed)
    parents, roots = np.full(2 * leaves - 1, -1), [*range(leaves)]
    for node in range(leaves, 2 * leaves - 1):
        children = rng.choice(roots, 2, replace=False)
        parents[children] = node
        roots = [root for root in roots if root not in children] + [node]
    return parents


def ancestors(node, parents):
    while node >= 0:
        yield node
        node = parents[node]


@given(SEEDS, st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_the_cover_is_the_best_of_all_ancestors_of_every_leaf(seed, leaves):
    parents, rng = random_tree(seed, leaves), np.random.default_rng(seed)
    costs = rng.integers(0, 5, 2 * leaves - 1).astype("float64")
    chosen = optimal_cover(costs, parents)
    for leaf in range(leaves):
        path = list(ancestors(leaf, parents))
        assert chosen[leaf] in path
        assert costs[chosen[leaf]] == min(costs[node] for node in path)
        # The largest region wins among equal ones.
        assert not any(costs[node] == costs[chosen[leaf]] for node in path[path.index(chosen[leaf]) + 1 :])
    values = rng.normal(size=(leaves, 2))
    sums = node_sums(values, parents)
    for node in range(2 * leaves - 1):
        below = [leaf for leaf in range(leaves) if node in ancestors(leaf, parents)]
        np.testing.assert_allclose(sums[node], values[below].sum(axis=0), atol=ROUNDING)


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_the_labels_of_a_cover_are_those_of_exhaustive_search(seed):
    probabilities, picture, regions = example(seed)
    count = regions.max() + 1
    parents = merge_tree(count, borders_of(regions, picture))
    labels = with_regions(OptimalCover, regions)(probabilities, picture)
    for leaf in range(count):
        found = []
        for node in ancestors(leaf, parents):
            inside = [number for number in range(count) if node in ancestors(number, parents)]
            histogram = probabilities[np.isin(regions, inside)].mean(axis=0)
            found.append((-(histogram * np.log(histogram)).sum(), histogram.argmax()))
        assert (labels[regions == leaf] == min(found)[1]).all()


def test_a_pure_leaf_is_picked_where_its_ancestors_are_mixed():
    regions = np.repeat([[0, 1, 2, 3]], 2, axis=0)
    picture = np.zeros((2, 4, 3), "uint8")
    probabilities = np.eye(4)[regions]
    np.testing.assert_array_equal(with_regions(OptimalCover, regions)(probabilities, picture), regions)
    # An uncertain leaf takes the class of the surer region around it.
    probabilities[:, 1] = [0.4, 0.6, 0, 0]
    probabilities[:, 2:] = [1, 0, 0, 0]
    np.testing.assert_array_equal(with_regions(OptimalCover, regions)(probabilities, picture), 0)


def test_entropy():
    histograms = np.array([[1.0, 0.0], [0.5, 0.5]])
    np.testing.assert_allclose(entropy(histograms), [0, np.log(2)], atol=ROUNDING)


@given(SEEDS)
@settings(max_examples=8, deadline=None)
def test_the_field_of_two_classes_has_the_least_energy(seed):
    probabilities, picture, regions = example(seed, 4, 6, classes=2)
    picture //= 16  # contrasts for which neighbours matter
    count, borders = regions.max() + 1, borders_of(regions, picture)
    labels = with_regions(SuperpixelCRF, regions, alpha=2.0, beta=3.0, gamma=0.3)(probabilities, picture)
    unary = np.exp(-2.0 * region_means(probabilities, regions))
    weights = 0.3 * np.exp(-3.0 * borders.contrasts)

    def energy(assigned):
        differs = assigned[borders.pairs[:, 0]] != assigned[borders.pairs[:, 1]]
        return unary[np.arange(count), assigned].sum() + weights[differs].sum()

    best = min(energy(np.array(assigned)) for assigned in itertools.product(range(2), repeat=count))
    found = np.array([labels[regions == number][0] for number in range(count)])
    np.testing.assert_array_equal(labels, found[regions])
    assert energy(found) <= best + ROUNDING


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_without_pairwise_terms_the_field_is_the_most_probable_class(seed):
    probabilities, picture, regions = example(seed)
    average = with_regions(SuperpixelAverage, regions)(probabilities, picture)
    np.testing.assert_array_equal(with_regions(SuperpixelCRF, regions, gamma=0.0)(probabilities, picture), average)
    pixels = np.arange(regions.size).reshape(regions.shape)
    for labelling in (with_regions(SuperpixelAverage, pixels), with_regions(SuperpixelCRF, pixels, gamma=0.0)):
        np.testing.assert_array_equal(labelling(probabilities, picture), probabilities.argmax(axis=-1))


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_averages_of_superpixels_are_idempotent(seed):
    probabilities, picture, regions = example(seed)
    averaged = region_means(probabilities, regions)[regions]
    np.testing.assert_allclose(region_means(averaged, regions)[regions], averaged, atol=ROUNDING)
    labelling = with_regions(SuperpixelAverage, regions)
    labels = labelling(probabilities, picture)
    np.testing.assert_array_equal(labelling(np.eye(3)[labels], picture), labels)


def halves():
    """A picture of two halves, and noisy probabilities of a class for each."""
    rng = np.random.default_rng(0)
    picture = np.zeros((30, 40, 3), "uint8")
    picture[:, 20:] = (200, 40, 90)
    labels = np.repeat([[1] * 20 + [2] * 20], 30, axis=0)
    scores = np.eye(3)[labels] + rng.uniform(0, 1.5, (30, 40, 3))
    return scores / scores.sum(axis=-1, keepdims=True), picture, labels


@pytest.mark.parametrize("labelling", ALL, ids=NAMES)
def test_the_edges_of_the_picture_become_the_edges_of_the_labels(labelling):
    probabilities, picture, labels = halves()
    assert (probabilities.argmax(axis=-1) != labels).mean() > 0.1
    found = labelling(probabilities, picture)
    assert (found.dtype, found.shape) == (np.int32, labels.shape)
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize("labelling", ALL, ids=NAMES)
def test_one_colour_one_pixel_and_one_class(labelling):
    probabilities, _, _ = halves()
    found = labelling(probabilities, np.full((30, 40, 3), 99, "uint8"))
    np.testing.assert_array_equal(found, probabilities.mean(axis=(0, 1)).argmax())
    assert labelling(np.array([[[0.2, 0.8]]]), np.zeros((1, 1, 3), "uint8")).tolist() == [[1]]
    assert not labelling(np.ones((3, 5, 1)), np.zeros((3, 5, 3), "uint8")).any()


@pytest.mark.parametrize("labelling", ALL, ids=NAMES)
@pytest.mark.parametrize(
    ("probabilities", "picture", "message"),
    [
        (np.ones((4, 4)), np.zeros((4, 4, 3), "uint8"), r"expected probabilities \(height, width, classes\)"),
        (
            np.ones((4, 5, 2)),
            np.zeros((4, 4, 3), "uint8"),
            r"of \(4, 5\) pixels do not belong to a picture of \(4, 4\)",
        ),
        (np.full((4, 4, 2), 3.0), np.zeros((4, 4, 3), "uint8"), r"in 0..1, received 3.0..3.0; apply softmax"),
        (np.full((4, 4, 2), np.nan), np.zeros((4, 4, 3), "uint8"), "received nan..nan"),
        (np.ones((4, 4, 2)), np.zeros((4, 4, 3)), r"expected a picture uint8 \(height, width, 3\), received float64"),
        (np.ones((4, 4, 2)), np.zeros((4, 4, 1), "uint8"), r"received uint8 \(4, 4, 1\)"),
    ],
    ids=["rank", "size", "logits", "nan", "float picture", "grey picture"],
)
def test_bad_inputs(labelling, probabilities, picture, message):
    with pytest.raises(ValueError, match=message):
        labelling(probabilities, picture)


def test_bad_settings():
    with pytest.raises(ValueError, match="gamma must be at least 0"):
        SuperpixelCRF(gamma=-1)
    with pytest.raises(ValueError, match="scale must be at least 0"):
        Superpixels(scale=-1)
    with pytest.raises(ValueError, match="min_size must be a positive integer"):
        Superpixels(min_size=0)


def test_regions_without_a_common_border_are_refused():
    apart = Borders(np.array([[0, 1]]), np.array([2]), np.array([0.5]))
    with pytest.raises(ValueError, match="2 of 3 regions have no common border"):
        merge_tree(3, apart)


def test_superpixels_partition_the_picture():
    _, picture, labels = halves()
    regions = Superpixels()(picture)
    assert regions.shape == labels.shape
    np.testing.assert_array_equal(np.unique(regions), np.arange(regions.max() + 1))
    _, counts = region_sums(np.ones((30, 40, 1)), regions)
    assert counts.sum() == 1200


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install keras-segattn\[labelling\]"):
        Superpixels()(np.zeros((4, 4, 3), "uint8"))
