"""Boxes, anchors, levels of a pyramid and pasted masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from region_oracles import iou

from keras_segattn.ops.anchors import cell_anchors, grid_anchors
from keras_segattn.ops.boxes import box_iou, clip_boxes, decode_boxes, encode_boxes
from keras_segattn.ops.levels import assign_levels
from keras_segattn.ops.masks import paste_masks

TOLERANCE = 1e-4  # pixels, of a few float32 operations


def boxes_of(random, count):
    corner = random.uniform(0, 50, (count, 2))
    return np.concatenate([corner, corner + random.uniform(1, 50, (count, 2))], axis=1).astype("float32")


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1.0]))
def test_decoding_undoes_encoding(seed, offset):
    random = np.random.default_rng(seed)
    boxes, anchors = boxes_of(random, 20), boxes_of(random, 20)
    weights = (10.0, 10.0, 5.0, 5.0)
    deltas = encode_boxes(boxes, anchors, weights, offset)
    # Decoding as in py-faster-rcnn does not subtract the offset that it added.
    larger = boxes + np.array([0, 0, offset, offset], "float32")
    np.testing.assert_allclose(decode_boxes(deltas, anchors, weights, offset=offset), larger, atol=1e-3)


def test_overlap_is_that_of_the_loop():
    random = np.random.default_rng(0)
    a, b = boxes_of(random, 12), boxes_of(random, 9)
    b[0, 2:] = b[0, :2]
    expected = [[iou(x, y) for y in b] for x in a]
    np.testing.assert_allclose(box_iou(a, b), expected, atol=1e-6)
    assert np.asarray(box_iou(b[:1], b[:1]))[0, 0] == 0  # boxes without area


def test_clipping_uses_each_image_s_size():
    boxes = np.tile(np.array([-5.0, -5, 100, 100], "float32"), (2, 1, 1))
    sizes = np.array([[30.0, 40], [50, 60]], "float32")
    np.testing.assert_array_equal(clip_boxes(boxes, sizes)[:, 0], [[0, 0, 40, 30], [0, 0, 60, 50]])
    np.testing.assert_array_equal(clip_boxes(boxes, sizes, 1.0)[0, 0], [0, 0, 39, 29])


def test_anchors_are_those_of_the_releases():
    # torchvision's, printed by its AnchorGenerator for size 32.
    np.testing.assert_array_equal(
        cell_anchors((32,), (0.5, 1, 2)), [[-23, -11, 23, 11], [-16] * 2 + [16] * 2, [-11, -23, 11, 23]]
    )
    np.testing.assert_array_equal(cell_anchors((128,), (0.5,), "caffe"), [[-84, -40, 99, 55]])
    width = 32 / np.sqrt(0.5)
    np.testing.assert_allclose(cell_anchors((32,), (0.5,), None)[0, 2], width / 2, rtol=1e-6)


def test_anchors_stand_on_every_cell():
    grid = np.asarray(grid_anchors(np.array([[-1, -1, 1, 1], [-2, -2, 2, 2]], "float32"), 2, 3, 8))
    assert grid.shape == (12, 4)
    np.testing.assert_array_equal(grid[3], [6, -2, 10, 2])  # second anchor of the second cell
    np.testing.assert_array_equal(grid[6], [-1, 7, 1, 9])  # first of the second row


@pytest.mark.parametrize(
    ("side", "rounding", "level"),
    [(224, "floor", 2), (223, "floor", 1), (448, "floor", 3), (10, "floor", 0), (5000, "floor", 3), (160, "round", 2)],
)
def test_levels_double_with_the_size(side, rounding, level):
    boxes = np.array([[0, 0, side, side]], "float32")
    assert np.asarray(assign_levels(boxes, 2, 5, rounding=rounding))[0] == level


def test_boxes_without_area_are_on_the_finest_level():
    boxes = np.array([[5, 5, 5, 9], [9, 9, 2, 20], [np.nan] * 4], "float32")
    np.testing.assert_array_equal(assign_levels(boxes, 2, 5), [0, 0, 0])


@pytest.mark.parametrize("method", ["torchvision", "detectron2"])
def test_pasted_masks_fill_their_boxes(method):
    masks = np.ones((1, 2, 28, 28), "float32")
    boxes = np.array([[[10, 5, 30, 25], [-10, -10, 200, 200]]], "float32")
    found = np.asarray(paste_masks(masks, boxes, 40, 50, method)) > 0.5
    inside = np.zeros((40, 50), bool)
    inside[6:24, 11:29] = True
    assert found[0, 0][inside].all()
    assert not found[0, 0, :3].any()
    assert not found[0, 0, :, 34:].any()
    assert found[0, 1].all()


@pytest.mark.parity
def test_pasted_masks_are_torchvisions():
    import torch
    from torch_oracles import torchvision_models

    torchvision_models()
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    random = np.random.default_rng(0)
    masks = random.random((6, 1, 14, 14)).astype("float32")
    boxes = boxes_of(random, 6) - 10
    expected = paste_masks_in_image(torch.from_numpy(masks), torch.from_numpy(boxes), (60, 70), padding=1).numpy()
    found = np.asarray(paste_masks(masks[None, :, 0], boxes[None], 60, 70))
    np.testing.assert_allclose(found[0], expected[:, 0], atol=TOLERANCE)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("sizes", "ratios", "rounding", "message"),
    [
        ((0,), (1,), None, "sizes must be positive"),
        ((8,), (), None, "ratios must be positive"),
        ((8,), (1,), "up", "rounding must be one of"),
    ],
)
def test_bad_anchors_are_named(sizes, ratios, rounding, message):
    with pytest.raises(ValueError, match=message):
        cell_anchors(sizes, ratios, rounding)
