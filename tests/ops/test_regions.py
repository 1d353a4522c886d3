"""RoIAlign, RoIWarp and RoIPool against loops over pixels."""

import keras
import numpy as np
import pytest
import region_oracles as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_segattn.ops.portable import portable_operators
from keras_segattn.ops.roi_align import roi_align
from keras_segattn.ops.roi_pool import roi_pool
from keras_segattn.ops.roi_warp import roi_warp

# Sums of at most a few dozen float32 products of order 1.
TOLERANCE = 1e-4
REGIONS, SIZE, SCALE = 20, (9, 13), 0.25


def boxes_of(random, count=REGIONS):
    """Boxes inside, across the border, outside, without area, with x2 < x1 or y2 < y1, huge and tiny."""
    corner = random.uniform(-30, 60, (count, 2))
    boxes = np.concatenate([corner, corner + random.uniform(0, 50, (count, 2))], axis=1)
    boxes[0, 2:] = boxes[0, :2]
    boxes[1] = boxes[1, [2, 3, 0, 1]]
    boxes[2] = (-500, -400, 900, 700)
    boxes[3, 2:] = boxes[3, :2] + 0.01
    boxes[4] = boxes[4].round()  # exact positions on and between pixels
    return boxes.astype("float32")


def feature_map(random, channels=2):
    return random.normal(size=(1, *SIZE, channels)).astype("float32")


@settings(max_examples=15, deadline=None)  # three hundred cases, REGIONS in each example
@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([0, 1, 2]))
def test_roi_align_is_the_loop(seed, aligned, ratio):
    random = np.random.default_rng(seed)
    features, boxes = feature_map(random), boxes_of(random)
    found = np.asarray(roi_align(features, boxes[None], 3, SCALE, sampling_ratio=ratio, aligned=aligned))[0]
    for box, crop in zip(boxes, found, strict=True):
        if ratio == 0 and (box[2:] - box[:2] > np.array(SIZE[::-1]) / SCALE).any():
            continue  # boxes larger than the map, which never occur once boxes are clipped to the image
        expected = oracle.roi_align(features[0], box.astype("float64"), 3, SCALE, ratio, aligned)
        near_edge = _near_discontinuity(box, aligned, ratio)
        if not near_edge:
            np.testing.assert_allclose(crop, expected, atol=TOLERANCE)


def _near_discontinuity(box, aligned, ratio):
    """Whether, within rounding, a sample lies where the value jumps to 0, or the number of samples changes."""
    x1, y1, x2, y2 = (float(v) * SCALE - (0.5 if aligned else 0) for v in box)
    for start, end, size in ((y1, y2, SIZE[0]), (x1, x2, SIZE[1])):
        extent = end - start if aligned else max(end - start, 1)
        samples = ratio or max(int(np.ceil(extent / 3)), 1)
        places = start + (np.arange(3 * samples) + 0.5) * extent / (3 * samples)
        if min(np.abs(places + 1).min(), np.abs(places - size).min()) < 1e-4:
            return True
        if ratio == 0 and abs(extent / 3 - round(extent / 3)) < 1e-4:
            return True
    return False


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_roi_warp_is_the_loop(seed, quantize):
    random = np.random.default_rng(seed)
    features, boxes = feature_map(random), boxes_of(random)
    boxes = (boxes * 64).round() / 64  # exact in float32, halves included
    found = np.asarray(roi_warp(features, boxes[None], 4, SCALE, quantize=quantize))[0]
    for box, crop in zip(boxes, found, strict=True):
        expected = oracle.roi_warp(features[0], box.astype("float64"), 4, SCALE, quantize)
        np.testing.assert_allclose(crop, expected, atol=TOLERANCE)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_roi_pool_is_the_loop(seed):
    random = np.random.default_rng(seed)
    features, boxes = feature_map(random) - 3, (boxes_of(random) * 64).round() / 64
    found = np.asarray(roi_pool(features, boxes[None], 4, SCALE))[0]
    for box, crop in zip(boxes, found, strict=True):
        np.testing.assert_allclose(crop, oracle.roi_pool(features[0], box.astype("float64"), 4, SCALE), atol=TOLERANCE)


@pytest.mark.parametrize("operator", [roi_align, roi_warp, roi_pool])
@pytest.mark.slow_on_jax
def test_each_box_is_read_from_its_level(operator):
    random = np.random.default_rng(0)
    maps = [random.normal(size=(2, n, n + 3, 2)).astype("float32") for n in (16, 8)]
    boxes = np.stack([boxes_of(random), boxes_of(random)])
    levels = random.integers(0, 2, boxes.shape[:2]).astype("int32")
    found = np.asarray(operator(maps, boxes, (2, 3), [0.5, 0.25], levels))
    assert found.shape == (2, REGIONS, 2, 3, 2)
    for level, scale in enumerate((0.5, 0.25)):
        alone = np.asarray(operator(maps[level], boxes, (2, 3), scale))
        np.testing.assert_allclose(found[levels == level], alone[levels == level], atol=TOLERANCE)


