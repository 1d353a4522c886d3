"""Interpretation of the outputs of segmenters."""

import numpy as np
import pytest

from keras_segattn.facts import Facts
from keras_segattn.fields import Picture
from keras_segattn.tasks import task_of
from keras_segattn.tasks.options import checked_options

TASK = task_of("segment")
LABELS = ("sea", "land", "lake")
# A picture whose left half is white, and the scores of a network that takes white for land.
HALVES = np.zeros((20, 30, 3), np.uint8)
HALVES[:, :15] = 255


def segmented(size=None, fit="stretch", labels=LABELS, outputs=None, shape=(None, None, 3), **options):
    facts = Facts(task="segment", inputs={"image": Picture(size=size, fit=fit)}, labels=labels)
    chosen = checked_options("segment", options)
    example = TASK.read(facts, {"image": shape}, [HALVES], chosen)
    seen = example.arrays["image"]
    land = (seen[..., 0] > 127).astype("float32")
    return seen, TASK.interpret(outputs or {"logits": np.stack([1 - land, land, -land], -1)}, facts, example, chosen)


def test_a_picture_of_any_size_is_taken_as_it_is():
    seen, found = segmented()
    np.testing.assert_array_equal(seen, HALVES)
    np.testing.assert_array_equal(found.mask, HALVES[..., 0] // 255)
    assert found.mask.dtype == np.int32
    assert found.rows() == [("class", "share"), ("sea", "0.5000"), ("land", "0.5000")]
    assert found.to_json() == {
        "size": [20, 30],
        "classes": [{"index": 0, "name": "sea", "share": 0.5}, {"index": 1, "name": "land", "share": 0.5}],
    }
    assert np.array_equal(np.asarray(found.masks()), found.mask)


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_masks_of_other_sizes_return_to_the_frame_of_the_picture(fit):
    seen, found = segmented(size=(50, 60), fit=fit)
    assert seen.shape == (50, 60, 3)
    np.testing.assert_array_equal(found.mask, HALVES[..., 0] // 255)
    _, static = segmented(fit=fit, shape=(40, 60, 3))
    np.testing.assert_array_equal(static.mask, found.mask)


def test_a_crop_is_shown_as_it_was_seen():
    seen, found = segmented(size=(8, 8), fit="crop")
    assert found.mask.shape == (8, 8)
    np.testing.assert_array_equal(found.picture, seen)


def test_a_mask_needs_no_scores():
    mask = np.ones((20, 30), np.uint8)
    _, found = segmented(outputs={"mask": mask})
    assert found.rows()[1:] == [("land", "1.0000")]
    with pytest.raises(ValueError, match="class 7, and has names of 3"):
        segmented(outputs={"mask": mask * 7})
    assert segmented(outputs={"mask": mask * 7}, labels=None)[1].rows()[1] == ("class 7", "1.0000")


def test_a_class_can_be_left_as_it_is():
    _, found = segmented(clear="sea")
    assert found.clear == 0
    drawn = segmented(clear="1", labels=None)[1].draw()
    assert drawn.getpixel((2, 2)) == (255, 255, 255)  # land is not tinted
    assert drawn.getpixel((drawn.width - 2, 2)) != (0, 0, 0)  # sea is tinted
    assert found.draw().size == segmented()[1].draw().size
    with pytest.raises(ValueError, match="clear sky: the model has 3 classes"):
        segmented(clear="sky")


def test_wrong_outputs_are_named():
    with pytest.raises(ValueError, match="NaN"):
        segmented(outputs={"logits": np.full((20, 30, 3), np.nan, "float32")})
    with pytest.raises(ValueError, match=r"must be \(height, width, classes\), received \(3,\)"):
        segmented(outputs={"logits": np.zeros(3)})
    with pytest.raises(ValueError, match="2 classes, received 3 names"):
        segmented(outputs={"logits": np.zeros((20, 30, 2))})
