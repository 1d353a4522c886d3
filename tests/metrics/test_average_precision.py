"""Average precision of instances, against cases computed by hand and one metric against the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from keras_segattn.metrics.coco_average_precision import coco_average_precision
from keras_segattn.metrics.region_average_precision import region_average_precision

# COCO averages the precision at 101 recalls, the other metric takes the whole area under the curve; in these tests a
# class has at most 4 objects.
POINTS = 0.02
SIZE = (20, 30)


def rectangles(boxes):
    masks = np.zeros((len(boxes), *SIZE), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = 1
    return masks


def truth(boxes, labels=None, crowd=None):
    labels = [1] * len(boxes) if labels is None else labels
    objects = {
        "bbox": np.array(boxes, np.float32).reshape(-1, 4),
        "label": np.array(labels, np.int32),
        "is_crowd": np.zeros(len(boxes), bool) if crowd is None else np.array(crowd, bool),
        "mask": rectangles(boxes),
    }
    return {"image": np.zeros((*SIZE, 3), np.uint8), "objects": objects}


def detected(boxes, scores, labels=None):
    labels = [1] * len(boxes) if labels is None else labels
    return {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "scores": np.array(scores, np.float32),
        "classes": np.array(labels, np.int32),
        "masks": rectangles(boxes),
    }


BOXES = [(0, 0, 10, 10), (12, 0, 22, 10)]


def test_perfect_detections():
    ground_truth = [truth(BOXES, [1, 2]), truth([])]
    detections = [detected([*BOXES, (0, 0, 0, 0)], [0.9, 0.3, 0.0], [1, 2, 0]), detected([], [])]
    for kind in ("bbox", "segm"):
        found = coco_average_precision(detections, ground_truth, kind)
        assert [found[key] for key in ("AP", "AP50", "AP75", "APs")] == pytest.approx([1] * 4)
        assert np.isnan([found["APm"], found["APl"]]).all()  # no such objects
    found = region_average_precision(detections, ground_truth)
    assert found["AP50"] == found["AP70"] == found["AP_vol"] == 1
    assert sorted(found["classes"]) == [1, 2]


def test_regions_by_hand():
    # The detections with their scores: 0.9 has an IoU of 0.6 with the first object, 0.8 overlaps nothing, 0.7 is
    # exactly the second object, 0.6 is the second object again.
    detections = [detected([(0, 0, 6, 10), (24, 12, 28, 18), BOXES[1], BOXES[1]], [0.9, 0.8, 0.7, 0.6])]
    found = region_average_precision(detections, [truth(BOXES)])
    # IoU up to 0.6: hit, false, hit, false, which gives precision 1 up to recall 1/2, then 2/3.
    low = 1 / 2 + 1 / 2 * 2 / 3
    # Larger IoU: false, false, hit, false, which gives precision 1/3 up to recall 1/2, and nothing beyond.
    high = 1 / 2 * 1 / 3
    np.testing.assert_allclose(found["classes"][1], [low] * 6 + [high] * 3)
    assert found["AP50"] == pytest.approx(low)
    assert found["AP70"] == pytest.approx(high)
    assert found["AP_vol"] == pytest.approx((6 * low + 3 * high) / 9)
    # Six of the eleven points have a recall of 0 … 0.5.
    eleven = region_average_precision(detections, [truth(BOXES)], "11 points")
    assert eleven["AP50"] == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert eleven["AP70"] == pytest.approx(6 / 3 / 11)


def test_crowds_do_not_count_and_pictures_are_ranked_together():
    ground_truth = [truth(BOXES, crowd=[True, False]), truth(BOXES[:1])]
    detections = [detected([BOXES[0], BOXES[0], BOXES[1]], [0.9, 0.8, 0.3]), detected([(0, 12, 9, 19)], [0.5])]
    # The ranking is: crowd, crowd, false (score 0.5), hit (0.3); there are two objects.
    assert region_average_precision(detections, ground_truth)["AP50"] == pytest.approx(1 / 2 * 1 / 2)
    assert coco_average_precision(detections, ground_truth)["AP50"] == pytest.approx(1 / 2 * 51 / 101)


def test_nothing_found_and_nothing_to_find():
    assert coco_average_precision([detected([], [])], [truth(BOXES)])["AP"] == 0
    assert region_average_precision([detected([], [])], [truth(BOXES)])["AP_vol"] == 0
    assert np.isnan(coco_average_precision([detected(BOXES, [1, 0.5])], [truth([])])["AP"])
    assert np.isnan(region_average_precision([detected(BOXES, [1, 0.5])], [truth([])])["AP_vol"])


def test_coco_counts_thresholds_and_areas(capsys):
    # An IoU of 0.6 with the only object is a hit at three of ten thresholds: 0.5, 0.55 and 0.6.
    for kind in ("bbox", "segm"):
        found = coco_average_precision([detected([(0, 0, 6, 10)], [0.9])], [truth(BOXES[:1])], kind)
        assert found["AP50"] == pytest.approx(1)
        assert found["AP75"] == 0
        assert found["AP"] == pytest.approx(0.3)
    assert capsys.readouterr().out == ""


boxes = st.tuples(st.integers(0, 20), st.integers(0, 12), st.integers(2, 9), st.integers(2, 7)).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)


@settings(deadline=None, max_examples=15)
@given(
    objects=st.lists(st.tuples(boxes, st.integers(1, 2)), min_size=1, max_size=4),
    jitter=st.lists(st.tuples(st.integers(0, 3), boxes, st.integers(1, 3)), max_size=6, unique_by=lambda one: one[1]),
)
def test_both_agree_where_the_definitions_do(objects, jitter):
    """Both agree at IoU 0.5 if objects do not overlap, as then every detection matches at most one object."""
    apart, taken = [], np.zeros(SIZE, bool)
    for box, label in objects:
        mask = rectangles([box])[0].astype(bool)
        if not (taken & mask).any():
            taken |= mask
            apart.append((box, label))
    ground_truth = truth(*zip(*apart, strict=True))
    found = [(apart[place % len(apart)][0] if place < 3 else box, label) for place, box, label in jitter]
    scores = np.linspace(1, 0.1, len(found))
    detections = detected([box for box, _ in found], scores, [label for _, label in found])
    ours = region_average_precision([detections], [ground_truth])["AP50"]
    assert coco_average_precision([detections], [ground_truth])["AP50"] == pytest.approx(ours, abs=POINTS)
    runs = {**detections, "masks": coco_mask.encode(np.asfortranarray(detections["masks"].transpose(1, 2, 0)))}
    assert region_average_precision([runs], [ground_truth])["AP50"] == ours


@pytest.mark.parametrize("metric", [coco_average_precision, region_average_precision])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": np.array([np.nan, 1])}, "NaN or infinity"),
        ({"scores": np.ones(3)}, r"expected scores \(D,\)"),
        ({"classes": np.ones(2)}, "integer classes"),
        ({"masks": np.zeros((1, *SIZE))}, "expected 2 masks, received 1"),
        ({"masks": np.zeros((2, 28, 28))}, "in the picture's frame"),
        ({"masks": np.full((2, *SIZE), 0.7)}, "threshold probabilities at 0.5"),
        ({"masks": [{"size": [5, 5], "counts": b"0"}] * 2}, "expected masks of"),
        ({"masks": [{"size": SIZE, "counts": b"5"}] * 2}, "expected run lengths that sum to .*, received the sum 5"),
        ({"masks": [{"size": SIZE, "counts": b"o"}] * 2}, "malformed compressed run lengths"),
        ({"masks": [{"size": SIZE, "counts": [5]}] * 2}, "expected compressed run lengths, received list"),
    ],
)
def test_wrong_detections_are_told(metric, changes, message):
    with pytest.raises(ValueError, match=f"detections of picture 0.*{message}"):
        metric([detected(BOXES, [1, 0.5]) | changes], [truth(BOXES)])


@pytest.mark.one_backend
def test_wrong_arguments_are_told():
    one, example = detected(BOXES, [1, 0.5]), truth(BOXES)
    for metric in (coco_average_precision, region_average_precision):
        with pytest.raises(ValueError, match="expected detections of 2 pictures, received 1"):
            metric([one], [example, example])
        with pytest.raises(ValueError, match="there are no pictures"):
            metric([], [])
        with pytest.raises(ValueError, match="masks"):
            metric([{key: one[key] for key in ("scores", "classes", "boxes")}], [example])
        with pytest.raises(ValueError, match="ground truth of picture 0"):
            metric([one], [{"boxes": 1}])
    with pytest.raises(ValueError, match=r"expected finite boxes \(2, 4\)"):
        coco_average_precision([one | {"boxes": np.full((2, 4), np.inf)}], [example], "bbox")
    with pytest.raises(ValueError, match="kind must be one of"):
        coco_average_precision([one], [example], "mask")
    with pytest.raises(ValueError, match="interpolation must be one of"):
        region_average_precision([one], [example], "12 points")
