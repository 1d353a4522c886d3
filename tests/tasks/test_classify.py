"""Interpretation of the outputs of classifiers."""

import numpy as np
import pytest

from keras_segattn.facts import Facts
from keras_segattn.fields import Picture
from keras_segattn.tasks import task_of
from keras_segattn.tasks.options import checked_options

TASK = task_of("classify")
PIXELS = Picture("RGB", std=(255.0,) * 3, size=(8, 8))
PICTURE = np.random.default_rng(0).integers(0, 256, (10, 14, 3), np.uint8)


def classified(outputs, labels=None, top=5, field=PIXELS, **options):
    facts = Facts(task="classify", inputs={"image": field}, labels=labels, options=options)
    chosen = checked_options("classify", {"top": top})
    example = TASK.read(facts, {"image": (None, None, len(field.mean))}, [PICTURE], chosen)
    return TASK.interpret({name: np.array(value) for name, value in outputs.items()}, facts, example, chosen)


def test_logits_go_through_a_softmax_and_probabilities_do_not():
    found = classified({"logits": [0.0, np.log(3.0)]}, labels=("cat", "dog"))
    assert found.best.name == "dog"
    assert found.rows() == [("class", "probability"), ("dog", "0.7500"), ("cat", "0.2500")]
    assert found.to_json()["classes"][0] == {"index": 1, "name": "dog", "probability": pytest.approx(0.75)}
    assert classified({"logits": [0.2, 0.8]}, activation="softmax").best.probability == 0.8
    assert classified({"probabilities": [0.2, 0.8]}).best.probability == 0.8
    assert found.draw() is None


def test_the_top_classes_of_equal_ones_the_first():
    found = classified({"logits": [1.0, 2.0, 2.0, 0.0]}, top=2)
    assert [one.index for one in found.places[0]] == [1, 2]
    assert found.best.name == "class 1"


def test_one_unit_tells_whether_it_is_real():
    for outputs, options in (({"logits": [np.log(4.0)]}, {}), ({"probabilities": [0.8]}, {"activation": "sigmoid"})):
        found = classified(outputs, **options)
        assert (found.best.name, found.best.probability) == ("real", pytest.approx(0.8))
    assert classified({"logits": [-3.0]}).best.name == "generated"
    assert classified({"logits": [3.0]}, labels=("no", "yes")).best.name == "yes"


def test_several_places_spell_a_text():
    logits = np.full((4, 11), -5.0)
    logits[[0, 1, 2, 3], [4, 0, 7, 10]] = 5
    found = classified({"logits": logits}, blank=-1)
    assert found.text == "407"
    assert found.notes() == ["407"]
    assert [row[1] for row in found.rows()] == ["class", "4", "0", "7", "none"]
    assert found.to_json()["text"] == "407"


def test_transformers_are_drawn_with_their_grid_and_what_they_made():
    outputs = {"logits": [0.0, 1.0], "theta": [1, 0, 0, 0, 1, 0], "transformed": np.full((8, 8, 3), 0.5)}
    found = classified(outputs)
    assert found.notes() == ["theta: 1.000 0.000 0.000 0.000 1.000 0.000"]
    assert np.unique(found.seen.transformed).tolist() == [128]
    assert found.draw().width > found.draw().height
    # Three transformers follow one another; the first one read the picture.
    chain = classified(outputs | {"theta": [1, 0, 0, 0, 1, 0] * 3})
    assert np.array_equal(np.asarray(chain.draw()), np.asarray(found.draw()))
    assert classified(outputs | {"theta": [0, 0] * 2, "transformed": np.zeros((2, 8, 8, 3))}).draw().width > 500


def test_parts_side_by_side_are_told_apart_and_pixels_are_restored():
    grey = Picture("grey", mean=(0.0,), std=(255.0,), size=(8, 8))
    two = np.stack([np.zeros((8, 8)), np.ones((8, 8))], axis=-1)
    found = classified({"logits": [0.0, 1.0], "theta": [0.0] * 4, "transformed": two}, field=grey)
    assert found.seen.transformed.shape == (2, 8, 8, 1)
    assert [part.max() for part in found.seen.transformed] == [0, 255]
    caffe = Picture("BGR", mean=(10.0, 20.0, 30.0), size=(8, 8))
    found = classified({"logits": [0.0, 1.0], "theta": [0.0], "transformed": np.zeros((8, 8, 3))}, field=caffe)
    assert found.seen.transformed[0, 0].tolist() == [30, 20, 10]


def test_the_middle_of_a_picture_is_classified():
    field = Picture(size=(8, 8), fit="crop")
    facts = Facts(task="classify", inputs={"image": field})
    left = np.zeros((8, 64, 3), np.uint8)
    left[:, :16] = 255
    example = TASK.read(facts, {"image": (None, None, 3)}, [left], checked_options("classify", {}))
    assert example.arrays["image"].shape == (8, 8, 3)
    assert example.arrays["image"].max() == 0


def test_wrong_outputs_are_named():
    with pytest.raises(ValueError, match="NaN as logits"):
        classified({"logits": [0.0, np.nan]})
    with pytest.raises(ValueError, match="must give logits or probabilities; this one gives boxes, scores"):
        classified({"boxes": [1.0], "scores": [1.0]})
    with pytest.raises(ValueError, match="2 classes, received 3 names"):
        classified({"logits": [0.0, 1.0]}, labels=("a", "b", "c"))
    with pytest.raises(ValueError, match=r"must be \(classes,\)"):
        classified({"logits": np.zeros((2, 2, 2))})
