"""The potentials of TextonBoost's random field against their formulas, and its labelling against all labellings."""

import itertools
import sys

import numpy as np
import pytest
from skimage.color import rgb2lab

from keras_segattn.segmentation.texton_field import (
    Colour,
    Edge,
    Location,
    TextonField,
    cells,
    grid_edges,
    location_counts,
)

# float64 sums in another order.
ROUNDING = 1e-9
# Costs from colours in float32 against float64.
COLOUR_TOLERANCE = 1e-3


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype("uint8")


def probabilities(height, width, classes, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(classes), (height, width))


def test_locations_are_counted_by_the_cell_of_each_pixel():
    masks = [np.random.default_rng(seed).integers(0, 4, size) for seed, size in enumerate([(4, 6), (3, 5), (1, 1)])]
    expected = np.zeros((2, 3, 3), int)
    for mask in masks:
        for (y, x), label in np.ndenumerate(mask):
            if label < 3:  # label 3 is no class
                expected[int((y + 0.5) * 2 / mask.shape[0]), int((x + 0.5) * 3 / mask.shape[1]), label] += 1
    np.testing.assert_array_equal(location_counts(masks, 3, (2, 3)), expected)


def test_location_potential_is_its_formula():
    counts = np.random.default_rng(0).integers(0, 9, (2, 3, 4))
    found = Location(counts, prior=2.0, power=0.5).potential(5, 7)
    for y, x, c in np.ndindex(5, 7, 4):
        cell = counts[cells(5, 2)[y], cells(7, 3)[x]]
        assert abs(found[y, x, c] - 0.5 * np.log((cell[c] + 2) / (cell.sum() + 2))) < ROUNDING


def test_colour_potential_is_its_formula():
    rng = np.random.default_rng(0)
    responsibilities, labels = rng.dirichlet(np.ones(3), 20), rng.integers(0, 2, 20)
    found = Colour(prior=0.5, power=2.0).potential(responsibilities, labels, 4)
    for i, c in np.ndindex(20, 4):
        total = 0.0
        for k in range(3):
            own = responsibilities[labels == c, k].sum()
            total += ((own + 0.5) / (responsibilities[:, k].sum() + 0.5)) ** 2 * responsibilities[i, k]
        assert abs(found[i, c] - np.log(total)) < ROUNDING


def test_few_colours_are_components_of_their_own():
    colours = np.array([[1.0, 2, 3], [4, 5, 6], [1, 2, 3]])
    np.testing.assert_array_equal(Colour().responsibilities(colours), [[1, 0], [0, 1], [1, 0]])


def test_responsibilities_of_many_colours_are_probabilities():
    colours = np.random.default_rng(0).normal(0, 30, (300, 3))
    found = Colour(components=4).responsibilities(colours)
    assert found.shape == (300, 4)
    np.testing.assert_allclose(found.sum(1), 1, atol=ROUNDING)


def test_edges_join_neighbours_and_cost_what_the_formula_says():
    edges = grid_edges(2, 3)
    assert sorted(map(tuple, edges.tolist())) == [(0, 1), (0, 3), (1, 2), (1, 4), (2, 5), (3, 4), (4, 5)]
    colours = np.random.default_rng(0).normal(0, 20, (6, 3))
    squares = [((colours[i] - colours[j]) ** 2).sum() for i, j in edges]
    expected = [7 * np.exp(-d / (2 * np.mean(squares))) + 2 for d in squares]
    np.testing.assert_allclose(Edge(7, 2).weights(colours, edges), expected, atol=ROUNDING)
    np.testing.assert_array_equal(Edge(7, 2).weights(np.ones((6, 3)), edges), [9] * 7)  # a picture of one colour
    assert grid_edges(1, 1).shape == (0, 2)


def test_two_labels_have_the_least_energy_of_all_labellings():
    given, seen = probabilities(2, 4, 2), picture(2, 4)
    location, edge = Location(np.random.default_rng(0).integers(0, 5, (2, 2, 2))), Edge(0.5, 0.1)
    found = TextonField(location=location, edge=edge)(given, seen)
    log = np.log(given) + location.potential(2, 4)
    weights = edge.weights(rgb2lab(seen).reshape(-1, 3), grid_edges(2, 4))

    def energy(labels):
        flat = np.ravel(labels)
        own = np.take_along_axis(log, np.reshape(labels, (2, 4, 1)), 2).sum()
        return sum(w for (i, j), w in zip(grid_edges(2, 4), weights, strict=True) if flat[i] != flat[j]) - own

    least = min(energy(labels) for labels in itertools.product((0, 1), repeat=8))
    assert abs(energy(found) - least) < COLOUR_TOLERANCE


def test_without_potentials_each_pixel_has_its_most_probable_class():
    given = probabilities(5, 6, 3)
    np.testing.assert_array_equal(TextonField()(given, picture(5, 6)), given.argmax(2))
    np.testing.assert_array_equal(TextonField(edge=Edge(0, 0))(given, picture(5, 6)), given.argmax(2))


def test_colour_corrects_single_pixels_by_others_of_their_colour():
    seen = np.zeros((8, 10, 3), "uint8")
    seen[:, 5:] = (200, 30, 30)
    truth = np.repeat(np.arange(10)[None] >= 5, 8, axis=0).astype(int)
    wrong = np.random.default_rng(0).random((8, 10)) < 0.2
    given = np.where((truth ^ wrong)[..., None] == np.arange(2), 0.6, 0.4)
    assert (TextonField()(given, seen) != truth).sum() == wrong.sum() > 0
    np.testing.assert_array_equal(TextonField(colour=Colour())(given, seen), truth)


def test_the_whole_field_labels_pictures_of_one_pixel_and_of_one_colour():
    field = TextonField(Location(np.ones((3, 3, 4), int)), Colour(), Edge())
    for size in ((1, 1), (6, 7)):
        given = probabilities(*size, 4)
        found = field(given, np.full((*size, 3), 90, "uint8"))
        assert found.shape == size
        # Edges of one colour are costly, so that all pixels get one class.
        assert len(np.unique(found)) == 1
        assert found.dtype == np.int64


@pytest.mark.parametrize(
    ("given", "seen", "message"),
    [
        (probabilities(2, 3, 2), picture(3, 2), r"of a picture \(3, 2, 3\), received \(2, 3, 2\)"),
        (probabilities(2, 3, 2) - 1, picture(2, 3), "probabilities must be finite and at least 0"),
        (probabilities(2, 3, 2), picture(2, 3) / 255, "expected a picture uint8"),
        (probabilities(2, 3, 5), picture(2, 3), "the location potential has 2 classes, not 5"),
    ],
    ids=["other-size", "logits", "floats", "classes"],
)
def test_wrong_inputs_are_named(given, seen, message):
    with pytest.raises(ValueError, match=message):
        TextonField(location=Location(np.ones((2, 2, 2))))(given, seen)


def test_wrong_constants_are_named():
    for make, message in (
        (lambda: Colour(components=0), "components must be a positive integer"),
        (lambda: Edge(-1), "contrast must be at least 0"),
        (lambda: Location(np.ones(3)), r"counts must be \(rows, columns, classes\)"),
        (lambda: Location(np.ones((1, 1, 2)), prior=0), "prior must be at least"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install keras-segattn\[labelling\]"):
        TextonField(colour=Colour())(probabilities(9, 9, 2), picture(9, 9))
