"""Training of R-CNN's parts: regions for fine-tuning, support vector machines, box regression, and all on scenes."""

import keras
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
from harness import tame, tiny_model
from region_oracles import iou

from keras_segattn import RCNN, data, facts_of, model_card, training
from keras_segattn.fields import Picture
from keras_segattn.ops.boxes import decode_boxes
from keras_segattn.ops.crop_and_warp import crop_and_warp
from keras_segattn.training import rcnn
from keras_segattn.training import support_vector_machines as machines
from keras_segattn.training.box_regression import train_box_regression

CARD = model_card("RCNN")
TINY = dict(CARD.tiny) | {"classes": 3}
HEIGHT, WIDTH, _ = TINY["input_shape"]
COLOURS = np.array([(220, 40, 40), (40, 60, 220)], "uint8")
PLAIN = Picture(mean=(127.5,) * 3, std=(127.5,) * 3)


def scenes(count=6, objects=2, crowd=False):
    """Grey pictures with squares, red ones of class 1 and blue ones of class 2, and boxes around and beside them."""
    random = np.random.default_rng(0)
    examples, proposals = [], []
    for _ in range(count):
        image = random.integers(90, 130, (HEIGHT, WIDTH, 3)).astype("uint8")
        corner = np.stack([[8, 48][:objects], random.integers(5, 30, objects)], axis=1)
        boxes = np.concatenate([corner, corner + random.integers(20, 30, (objects, 1))], axis=1).astype("float32")
        labels = np.arange(objects) % 2 + 1
        for (x1, y1, x2, y2), label in zip(boxes.astype(int), labels, strict=True):
            image[y1:y2, x1:x2] = COLOURS[label - 1]
        near = boxes.repeat(4, axis=0) + random.integers(-4, 5, (4 * objects, 4))
        far = random.integers(0, 50, (12, 2))
        far = np.concatenate([far, far + random.integers(8, 30, (12, 2))], axis=1)
        is_crowd = np.zeros(objects, bool)
        is_crowd[objects - 1 :] = crowd
        found = {"bbox": boxes, "label": labels.astype("int32"), "is_crowd": is_crowd}
        examples.append({"image": image, "objects": found})
        proposals.append(np.concatenate([near, far]).astype("float32"))
    return examples, proposals


# -- regions for fine-tuning


@pytest.mark.one_backend
def test_batches_hold_a_quarter_of_foreground_with_the_crops_of_their_boxes():
    examples, proposals = scenes(3)
    batches = data.RegionBatches(examples, proposals, preprocessing=PLAIN, size=21, padding=2, steps=2, batch_size=16)
    crops, labels = batches[0]
    assert len(batches) == 2
    assert (crops.shape, crops.dtype, labels.dtype) == ((16, 21, 21, 3), np.float32, np.int32)
    assert (labels[:4] > 0).all()
    assert (labels[4:] == 0).all()
    known = []
    for example, boxes in zip(examples, proposals, strict=True):
        truth = example["objects"]
        every = np.concatenate([truth["bbox"], boxes])
        cropped = np.asarray(crop_and_warp(PLAIN(example["image"][None]), every[None], 21, 2))[0]
        overlaps = np.array([[iou(box, one) for one in truth["bbox"]] for box in every])
        classes = np.where(overlaps.max(axis=1) >= 0.5, truth["label"][overlaps.argmax(axis=1)], 0)
        known += [*zip(cropped, classes, strict=True)]
    for crop, label in zip(crops, labels, strict=True):
        same = [other for one, other in known if np.allclose(one, crop) or np.allclose(one[:, ::-1], crop)]
        assert label in same
    mirrored = [any(np.allclose(one, crop) for one, _ in known) for crop in crops]
    assert 0 < sum(mirrored) < 16


