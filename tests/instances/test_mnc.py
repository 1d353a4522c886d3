"""MNC: the cascade and its voting equal those of the paper and its prototxt in NumPy; gradients; names in Caffe."""

import keras
import numpy as np
import pytest
from harness import images, tiny_model, without_weights
from region_oracles import greedy_nms, iou, roi_warp
from scipy.special import expit, softmax

from keras_segattn import MNC, model_card
from keras_segattn.instances import Cascade
from keras_segattn.instances.mnc_weights import translate
from keras_segattn.layers import RefineRegions, ResizeMask, VoteMasks
from keras_segattn.ops.gradients import clip_gradient

CARD = model_card("MNC")
TINY = dict(CARD.tiny)
HEIGHT, WIDTH, _ = TINY["input_shape"]
CLASSES, SIZE = TINY["classes"], TINY["cascade"]["mask_size"]
# Rounding of float32 through a dozen products, compared with float64.
TOLERANCE = 1e-4


def maxima(x):
    count, height, width, channels = x.shape
    return x.reshape(count, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


def stages_2_and_3(model, regions):
    """Compute mask, class and box of regions `(R, 14, 14, C)` by the table of layers in the released prototxt."""

    def dense(name, x, relu=False):
        kernel, bias = (w.astype("float64") for w in model.get_layer(name).get_weights())
        x = x.reshape(len(x), -1) @ kernel + bias
        return np.maximum(x, 0) if relu else x

    mask = dense("mask_pred", dense("fc6_maskest", regions, relu=True))
    gate = expit(mask).reshape(-1, SIZE, SIZE)
    at = np.minimum(np.arange(14) * (SIZE / 14), SIZE - 1)
    low = np.minimum(at.astype(int), SIZE - 2)
    part = at - low
    rows = gate[:, low] * (1 - part)[:, None] + gate[:, low + 1] * part[:, None]
    gate = rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part
    by_mask, by_box = maxima(regions * gate[..., None]), maxima(regions)
    for number in (6, 7):
        by_mask = dense(f"fc{number}_mask", by_mask, relu=True)
        by_box = dense(f"fc{number}_box", by_box, relu=True)
    both = np.concatenate([by_mask, by_box], axis=1)
    return mask, dense("seg_cls_score", both), dense("bbox_pred", both), dense("cls_score", both)


def refined(boxes, deltas, logits):
    """Refine each box by its most probable class, in the convention in which a box of one pixel has x2 = x1."""
    out = np.empty_like(boxes)
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        dx, dy, dw, dh = deltas[i].reshape(-1, 4)[logits[i].argmax()] / (10, 10, 5, 5)
        width, height = x2 - x1 + 1, y2 - y1 + 1
        x, y = x1 + width / 2 + dx * width, y1 + height / 2 + dy * height
        width, height = width * np.exp(dw), height * np.exp(dh)
        corners = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
        out[i] = corners.clip(0, [WIDTH - 1, HEIGHT - 1, WIDTH - 1, HEIGHT - 1])
    return out


def vote(probabilities, boxes, masks, count, threshold=1e-3):
    """Return the best instances, each with the mean of the overlapping masks, as (box, score, class, mask)."""
    found = []
    pixels = boxes + np.array([0, 0, 1, 1])
    for label in range(1, probabilities.shape[1]):
        scores = probabilities[:, label]
        for i in greedy_nms(pixels, scores, 0.3, len(boxes), score_threshold=threshold):
            agree = [j for j, other in enumerate(pixels) if iou(pixels[i], other) >= 0.5]
            share = scores[agree] / scores[agree].sum()
            mask = sum(w * seen_from(boxes[i], boxes[j], masks[j]) for w, j in zip(share, agree, strict=True))
            found.append((boxes[i], scores[i], label, mask))
    return sorted(found, key=lambda instance: -instance[1])[:count]


def seen_from(box, other, mask):
    """Sample the other box's mask at the cells of this box; it is 0 outside the other box."""
    size = len(mask)
    out = np.zeros((size, size))
    for p in range(size):
        for q in range(size):
            y = box[1] + (p + 0.5) / size * (box[3] - box[1] + 1) - other[1]
            x = box[0] + (q + 0.5) / size * (box[2] - box[0] + 1) - other[0]
            y, x = y / (other[3] - other[1] + 1), x / (other[2] - other[0] + 1)
            if 0 <= y <= 1 and 0 <= x <= 1:
                y, x = np.clip(y * size - 0.5, 0, size - 1), np.clip(x * size - 0.5, 0, size - 1)
                i, j = min(int(y), size - 2), min(int(x), size - 2)
                a, b = y - i, x - j
                corners = mask[i : i + 2, j : j + 2]
                out[p, q] = np.array([1 - a, a]) @ corners @ np.array([1 - b, b])
    return out


@pytest.mark.parametrize(
    ("stages", "quantize"),
    [
        (5, True),
        (3, False),
        pytest.param(3, True, marks=pytest.mark.thorough),
        pytest.param(5, False, marks=pytest.mark.thorough),
    ],
)
def test_the_cascade_is_the_prototxt_s(stages, quantize):
    cascade = Cascade(stages, SIZE, quantize)
    model = tiny_model(CARD, cascade=cascade, detections={"count": 40, "least_score": 0.2})
    backbone = model.get_layer("block5_conv3").output
    seen = keras.Model(model.input, [backbone, model.get_layer("proposals").output, model.output])
    features, (proposals, filled, _), outputs = seen(images(TINY["input_shape"]))
    features, outputs = np.asarray(features, "float64"), {key: np.asarray(value) for key, value in outputs.items()}
    for i in range(2):
        boxes = [np.asarray(proposals[i], "float64")[: int(filled[i])]]
        regions = np.stack([roi_warp(features[i], box, 28, 1 / 16, quantize) for box in boxes[0]])
        results = [stages_2_and_3(model, maxima(regions))]
        if stages == 5:
            boxes.append(refined(boxes[0], results[0][2], results[0][1]))
            regions = np.stack([roi_warp(features[i], box, 14, 1 / 16, quantize) for box in boxes[1]])
            results.append(stages_2_and_3(model, regions))
        masks = np.concatenate([expit(result[0]).reshape(-1, SIZE, SIZE) for result in results])
        probabilities = softmax(np.concatenate([result[1] for result in results]), axis=1)
        expected = vote(probabilities, np.concatenate(boxes), masks, 40, threshold=0.2)
        count = outputs["count"][i]
        assert count == len(expected) > 1
        for slot, (box, score, label, mask) in enumerate(expected):
            np.testing.assert_allclose(outputs["boxes"][i, slot], box, rtol=TOLERANCE, atol=WIDTH * TOLERANCE)
            np.testing.assert_allclose(outputs["scores"][i, slot], score, rtol=10 * TOLERANCE)
            assert outputs["classes"][i, slot] == label
            np.testing.assert_allclose(outputs["masks"][i, slot], mask, atol=10 * TOLERANCE)
        assert not outputs["masks"][i, count:].any()


def test_both_forms_have_the_same_weights():
    with without_weights():
        three, five = MNC(**TINY | {"cascade": Cascade(3, SIZE)}), MNC(**TINY)
    assert [w.path for w in three.weights] == [w.path for w in five.weights]


def test_without_votes_every_mask_is_its_own():
    boxes = np.array([[[0.0, 0, 9, 9], [0, 0, 9, 8], [50, 50, 70, 60]]], "float32")
    masks = np.random.default_rng(0).random((1, 3, 7, 7)).astype("float32")
    logits = np.log(np.array([[[0.2, 0.8], [0.4, 0.6], [0.7, 0.3]]], "float32"))
    rest = (np.ones((1, 3), "float32"), logits, boxes)
    alone = VoteMasks(3, voters=1)(logits, boxes, masks, *rest)
    assert np.asarray(alone["count"]) == 2
    np.testing.assert_allclose(np.asarray(alone["masks"])[0, :2], masks[0, [0, 2]], atol=TOLERANCE)
    together = np.asarray(VoteMasks(3)(logits, boxes, masks, *rest)["masks"])
    expected = (0.8 * masks[0, 0] + 0.6 * seen_from(boxes[0, 0], boxes[0, 1], masks[0, 1])) / 1.4
    np.testing.assert_allclose(together[0, 0], expected, atol=TOLERANCE)


def test_masks_are_resized_from_their_corners():
    mask = np.arange(4, dtype="float32").reshape(1, 2, 2, 1)
    found = np.asarray(ResizeMask(4)(mask))[0, ..., 0]
    np.testing.assert_allclose(found, [[0, 0.5, 1, 1], [1, 1.5, 2, 2], [2, 2.5, 3, 3], [2, 2.5, 3, 3]])


def test_coordinates_pass_gradients_from_the_last_stage_to_the_first():
    """Differences confirm the gradient of refined boxes' features by the proposals, through the bridge and RoIWarp."""
    import tensorflow as tf

    from keras_segattn.layers import RoIWarp

    random = np.random.default_rng(0)
    # A map that bilinear interpolation reads exactly: no kinks between its pixels.
    y, x = np.mgrid[:8, :12][..., None] / 8
    a, b, c = random.normal(size=(3, 3))
    features = (a * x + b * y + c * x * y)[None].astype("float32")
    weights = random.normal(size=(1, 2, 5, 5, 3)).astype("float32")
    boxes = np.array([[[20.3, 17.1, 90.7, 77.9], [40.2, 30.4, 120.1, 100.3]]], "float32")
    deltas = (0.3 * random.normal(size=(1, 2, 8))).astype("float32")
    logits, sizes = np.array([[[0, 1], [0, 1]]], "float32"), np.array([[128, 192]], "float32")
    bridge, warp = RefineRegions(), RoIWarp(5, [1 / 16], quantize=False)

    @tf.function
    def value(boxes, deltas):
        return tf.reduce_sum(weights * warp([features], bridge(boxes, deltas, logits, sizes)))

    inputs = [tf.constant(boxes), tf.constant(deltas)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        result = value(*inputs)
    for number, (gradient, step) in enumerate(zip(tape.gradient(result, inputs), (0.5, 0.05), strict=True)):
        assert np.abs(gradient).max() > 1e-3
        for index in range(gradient.numpy().size):
            change = np.zeros(gradient.shape, "float32")
            change.flat[index] = step
            above, below = ([*inputs[:number], inputs[number] + d, *inputs[number + 1 :]] for d in (change, -change))
            difference = float(value(*above) - value(*below)) / (2 * step)
            # The tolerance is the last digit of float32 divided by a step, and the step's square.
            assert gradient.numpy().flat[index] == pytest.approx(difference, rel=1e-2, abs=1e-4)


def test_gradients_of_coordinates_are_clipped():
    import tensorflow as tf

    x = tf.constant([[1.0, 2.0, 3.0, 4.0]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(clip_gradient(x, 0.5) * [[3.0, 0.25, -3.0, -0.25]])
    np.testing.assert_allclose(tape.gradient(y, x), [[0.5, 0.25, -0.5, -0.25]])


def test_the_released_layers_are_known_and_refinements_normalised():
    released = {f"conv{block}_{i}" for block, count in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, count + 1)}
    released |= {"rpn_conv/3x3", "rpn_cls_score", "rpn_bbox_pred", "fc6_maskest", "mask_pred", "fc6", "fc7"}
    released |= {"fc6_mask", "fc7_mask", "cls_score", "seg_cls_score", "bbox_pred"}
    with without_weights():
        layers = [layer.name for layer in MNC(**TINY).layers if layer.weights]
    assert {CARD.weight_names.get(name, (name,))[0] for name in layers} >= released - {"conv1_1"}
    assert len(layers) == len(released)
    random = np.random.default_rng(0)
    kernel, bias = random.normal(size=(8, 5)).astype("float32"), random.normal(size=8).astype("float32")
    ours = translate({"bbox_pred.blob0": kernel, "bbox_pred.blob1": bias, "fc6.blob1": bias})
    factors = np.tile(np.array([10, 10, 5, 5], "float32"), 2)
    np.testing.assert_array_equal(ours["bbox_pred.blob0"], kernel * factors[:, None])
    np.testing.assert_array_equal(ours["bbox_pred.blob1"], bias * factors)
    np.testing.assert_array_equal(ours["fc6.blob1"], bias)


def test_the_paper_s_mask_of_28():
    with without_weights():
        assert MNC(**TINY | {"cascade": Cascade(mask_size=28)}).output["masks"].shape == (None, 5, 28, 28)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cascade": {"stages": 4}}, "stages must be one of 3, 5, received 4"),
        ({"cascade": {"mask_size": 0}}, "mask_size must be a positive integer, received 0"),
        ({"cascade": {"quantize": 2}}, "quantize must be one of"),
        ({"cascade": {"depth": 5}}, "cascade must be Cascade or a dict of some of stages, mask_size, quantize, vote"),
        ({"detections": {"count": 0}}, "count must be a positive integer, received 0"),
        ({"backbone": "fcn32s"}, "MNC needs a backbone with a tap at stride 16"),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    with without_weights(), pytest.raises(ValueError, match=message):
        MNC(**TINY | changes)
