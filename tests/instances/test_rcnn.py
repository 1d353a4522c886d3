"""R-CNN: counts, heads and suppression in NumPy, hard proposals, backbones, and boxes as users give them."""

import json

import keras
import numpy as np
import pytest
from harness import images, tame, tiny_model, without_weights
from PIL import Image
from region_oracles import greedy_nms
from scipy.special import expit, softmax

import keras_segattn as ks
from keras_segattn import RCNN, CaffeNet, facts_of, load, model_card
from keras_segattn.application import save
from keras_segattn.layers import Detections

CARD = model_card("RCNN")
TINY = dict(CARD.tiny)
HEIGHT, WIDTH, _ = TINY["input_shape"]
REGIONS, CLASSES, CROP = TINY["regions"], TINY["classes"], TINY["crop_size"]
# Rounding of float32 through a dozen layers, compared with float64 from their features on.
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def models():
    """Miniatures with equal random weights: both heads, the features below them, and the fine-tuned network alone."""
    changes = {"svm": {}, "features": {"include_top": False}, "softmax": {"head": "softmax", "box_regression": False}}
    return {name: tame(tiny_model(CARD, **change)) for name, change in changes.items()}


def outputs(model, pictures, boxes):
    found = model([pictures, np.asarray(boxes, "float32")], training=False)
    return {name: keras.ops.convert_to_numpy(values) for name, values in found.items()}


def pictures(batch=1):
    return images((HEIGHT, WIDTH, 3), batch) * 64


def proposals(seed=0, batch=1):
    corner = np.random.default_rng(seed).uniform(-8, 50, (batch, REGIONS, 2))
    return np.concatenate([corner, corner + np.random.default_rng(seed + 1).uniform(6, 40, corner.shape)], axis=-1)


def dense(model, name, x):
    kernel, bias = (w.astype("float64") for w in model.get_layer(name).get_weights())
    return x.reshape(len(x), -1) @ kernel + bias


def detected(scores, boxes, count=TINY["detections"]["count"]):
    """Return the best (score, class, box) after suppression within each class; scores and boxes `(R, classes, …)`."""
    found = []
    for label in range(scores.shape[1]):
        kept = greedy_nms(boxes[:, label], scores[:, label], 0.3, len(scores), score_threshold=0.05)
        found += [(scores[i, label], label + 1, boxes[i, label]) for i in kept]
    return sorted(found, key=lambda one: -one[0])[:count]


def refined(boxes, deltas):
    """Refine boxes `(R, 4)` by `(R, classes, 4)` (equations 1 to 4), and clip them to the picture."""
    size = (boxes[:, 2:] - boxes[:, :2])[:, None]
    centre = (boxes[:, :2] + boxes[:, 2:])[:, None] / 2 + deltas[..., :2] * size
    half = size * np.exp(deltas[..., 2:]) / 2
    return np.concatenate([centre - half, centre + half], axis=-1).clip(0, [WIDTH, HEIGHT, WIDTH, HEIGHT])


def assert_detected(found, expected, image=0):
    assert found["count"][image] == len(expected)
    for place, (score, label, box) in enumerate(expected):
        assert found["classes"][image, place] == label
        np.testing.assert_allclose(found["scores"][image, place], score, atol=TOLERANCE)
        np.testing.assert_allclose(found["boxes"][image, place], box, atol=HEIGHT * TOLERANCE)
    assert not any(found[name][image, len(expected) :].any() for name in ("boxes", "scores", "classes"))


def test_parameters_are_the_published_ones():
    with without_weights():
        trunk = CaffeNet().count_params() - (4096 * 1000 + 1000)
        fine_tuned = RCNN(head="softmax", box_regression=False).count_params()
        whole = RCNN().count_params()
    assert fine_tuned == trunk + 4096 * 21 + 21 == 56_954_261
    assert whole == fine_tuned + (4096 + 1) * 20 + (6 * 6 * 256 + 1) * 80