@pytest.mark.one_backend
def test_batches_follow_seed_epoch_and_index():
    examples, proposals = scenes(2)
    options = {"preprocessing": PLAIN, "size": 9, "padding": 0, "steps": 2, "batch_size": 8}
    first, again, other = (data.RegionBatches(examples, proposals, **options, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first[0][0], again[0][0])
    assert (first[0][0] != first[1][0]).any()
    assert (first[0][0] != other[0][0]).any()
    again.on_epoch_end()
    assert (first[0][0] != again[0][0]).any()


@pytest.mark.one_backend
def test_crowds_are_neither_objects_nor_background():
    examples, proposals = scenes(4, crowd=True)
    batches = data.RegionBatches(examples, proposals, preprocessing=PLAIN, size=9, padding=0, steps=1)
    assert set(batches.foreground[:, 2]) == {1}
    for number, place, _ in batches.background:
        box, crowd = batches.boxes[number][place], examples[number]["objects"]["bbox"][-1]
        sides = np.minimum(box[2:], crowd[2:]) - np.maximum(box[:2], crowd[:2])
        assert sides.clip(0).prod() < (box[2:] - box[:2]).prod() / 2


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be a positive integer, received 0"),
        ({"foreground": 1.5}, "foreground must be in 0..1, received 1.5"),
        ({"size": 4}, "padding must be from 0 to less than half of 4 pixels, received 2"),
        ({"proposals": []}, "expected proposals of 2 pictures, received those of 0"),
        ({"examples": scenes(2, objects=0)[0]}, "no foreground regions, and every batch needs 4"),
    ],
)
def test_bad_regions_are_named(changes, message):
    examples, proposals = scenes(2)
    usual = {"examples": examples, "proposals": proposals, "preprocessing": PLAIN, "size": 9, "padding": 2}
    with pytest.raises(ValueError, match=message):
        data.RegionBatches(**usual | {"steps": 1, "batch_size": 16} | changes)


# -- support vector machines


def optimum(positives, negatives):
    """Solve the dual problem of the regularised hinge loss, in which the bias is the weight of a feature of 10."""
    x = np.concatenate([positives, negatives]).astype("float64")
    x = np.concatenate([x, np.full((len(x), 1), 10.0)], axis=1)
    signs = np.repeat([1.0, -1.0], [len(positives), len(negatives)])
    limits = np.where(signs > 0, 2e-3, 1e-3)
    signed = x * signs[:, None]

    def dual(multipliers):
        weights = multipliers @ signed
        return weights @ weights / 2 - multipliers.sum(), signed @ weights - 1

    start, bounds, options = np.zeros(len(x)), [(0, limit) for limit in limits], {"maxiter": 5000, "ftol": 1e-15}
    found = scipy.optimize.minimize(dual, start, jac=True, bounds=bounds, options=options)
    weights = found.x @ signed
    return weights[:-1], weights[-1] * 10


