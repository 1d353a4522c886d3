"""Interpretation of the outputs of detectors."""

import numpy as np
import pytest

from keras_segattn.facts import Facts
from keras_segattn.fields import Picture, PictureSize
from keras_segattn.tasks import task_of
from keras_segattn.tasks.options import checked_options

TASK = task_of("detect")
PICTURE = np.zeros((20, 40, 3), np.uint8)
# Two detections, the second with a lower score, in the 64 × 64 image: the picture enlarged 1.6 times and padded.
OUTPUTS = {
    "boxes": np.array([[16, 8, 32, 24], [0, 0, 16, 16], [0, 0, 0, 0]], "float32"),
    "scores": np.array([0.9, 0.4, 0], "float32"),
    "classes": np.array([2, 1, 0], "int32"),
    "masks": np.ones((3, 7, 7), "float32"),
    "count": np.array(2, "int32"),
}


def detected(outputs=OUTPUTS, fit="pad", labels=("cat", "dog"), inputs=None, shape=(64, 64, 3), **options):
    facts = Facts(task="detect", inputs={"image": Picture(fit=fit)} | (inputs or {}), labels=labels)
    chosen = checked_options("detect", options)
    example = TASK.read(facts, {"image": shape} | dict.fromkeys(inputs or {}, (2,)), [PICTURE], chosen)
    return example, TASK.interpret(outputs, facts, example, chosen)


def test_objects_are_found_in_the_frame_of_the_picture():
    _, found = detected()
    np.testing.assert_allclose(found.boxes, [[10, 5, 20, 15]])
    assert found.rows() == [("object", "score", "box"), ("dog", "0.9000", "10.0 5.0 20.0 15.0")]
    assert found.instances.shape == (1, 20, 40)
    assert found.instances[0, 5:15, 10:20].all()
    assert found.instances.sum() == 100
    ((one),) = found.to_json()["objects"]
    assert (one["class"], one["name"]) == (2, "dog")
    assert found.draw().size[0] >= 512


def test_the_threshold_and_the_image_of_instances():
    _, found = detected(score_threshold=0.4, labels=None)
    assert [row[0] for row in found.rows()[1:]] == ["class 2", "class 1"]
    numbers = np.asarray(found.masks())
    assert numbers[6, 12] == 1
    assert numbers[1, 1] == 2
    assert numbers[19, 39] == 0
    assert detected(score_threshold=0.95)[1].rows() == [("object", "score", "box")]


def test_stretched_pictures_have_two_factors():
    _, found = detected(fit="stretch")
    np.testing.assert_allclose(found.boxes, [[10, 2.5, 20, 7.5]])


def test_open_sizes_are_padded_to_the_usual_one_and_the_size_of_the_picture_is_computed():
    example, _ = detected(shape=(None, None, 3), inputs={"size": PictureSize("image")})
    assert example.arrays["image"].shape == (512, 512, 3)
    assert example.arrays["size"].tolist() == [256, 512]
    assert set(example.given) == {"image"}


def test_wrong_outputs_are_named():
    with pytest.raises(ValueError, match="must give boxes, scores, classes, count; this one gives logits"):
        detected({"logits": np.zeros(3)})
    with pytest.raises(ValueError, match="finds class 2, and has 1 names"):
        detected(labels=("cat",))
    with pytest.raises(ValueError, match="NaN as scores"):
        detected(OUTPUTS | {"scores": np.full(3, np.nan, "float32")})
    with pytest.raises(ValueError, match="whole pictures"):
        detected(fit="crop")