def test_both_heads_are_those_of_the_equations(models):
    x, boxes = pictures(2), proposals(batch=2)
    features = outputs(models["features"], x, boxes)
    found = outputs(models["svm"], x, boxes)
    simple = outputs(models["softmax"], x, boxes)
    for image in range(2):
        fc7, pool5 = features["features"][image], features["maps"][image]
        probabilities = softmax(dense(models["svm"], "fc8", fc7), axis=-1)
        np.testing.assert_allclose(found["class_probabilities"][image], probabilities, atol=TOLERANCE)
        deltas = dense(models["svm"], "box_regression", pool5).reshape(REGIONS, CLASSES - 1, 4)
        scores = expit(dense(models["svm"], "svm", fc7))
        assert_detected(found, detected(scores, refined(boxes[image], deltas)), image)
        plain = refined(boxes[image], np.zeros_like(deltas))
        probabilities = softmax(dense(models["softmax"], "fc8", fc7), axis=-1)  # whose weights are smaller
        assert_detected(simple, detected(probabilities[:, 1:], plain), image)


def test_features_are_those_of_the_classifier_on_the_crop(models):
    model = models["features"]
    whole = np.array([[[-2, -2, 20, 30]] * REGIONS], "float32")
    found = outputs(model, pictures(), whole)
    crop = model.get_layer("crop_and_warp")(pictures(), whole)[:, 0]
    classifier = CaffeNet(input_shape=(CROP, CROP, 3), classes=CLASSES, alpha=TINY["alpha"])
    for layer in classifier.layers:
        if layer.name != "fc8":
            layer.set_weights(model.get_layer(layer.name).get_weights() if layer.weights else [])
    fc7 = keras.Model(classifier.input, classifier.get_layer("fc7").output)(crop)
    np.testing.assert_allclose(found["features"][0, 0], fc7[0], rtol=TOLERANCE, atol=TOLERANCE)
    # Equal proposals have equal features, whatever their place.
    np.testing.assert_allclose(found["features"][0], found["features"][0, :1].repeat(REGIONS, 0), rtol=1e-5, atol=1e-5)


def test_hard_proposals(models):
    x, model = pictures(), models["svm"]
    none = np.zeros((1, REGIONS, 4))
    assert outputs(model, x, none)["count"] == 0
    outside = np.tile([WIDTH + 50, 0, WIDTH + 80, 20], (1, REGIONS, 1))
    assert outputs(model, x, outside)["count"] == 0
    one = none.copy()
    one[0, 3] = (30, 20, 60, 50)  # rows without a box before it
    expected = outputs(model, x, one)
    assert expected["count"] == CLASSES - 1
    for other in ((np.nan, 0, 9, 9), (0, 0, np.inf, 9), (20, 20, 10, 10), (-90, -90, -80, -80)):
        hard = one.copy()
        hard[0, 0] = other
        found = outputs(model, x, hard)
        for name in ("boxes", "scores", "classes", "count"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5)
    twice = one.copy()
    twice[0, :3] = one[0, 3]  # duplicates suppress each other
    np.testing.assert_allclose(outputs(model, x, twice)["boxes"], expected["boxes"], rtol=1e-4)
    pixel = none.copy()
    pixel[0, 0] = (95, 63, 96, 64)
    assert np.isfinite(outputs(model, x, pixel)["scores"]).all()


