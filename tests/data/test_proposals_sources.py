"""Selective search and region merging: they find plain objects, repeat themselves, and refuse what is no picture."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn.data import RegionMerging, SelectiveSearch, proposal_recall
from keras_segattn.data.fitting import resized
from keras_segattn.data.instances import boxes_of
from keras_segattn.data.proposals_sources import _merged_regions

SOURCES = (SelectiveSearch, RegionMerging)


@pytest.fixture(scope="module")
def scene():
    """Return a noisy picture with three objects, one of which has two colours, and their masks."""
    picture = np.random.default_rng(0).integers(90, 110, (60, 80, 3)).astype(np.uint8)
    rows, columns = np.indices((60, 80))
    disc = (rows - 18) ** 2 + (columns - 20) ** 2 < 144
    square = (abs(rows - 42) < 10) & (abs(columns - 28) < 10)
    flag = (abs(rows - 30) < 10) & (abs(columns - 62) < 8)
    picture[disc], picture[square], picture[flag] = (200, 30, 30), (30, 60, 220), (20, 200, 40)
    picture[flag & (rows < 30)] = (240, 230, 30)
    return picture, np.stack([disc, square, flag])


def test_objects_are_found(scene):
    picture, masks = scene
    boxes = boxes_of(masks)
    regions = RegionMerging()(picture)
    # Superpixels follow edges to a pixel, which is more than 0.8 of these small objects.
    assert proposal_recall([regions], [masks], 0.8) == 1
    assert proposal_recall([regions], [boxes], 0.8) == 1
    assert proposal_recall([SelectiveSearch()(picture)], [boxes], 0.8) == 1


@pytest.mark.parametrize("source", SOURCES)
def test_proposals_are_distinct_fit_and_repeat(scene, source):
    picture, _ = scene
    found, again = source()(picture), source()(picture)
    np.testing.assert_array_equal(found.boxes, again.boxes)
    assert found.size == picture.shape[:2]
    assert len(found.distinct()) == len(found) > 5
    assert (found.boxes[:, 2:] - found.boxes[:, :2]).min() >= 10
    assert len(source(least_side=1, count=None)(picture)) > len(found)
    np.testing.assert_array_equal(source(count=3)(picture).boxes, found.boxes[:3])


@pytest.mark.parametrize("source", SOURCES)
def test_large_pictures_are_searched_in_small(scene, source):
    picture = scene[0].repeat(2, 0).repeat(2, 1)
    large = source(longest_side=80, least_side=20)(picture)
    small = source(longest_side=80, least_side=10)(resized(picture, (60, 80)))
    np.testing.assert_array_equal(large.boxes, small.boxes * 2)
    assert len(large) > 5
    assert large.size == (120, 160)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (24, 24)], ids=str)
def test_any_picture_is_searched(source, size):
    picture = np.full((*size, 3), 255, np.uint8)
    assert len(source(least_side=min(30, *size) + 1)(picture)) == 0
    np.testing.assert_array_equal(source(least_side=1)(picture).boxes, [[0, 0, size[1], size[0]]])


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_merged_regions_are_a_binary_tree(height, width, seed):
    random = np.random.default_rng(seed)
    partition = np.unique(random.integers(0, 6, (height, width)), return_inverse=True)[1].reshape(height, width)
    regions = _merged_regions(partition, random.random((height, width, 3)))
    count = partition.max() + 1
    assert regions.shape == (2 * count - 1, count)
    np.testing.assert_array_equal(regions[:count], np.eye(count))
    assert regions[-1].all()
    shared = regions.astype(int) @ regions.T
    nested = (shared == 0) | (shared == regions.sum(1)) | (shared == regions.sum(1)[:, None])
    assert nested.all()
    assert len(np.unique(regions, axis=0)) == len(regions)


def test_the_most_similar_neighbours_merge_first():
    # Two blues and two reds, side by side: colours unite first, although all four areas are equal.
    partition = np.arange(4).repeat(5)[None].repeat(10, 0)
    colours = np.array([[0.1, 0.1, 0.9], [0.12, 0.1, 0.9], [0.9, 0.1, 0.1], [0.9, 0.12, 0.1]])[partition]
    regions = _merged_regions(partition, colours)
    assert {tuple(np.flatnonzero(region)) for region in regions[4:6]} == {(0, 1), (2, 3)}


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        (SelectiveSearch, {"mode": "slow"}),
        (SelectiveSearch, {"least_side": 0}),
        (SelectiveSearch, {"longest_side": 0.5}),
        (RegionMerging, {"count": 0}),
        (RegionMerging, {"scales": ()}),
        (RegionMerging, {"scales": (50, -1)}),
        (RegionMerging, {"sigma": float("nan")}),
    ],
)
def test_wrong_settings_are_refused(source, arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        source(**arguments)


@pytest.mark.parametrize("source", SOURCES)
def test_wrong_pictures_and_missing_libraries_are_told(source, monkeypatch):
    for picture in (np.zeros((9, 9, 3)), np.zeros((9, 9), np.uint8), np.zeros((0, 9, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"expected a picture uint8 \(height, width, 3\), received"):
            source()(picture)
    for library in ("cv2", "skimage.color"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install keras-segattn\[proposals\]"):
        source()(np.zeros((9, 9, 3), np.uint8))