@pytest.mark.parametrize("operator", [roi_align, roi_warp, roi_pool])
@pytest.mark.slow_on_jax
def test_boxes_that_are_no_numbers_give_zeros(operator):
    features = np.ones((1, *SIZE, 2), "float32")
    boxes = np.array([[[np.nan, 0, 4, 4], [0, 0, np.inf, 4], [4, 4, 20, 20]]], "float32")
    found = np.asarray(operator(features, boxes, 2, SCALE))
    assert not found[0, :2].any()
    assert (found[0, 2] == 1).all()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compares TensorFlow's kernels with keras.ops")
@pytest.mark.parametrize("aligned", [False, True])
def test_fast_and_portable_forms_agree_in_value_and_gradient(aligned):
    import tensorflow as tf

    random = np.random.default_rng(1)
    maps = [tf.constant(random.normal(size=(2, n, n, 3)).astype("float32")) for n in (16, 8)]
    boxes = np.stack([boxes_of(random), boxes_of(random)])
    levels = random.integers(0, 2, boxes.shape[:2]).astype("int32")
    upstream = tf.constant(random.normal(size=(2, REGIONS, 3, 3, 3)).astype("float32"))

    def crop():
        with tf.GradientTape() as tape:
            tape.watch(maps)
            crops = roi_align(maps, boxes, 3, [0.5, 0.25], levels, aligned=aligned)
        return [crops, *tape.gradient(crops, maps, upstream)]

    fast = crop()
    with portable_operators():
        portable = crop()
    for a, b in zip(fast, portable, strict=True):
        np.testing.assert_allclose(a, tf.convert_to_tensor(b), atol=TOLERANCE)
    # The operator is linear in the maps, so its gradient must be its transpose, also across borders.
    inner = sum(float(tf.reduce_sum(g * m)) for g, m in zip(fast[1:], maps, strict=True))
    assert abs(inner - float(tf.reduce_sum(fast[0] * upstream))) < 1e-2


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs a gradient tape")
def test_roi_warp_passes_gradients_to_its_boxes():
    import tensorflow as tf

    random = np.random.default_rng(2)
    y, x = np.meshgrid(np.arange(16.0), np.arange(16.0), indexing="ij")
    features = tf.constant(np.stack([2 * x + 3 * y, x - y], axis=-1)[None].astype("float32"))  # linear: no kinks
    boxes = tf.constant([[[8.3, 9.1, 40.7, 50.2]]])
    upstream = random.normal(size=(1, 1, 4, 4, 2)).astype("float32")

    def value(b, quantize=False):
        return tf.reduce_sum(roi_warp(features, b, 4, 0.25, quantize=quantize) * upstream)

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(boxes)
        exact, rounded = value(boxes), value(boxes, quantize=True)
    gradient = tape.gradient(exact, boxes).numpy()
    for i in range(4):
        step = np.zeros((1, 1, 4), "float32")
        step[..., i] = 0.5
        numeric = float(value(boxes + step) - value(boxes - step))
        assert abs(numeric - gradient[0, 0, i]) < 1e-2 * (1 + abs(numeric))
    # Gradients pass through the rounding as if there were none.
    assert abs(tape.gradient(rounded, boxes).numpy()).max() > 0


def test_no_gradient_reaches_the_boxes_of_roi_align():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("needs a gradient tape")
    import tensorflow as tf

    boxes = tf.constant([[[1.0, 2, 20, 30]]])
    with portable_operators(), tf.GradientTape() as tape:
        tape.watch(boxes)
        total = ops.sum(roi_align(np.ones((1, *SIZE, 1), "float32") * np.arange(13)[:, None], boxes, 2, SCALE))
    assert tape.gradient(total, boxes) is None


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("maps", "boxes", "scales", "message"),
    [
        ([], (1, 2, 4), [], "expected maps"),
        ([(1, 4, 4, 2), (1, 2, 2, 3)], (1, 2, 4), [1, 0.5], "of equal channels"),
        ([(1, 4, 4, 2)], (1, 2, 4), [1, 0.5], "one scale per map, received 2 for 1"),
        ([(1, 4, 4, 2)], (2, 4), [1], r"expected boxes \(batch, regions, 4\), received \(2, 4\)"),
        ([(1, 4, 4, 2), (1, 2, 2, 2)], (1, 2, 4), [1, 0.5], "expected the level of each box, received None"),
    ],
)
def test_bad_arguments_are_named(maps, boxes, scales, message):
    with pytest.raises(ValueError, match=message):
        roi_align([np.zeros(s, "float32") for s in maps], np.zeros(boxes, "float32"), 2, scales)
