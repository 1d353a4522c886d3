"""Proposals: what fits is kept exactly, what does not is an error that names the proposal, and recall is counted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from keras_segattn.data import Proposals, Regions, best_overlaps, proposal_recall

SUPERPIXELS = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [3, 3, 3, 3]])
MEMBERS = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1]], bool)
# The tight boxes of MEMBERS, counted by hand.
BOXES = np.array([[0, 0, 4, 2], [1, 0, 4, 2], [0, 0, 4, 3]], np.float32)

masks = npst.arrays(
    bool, st.tuples(st.integers(0, 6), st.integers(1, 7), st.integers(1, 7)), elements=st.booleans()
).map(lambda drawn: drawn[drawn.any(axis=(1, 2))])


def test_boxes_are_clipped_and_kept():
    boxes = np.array([[1, 2, 3, 4], [-5, -5, 99, 99], [1.5, 0, 2.5, 1]])
    proposals = Proposals(boxes, scores=[3, 1, 2], size=(10, 20))
    assert proposals.boxes.dtype == proposals.scores.dtype == np.float32
    np.testing.assert_array_equal(proposals.boxes, [[1, 2, 3, 4], [0, 0, 20, 10], [1.5, 0, 2.5, 1]])
    np.testing.assert_array_equal(Proposals(boxes).boxes, [[1, 2, 3, 4], [0, 0, 99, 99], [1.5, 0, 2.5, 1]])
    np.testing.assert_array_equal(Proposals(boxes).within((10, 20)).boxes, proposals.boxes)
    best = proposals.take(np.argsort(-proposals.scores))
    np.testing.assert_array_equal(best.scores, [3, 2, 1])
    np.testing.assert_array_equal(best.boxes, proposals.boxes[[0, 2, 1]])
    with pytest.raises(ValueError, match="read-only"):
        proposals.boxes[0] = 0


def test_one_pixel_survives_the_rounding_of_float32():
    boxes = np.arange(8000)[:, None] + np.array([0.1, 0.3, 1.1, 1.3])
    assert len(Proposals(boxes)) == len(Proposals(boxes.astype(np.float32))) == 8000


def test_there_may_be_no_proposals():
    regions = Regions(SUPERPIXELS, MEMBERS[:0])
    for proposals in (Proposals(np.zeros((0, 4))), Proposals.of_regions(regions), Proposals(BOXES).take(slice(0))):
        assert len(proposals) == len(proposals.distinct()) == 0
        np.testing.assert_array_equal(best_overlaps(proposals, BOXES), 0)
    assert regions.masks.shape == (0, 3, 4)
    assert Regions.of_masks([], (3, 4)).boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("boxes", "arguments", "message"),
    [
        ([[0, 0, 5, 5], [0, 0, np.nan, 5]], {}, r"proposal 1: expected a finite box, received \[0.0, 0.0, nan"),
        ([[0, 0, np.inf, 5]], {"size": (9, 9)}, "proposal 0: expected a finite box"),
        ([[0, 0, 5, 5], [3, 3, 3.5, 9]], {}, "proposal 1: expected a box .* of at least one pixel within the picture"),
        ([[5, 5, 0, 0]], {}, "proposal 0: expected a box"),
        ([[-9, 0, 0.5, 9]], {}, "proposal 0: expected a box"),
        (
            [[20, 0, 30, 9]],
            {"size": (10, 20)},
            r"within the picture of 10 × 20 pixels \(height × width\), received \[20",
        ),
        ([0, 0, 5, 5], {}, r"expected boxes \(n, 4\), received int64 \(4,\)"),
        ([["a"] * 4], {}, "expected boxes"),
        ([[0, 0, 5, 5]], {"scores": [np.nan]}, "proposal 0: expected a finite score, received nan"),
        ([[0, 0, 5, 5]], {"scores": [1, 2]}, r"expected scores \(1,\), received int64 \(2,\)"),
        ([[0, 0, 5, 5]], {"size": (0, 9)}, "size height and width must be a positive integer"),
        (BOXES, {"regions": Regions(SUPERPIXELS, MEMBERS), "size": (4, 3)}, r"size \(4, 3\), received \(3, 4\)"),
        (BOXES[:2], {"regions": Regions(SUPERPIXELS, MEMBERS)}, "expected regions of 2 boxes, received 3"),
        (
            BOXES - np.array([0, 0, 0, 1]) * (np.arange(3) == 2)[:, None],
            {"regions": Regions(SUPERPIXELS, MEMBERS)},
            r"proposal 2: expected a region in its box \[0.0, 0.0, 4.0, 2.0\], received .* \[0.0, 0.0, 4.0, 3.0\]",
        ),
    ],
)
def test_bad_proposals_are_refused(boxes, arguments, message):
    with pytest.raises(ValueError, match=message):
        Proposals(np.asarray(boxes), **arguments)


@pytest.mark.parametrize(
    ("superpixels", "members", "message"),
    [
        (SUPERPIXELS.astype(float), MEMBERS, r"expected superpixels, integers \(height, width\), received float64"),
        (SUPERPIXELS[0], MEMBERS, "expected superpixels"),
        (SUPERPIXELS[:0], MEMBERS, "expected superpixels"),
        (SUPERPIXELS, MEMBERS.astype(int), r"expected members bool \(n, superpixels\), received int64"),
        (SUPERPIXELS, MEMBERS[:, :3], r"expected superpixels in 0\.\.2, received 0\.\.3"),
        (SUPERPIXELS - 1, MEMBERS, r"received -1\.\.2"),
        (SUPERPIXELS, MEMBERS & (np.arange(3) != 1)[:, None], "region 1: expected at least one pixel, received none"),
        (np.minimum(SUPERPIXELS, 2), np.eye(4, dtype=bool), "region 3: expected at least one pixel"),
    ],
)
def test_bad_regions_are_refused(superpixels, members, message):
    with pytest.raises(ValueError, match=message):
        Regions(superpixels, members)


def test_regions_have_tight_boxes_areas_and_masks():
    regions = Regions(SUPERPIXELS, MEMBERS)
    np.testing.assert_array_equal(regions.boxes, BOXES)
    np.testing.assert_array_equal(regions.areas, [6, 5, 12])
    np.testing.assert_array_equal(regions.masks[1], [[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(regions.take(np.array([2, 0])).boxes, BOXES[[2, 0]])
    # A region may fill a part of its box, and a pixel may lie on the edge of a box that is no whole number.
    Proposals(BOXES + np.array([0.5, 0.5, -0.5, -0.5]), regions)
    Proposals(np.tile(BOXES[2], (3, 1)), regions)


def test_masks_of_other_shapes_and_values_are_refused():
    for mask, message in (
        (np.ones((3, 5), bool), r"region 1: expected a mask \(3, 4\) of bool or 0 and 1, received bool \(3, 5\)"),
        (np.full((3, 4), 255), r"region 1: .* received int64 \(3, 4\) in 0\.\.255"),
        (np.zeros((3, 4), bool), "region 1: expected at least one pixel"),
    ):
        with pytest.raises(ValueError, match=message):
            Regions.of_masks([np.ones((3, 4), bool), mask], (3, 4))


@settings(max_examples=50, deadline=None)
@given(masks)
def test_masks_become_superpixels_and_masks_again(drawn):
    regions = Regions.of_masks(iter(drawn), drawn.shape[1:])
    np.testing.assert_array_equal(regions.masks, drawn)
    # As few superpixels as there are different sets of masks that a pixel is in.
    assert regions.members.shape[1] == len({pixel.tobytes() for row in np.moveaxis(drawn, 0, -1) for pixel in row})
    for box, mask in zip(regions.boxes.astype(int), drawn, strict=True):
        rows, columns = np.nonzero(mask)
        np.testing.assert_array_equal(box, [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@settings(max_examples=50, deadline=None)
@given(masks, st.data())
def test_overlaps_are_those_of_the_pixels(drawn, data):
    truth = data.draw(npst.arrays(bool, (3, *drawn.shape[1:])))
    proposals = Proposals.of_regions(Regions.of_masks(drawn, drawn.shape[1:]))
    expected = [[(one & true).sum() / (one | true).sum() for true in truth] for one in drawn]
    # Numbers of pixels and their quotients are the same float64.
    np.testing.assert_array_equal(
        best_overlaps(proposals, truth), np.max(expected, axis=0) if expected else np.zeros(3)
    )


def test_distinct_keeps_the_first_of_equal_proposals():
    boxes = np.array([[0, 0, 4, 3]] * 4)
    regions = Regions(SUPERPIXELS, MEMBERS[[2, 0, 2, 0]])
    proposals = Proposals(boxes, regions, scores=np.arange(4)).distinct()
    np.testing.assert_array_equal(proposals.scores, [0, 1])
    np.testing.assert_array_equal(proposals.regions.members, MEMBERS[[2, 0]])
    np.testing.assert_array_equal(Proposals(boxes, scores=np.arange(4)).distinct().scores, [0])


def test_recall_counts_objects_over_pictures():
    # Overlaps of 1/2 exactly, 1/3, and 1; the second picture has no proposal for its object.
    proposals = [Proposals(np.array([[0, 0, 2, 1], [0, 5, 2, 7], [9, 9, 11, 11]])), Proposals(np.zeros((0, 4)))]
    truth = [np.array([[0, 0, 1, 1], [1, 5, 3, 7], [9, 9, 11, 11]]), np.array([[0, 0, 1, 1]])]
    np.testing.assert_array_equal(best_overlaps(proposals[0], truth[0]), [0.5, 1 / 3, 1])
    assert [proposal_recall(proposals, truth, threshold) for threshold in (0.3, 0.5, 0.7)] == [0.75, 0.5, 0.25]
    regions = Proposals.of_regions(Regions(SUPERPIXELS, MEMBERS))
    assert proposal_recall([regions, regions], [regions.regions.masks, np.zeros((0, 3, 4))], 1) == 1
    assert np.isnan(proposal_recall([], []))


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (np.zeros((1, 3, 4)), r"picture 0: expected finite true boxes \(m, 4\), received float64 \(1, 3, 4\)"),
        (np.array([[0, 0, np.nan, 1]]), "picture 0: expected finite true boxes"),
        (np.zeros((0, 5)), "picture 0"),
    ],
)
def test_bad_truth_is_refused(truth, message):
    with pytest.raises(ValueError, match=message):
        proposal_recall([Proposals(BOXES)], [truth])
    regions = Proposals.of_regions(Regions(SUPERPIXELS, MEMBERS))
    for masks_ in (np.zeros((1, 4, 3)), np.full((1, 3, 4), 2)):
        with pytest.raises(ValueError, match=r"expected masks \(m, 3, 4\) of bool or 0 and 1"):
            best_overlaps(regions, masks_)
    with pytest.raises(ValueError, match="true objects of 1 pictures, received 2"):
        proposal_recall([regions], [BOXES, BOXES])
    with pytest.raises(ValueError, match="threshold"):
        proposal_recall([regions], [BOXES], 0)
