"""Non-maximum suppression against a greedy loop."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from region_oracles import greedy_nms

from keras_segattn.ops.nms import nms

# Cases per call, and number of calls: some hundred cases in all.
BATCH, EXAMPLES = 32, 15
KINDS = ("plain", "ties", "broken", "degenerate", "crowd")


def compiled(**options):
    """`nms` compiled to one graph per shape."""

    def call(boxes, scores, classes):
        return nms(boxes, scores, classes=classes, **options)

    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(call)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        specs = [tf.TensorSpec((None, None, 4)), tf.TensorSpec((None, None)), tf.TensorSpec((None, None), "int32")]
        by_shape = {}

        def run(boxes, scores, classes):
            count = boxes.shape[1]
            if count not in by_shape:
                signature = [tf.TensorSpec((None, count, *spec.shape[2:]), spec.dtype) for spec in specs]
                by_shape[count] = tf.function(call, input_signature=signature)
            return by_shape[count](boxes, scores, classes)

        return run
    return call


def case(random, count, kind):
    corner = random.integers(0, 40, (count, 2)).astype("float32")
    boxes = np.concatenate([corner, corner + random.integers(1, 30, (count, 2))], axis=1).astype("float32")
    scores = random.random(count).astype("float32")
    if kind == "ties":
        scores = (scores * 3).round() / 3
    elif kind == "broken":
        scores[random.random(count) < 0.3] = np.nan
        scores[random.random(count) < 0.1] = -np.inf
    elif kind == "degenerate":
        boxes[random.random(count) < 0.3, 2:] = 0  # boxes without area, or with x2 < x1 or y2 < y1
        boxes[random.random(count) < 0.3, 0] = 20
    elif kind == "crowd":
        boxes[0] = (0, 0, 90, 90)
        boxes[1:, 2:] = boxes[1:, :2] + 1
    return boxes, scores, random.integers(0, 3, count).astype("int32")


RUNS = {
    (20, 10, None): compiled(iou_threshold=0.5, max_output=10),
    (300, 40, 0.1): compiled(iou_threshold=0.3, max_output=40, score_threshold=0.1),
}


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS), st.sampled_from(list(RUNS)))
def test_it_is_the_greedy_loop(seed, kind, shape):
    count, most, score_threshold = shape
    random = np.random.default_rng(seed)
    batch = BATCH if count == 20 else 4
    cases = [case(random, count, kind) for _ in range(batch)]
    indices, found = (np.asarray(x) for x in RUNS[shape](*(np.stack(part) for part in zip(*cases, strict=True))))
    for i, (boxes, scores, classes) in enumerate(cases):
        threshold = 0.5 if count == 20 else 0.3
        floor = -np.inf if score_threshold is None else score_threshold
        expected = greedy_nms(boxes, scores, np.float32(threshold), most, classes, floor)
        assert indices[i, : found[i]].tolist() == expected
        assert not indices[i, found[i] :].any()


def test_without_classes_all_boxes_suppress_each_other():
    boxes = np.array([[[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]]], "float32")
    scores = np.array([[0.5, 0.9, 0.1]], "float32")
    indices, count = nms(boxes, scores, 0.5, 5)
    np.testing.assert_array_equal(indices, [[1, 2, 0, 0, 0]])
    np.testing.assert_array_equal(count, [2])


def test_offset_counts_pixels():
    """With x2 = x1 for a box of one pixel, (0..9) and (5..14) share 5 of 15 columns."""
    boxes = np.array([[[0, 0, 9, 9], [5, 0, 14, 9]]], "float32")
    scores = np.array([[0.9, 0.8]], "float32")
    assert np.asarray(nms(boxes, scores, 0.33, 2, offset=1.0)[1])[0] == 1
    assert np.asarray(nms(boxes, scores, 0.33, 2)[1])[0] == 2


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("boxes", "scores", "most", "message"),
    [
        ((1, 3, 4), (1, 3), 0, "max_output must be a positive integer, received 0"),
        ((1, 3, 5), (1, 3), 2, r"received \(1, 3, 5\) and \(1, 3\)"),
        ((1, 2, 4), (1, 3), 2, r"a known N, received \(1, 2, 4\) and \(1, 3\)"),
    ],
)
def test_bad_arguments_are_named(boxes, scores, most, message):
    with pytest.raises(ValueError, match=message):
        nms(np.zeros(boxes, "float32"), np.zeros(scores, "float32"), 0.5, most)