@pytest.mark.parity
@pytest.mark.one_backend
def test_a_backbone_brings_its_weights_but_for_the_last_layer():
    model = RCNN(backbone="efficientnet_lite0", weights="imagenet", classes=3, regions=1, crop_size=64, head="softmax")
    backbone = ks.EfficientNetLite0(weights="imagenet")
    last = [layer for layer in backbone.layers if layer.weights][-1]
    for layer in backbone.layers:
        if layer.weights and layer is not last:
            for ours, theirs in zip(model.get_layer(layer.name).weights, layer.weights, strict=True):
                np.testing.assert_array_equal(ours, theirs)
    assert model.get_layer(last.name).units == 3
    assert facts_of(model).inputs["image"].mean == (127.0,) * 3


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 1}, "classes must count the background and at least one object, received 1"),
        ({"regions": 0}, "regions must be a positive integer, received 0"),
        ({"head": "tree"}, "head must be one of 'svm', 'softmax', received 'tree'"),
        ({"box_regression": 1.5}, "box_regression must be one of True, False, received 1.5"),
        ({"crop_mode": "circle"}, "crop_mode must be one of 'warp', 'square', received 'circle'"),
        ({"crop_size": 0}, "output_size must be a positive integer, received 0"),
        ({"crop_size": 32}, "padding must be from 0 to less than half of 32 pixels, received 16"),
        ({"backbone": "fcn8s"}, "expected a classifier with taps as backbone, FCN8s has the task 'segment'"),
        ({"detections": {"most": 3}}, "detections must be DetectionRules or a dict of some of count"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    with without_weights(), pytest.raises(ValueError, match=message):
        RCNN(**{**TINY, **changes})


@pytest.mark.one_backend
def test_detections_without_background_or_refinements_say_what_fits():
    scores, boxes = keras.KerasTensor((None, 5, 3)), keras.KerasTensor((None, 5, 4))
    layer = Detections(2, activation="sigmoid")
    assert layer(scores, None, boxes, None, keras.KerasTensor((None, 2)))["boxes"].shape == (None, 2, 4)
    with pytest.raises(ValueError, match="with 4 classes expected 4, 12 or 16 refinements per region, received 8"):
        layer(scores, keras.KerasTensor((None, 5, 8)), boxes, None, keras.KerasTensor((None, 2)))
    with pytest.raises(ValueError, match="activation must be one of 'softmax', 'sigmoid', received 'tanh'"):
        Detections(2, activation="tanh")


# -- in use


@pytest.fixture(scope="module")
def application(models):
    return load(models["svm"], facts=facts_of(models["svm"], labels=["ant", "bee", "cat"]))


PICTURE = np.random.default_rng(0).integers(0, 256, (HEIGHT * 2, WIDTH * 3, 3), np.uint8)
GIVEN = [(30, 20, 120, 100), (5, 60, 200, 128)]


@pytest.mark.one_backend
def test_boxes_are_given_and_found_in_pixels_of_the_picture(application, models):
    result = application.predict(PICTURE, GIVEN, score_threshold=0)
    example = application.call(
        {
            "image": ks.data.fitting.resized(PICTURE, (HEIGHT, WIDTH))[None],
            "proposals": np.array([[np.array(box) / [3, 2, 3, 2] for box in GIVEN] + [[0] * 4] * (REGIONS - 2)]),
        }
    )
    count = int(example["count"][0])
    np.testing.assert_allclose(result.boxes, example["boxes"][0, :count] * [3, 2, 3, 2], rtol=1e-5)
    assert len(result.rows()) == count + 1
    assert result.instances is None
    assert result.masks() is None
    assert result.draw().size[0] >= WIDTH * 3
    assert application.predict(PICTURE, np.zeros((0, 4))).rows() == [("object", "score", "box")]


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([(0, 0, 9, 9)] * (REGIONS + 1), f"takes at most {REGIONS} boxes, received {REGIONS + 1}: give the best"),
        ([(0, 0, 9)], r"expected boxes \(n, 4\) with x1 <= x2 and y1 <= y2, received float32 \(1, 3\)"),
        ([(9, 0, 0, 9)], "with x1 <= x2 and y1 <= y2"),
        ([(0, 0, np.nan, 9)], r"expected boxes \(x1, y1, x2, y2\) as an array or the path of a .npy file"),
        (["a"], "expected boxes"),
    ],
)
def test_boxes_that_do_not_fit_are_refused(application, boxes, message):
    with pytest.raises(ValueError, match=message):
        application.predict(PICTURE, boxes)


@pytest.mark.one_backend
def test_the_command_takes_boxes_from_a_file(segattn, models, application, tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "scene.png")
    np.save(tmp_path / "boxes.npy", np.array(GIVEN))
    save(models["svm"], tmp_path / "model.keras", facts=application.facts)
    given = ("--input", f"proposals={tmp_path / 'boxes.npy'}", "--score-threshold", "0", "--json")
    said = segattn("predict", tmp_path / "model.keras", tmp_path / "scene.png", "-o", tmp_path / "out.png", *given).out
    assert len(json.loads(said)["objects"]) == len(application.predict(PICTURE, GIVEN, score_threshold=0).boxes)
    with Image.open(tmp_path / "out.png") as drawn:
        assert drawn.size[0] >= WIDTH * 3