@pytest.mark.one_backend
def test_mined_machines_are_the_optimum_over_all_negatives(monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(machines, "RETRAIN", 5)
    random = np.random.default_rng(0)
    positives = [random.normal(centre, 3, (15, 5)) for centre in ([9, 0, 0, 2, 0], [0, 9, 0, 0, 2])]
    pictures = [(random.normal(0, 4, (60, 5)), random.uniform(0, 0.5, (60, 2))) for _ in range(6)]
    kernel, bias = machines.train_support_vectors(positives, pictures)
    for label in range(2):
        every = np.concatenate([features[overlaps[:, label] < 0.3] for features, overlaps in pictures])
        expected_kernel, expected_bias = optimum(positives[label], every)
        # The solver stops at a relative tolerance of 1e-4.
        np.testing.assert_allclose(kernel[:, label], expected_kernel, atol=2e-3)
        np.testing.assert_allclose(bias[label], expected_bias, atol=2e-2)


@pytest.mark.one_backend
def test_easy_negatives_are_forgotten_and_hard_ones_kept():
    pytest.importorskip("sklearn")
    random = np.random.default_rng(1)
    machine = machines.Machine(random.normal(10, 1, (20, 3)))
    machine.see(random.normal(-10, 8, (200, 3)))
    assert 0 < len(machine.negatives) < 200
    assert (machine.scores(machine.negatives) >= machines.EASY).all()
    kept = len(machine.negatives)
    machine.see(np.full((3, 3), -30.0))  # easy
    assert (len(machine.negatives), machine.waiting) == (kept, 0)
    machine.see(np.full((3, 3), 9.0))  # hard
    assert (len(machine.negatives), machine.waiting) == (kept + 3, 3)


@pytest.mark.one_backend
def test_classes_without_examples_are_named():
    pytest.importorskip("sklearn")
    some, none = np.ones((2, 3)), np.zeros((0, 3))
    with pytest.raises(ValueError, match="no object of class 2"):
        machines.train_support_vectors([some, none], [])
    with pytest.raises(ValueError, match="every region overlaps an object of class 1"):
        machines.train_support_vectors([some], [(some, np.ones((2, 1)))])
    with pytest.raises(ValueError, match="cost must be a positive number, received 0"):
        machines.train_support_vectors([some], [], cost=0)


# -- box regression


@pytest.mark.one_backend
@pytest.mark.parametrize("count", [8, 60])
def test_box_regression_is_least_squares_of_whitened_targets(count):
    random = np.random.default_rng(count)
    features = random.normal(0, 3, (count, 20))
    boxes = random.uniform(0, 40, (count, 4))
    boxes[:, 2:] += boxes[:, :2] + 5
    objects = boxes + random.uniform(-2, 2, (count, 4))
    kernel, bias = train_box_regression(features, boxes, objects, strength=7.0)

    size, true_size = boxes[:, 2:] - boxes[:, :2], objects[:, 2:] - objects[:, :2]
    shift = (objects[:, :2] + objects[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2 / size
    targets = np.concatenate([shift, np.log(true_size / size)], axis=1)
    mean = targets.mean(axis=0)
    root = scipy.linalg.sqrtm(np.cov(targets.T, bias=True) + 0.001 * np.eye(4))
    inputs = np.concatenate([features, np.ones((count, 1))], axis=1)
    stacked = np.concatenate([inputs, np.sqrt(7.0) * np.eye(21)])
    whitened = np.concatenate([(targets - mean) @ np.linalg.inv(root), np.zeros((21, 4))])
    expected = inputs @ np.linalg.lstsq(stacked, whitened)[0] @ root + mean
    np.testing.assert_allclose(features @ kernel + bias, expected, atol=1e-5)


@pytest.mark.one_backend
def test_box_regression_recovers_a_linear_rule():
    random = np.random.default_rng(0)
    features, rule = random.normal(0, 1, (50, 6)), random.normal(0, 0.1, (6, 4))
    boxes = np.tile([10.0, 10, 30, 50], (50, 1))
    objects = np.asarray(decode_boxes(features @ rule, boxes))
    kernel, bias = train_box_regression(features, boxes, objects, strength=1e-6)
    np.testing.assert_allclose(decode_boxes(features @ kernel + bias, boxes), objects, atol=1e-3)
    with pytest.raises(ValueError, match="expected boxes with their true boxes, received none"):
        train_box_regression(features[:0], boxes[:0], objects[:0])


# -- all parts


@pytest.fixture(scope="module")
def model():
    return tame(tiny_model(CARD, classes=3))


@pytest.mark.one_backend
def test_features_in_parts_are_those_of_the_whole_model(model):
    examples, proposals = scenes(1)
    boxes = proposals[0][: TINY["regions"]]
    below = tame(tiny_model(CARD, classes=3, include_top=False))
    image = facts_of(model).inputs["image"](examples[0]["image"][None])
    expected = below([image, keras.ops.array(boxes[None])], training=False)
    found = training.RegionFeatures(model, batch_size=4)(examples[0]["image"], boxes)
    np.testing.assert_allclose(found.classified, expected["features"][0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.regressed, np.reshape(expected["maps"][0], (len(boxes), -1)), rtol=1e-4, atol=1e-4)
    assert training.RegionFeatures(model)(examples[0]["image"], boxes[:0]).classified.shape == (0, 256)


@pytest.mark.one_backend
def test_the_network_is_fine_tuned_as_a_classifier_of_crops(model):
    classifier = training.region_classifier(model)
    examples, proposals = scenes(2)
    picture = facts_of(model).inputs["image"]
    batches = data.RegionBatches(
        examples, proposals, preprocessing=picture, size=TINY["crop_size"], steps=1, batch_size=8
    )
    before = model.get_layer("fc8").get_weights()[0].copy()
    history = training.train_classifier(classifier, batches, epochs=1, recipe="adamw-cosine", progress=False)
    assert np.isfinite(history.history["loss"]).all()
    assert (model.get_layer("fc8").get_weights()[0] != before).any()
    assert facts_of(classifier).card == "CaffeNet"


@pytest.mark.one_backend
def test_heads_learn_to_find_and_to_refine_objects(monkeypatch):
    pytest.importorskip("sklearn")
    model = tame(tiny_model(CARD, classes=3))
    examples, proposals = scenes()
    seen = []

    def spied(positives, pictures, **options):
        pictures = list(pictures)
        seen.extend([pictures, machines.train_support_vectors(positives, pictures, **options)])
        return seen[-1]

    monkeypatch.setattr(rcnn, "train_support_vectors", spied)
    # The published constants suit thousands of objects; these are twelve.
    training.train_rcnn_heads(model, examples, proposals, cost=0.01, strength=1.0, progress=False)
    pictures, (kernel, bias) = seen
    svm, regression = model.get_layer("svm"), model.get_layer("box_regression")
    before, after = [], []
    compute = training.RegionFeatures(model)
    for example, proposed, (scaled, _) in zip(examples, proposals, pictures, strict=True):
        truth = example["objects"]
        found = compute(example["image"], np.concatenate([truth["bbox"], proposed]))
        scores = np.asarray(svm(found.classified))
        np.testing.assert_allclose(scores, scaled @ kernel + bias, atol=1e-4)  # the scale became a part of the weights
        for place, label in enumerate(truth["label"]):
            far = [iou(truth["bbox"][place], box) < 0.3 for box in proposed]
            # The solver separates objects from negatives, which it saw, with a margin for nearly all.
            assert scores[place, label - 1] > scores[len(truth["label"]) :][far, label - 1].max()
        deltas = np.asarray(regression(found.regressed)).reshape(-1, 2, 4)[len(truth["label"]) :]
        for number, box in enumerate(proposed):
            overlaps = [iou(box, one) for one in truth["bbox"]]
            best = int(np.argmax(overlaps))
            if max(overlaps) >= 0.6:
                label = truth["label"][best] - 1
                refined = np.asarray(decode_boxes(deltas[number, label], box.astype("float64")))
                before.append(max(overlaps))
                after.append(iou(refined, truth["bbox"][best]))
    assert np.mean(after) > np.mean(before) + 0.05
    norms = [np.linalg.norm(scaled, axis=1) for scaled, _ in pictures]
    np.testing.assert_allclose(np.concatenate(norms).mean(), 20, rtol=0.05)  # measured on 20 of 22 regions per picture


@pytest.mark.one_backend
def test_models_and_scenes_that_do_not_fit_are_refused(model):
    examples, proposals = scenes(2)
    softmax = RCNN(**TINY | {"head": "softmax"})
    with pytest.raises(ValueError, match=r"expected support vector machines \(head='svm'\), 'rcnn' has no layer 'svm'"):
        training.train_rcnn_heads(softmax, examples, proposals)
    with pytest.raises(ValueError, match="expected proposals of 2 pictures, received those of 1"):
        training.train_rcnn_heads(model, examples, proposals[:1])
    with pytest.raises(ValueError, match="expected a model that crops regions once, 'other' does it 0 times"):
        training.region_classifier(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="other"))
    examples[1]["objects"]["label"][0] = 9
    with pytest.raises(ValueError, match=r"labels must be 1..2, picture 1 has \[2, 9\]"):
        training.train_rcnn_heads(model, examples, proposals, progress=False)
