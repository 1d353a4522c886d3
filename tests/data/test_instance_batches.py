"""Batches of instances: boxes and masks stay together under all changes of the picture."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn.data.fitting import fit_picture
from keras_segattn.data.instance_batches import InstanceBatches
from keras_segattn.data.instances import boxes_of
from keras_segattn.fields import Picture

# Resizing moves an edge by half a pixel of the picture before, and by half a pixel of the picture after it.
EDGE = 1.0


def example(height=40, width=60, boxes=((10, 5, 30, 25), (20, 20, 50, 36)), labels=(1, 2), crowd=(False, False)):
    """Make a picture of rectangles on black; the colour of a rectangle tells its number."""
    image, mask = np.zeros((height, width, 3), np.uint8), np.zeros((len(boxes), height, width), np.uint8)
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        mask[number, y1:y2, x1:x2] = 1
        mask[:number] &= 1 - mask[number]
        image[y1:y2, x1:x2] = 100 + 50 * number
    objects = {
        "bbox": np.array(boxes, np.float32).reshape(-1, 4),
        "label": np.array(labels, np.int32),
        "is_crowd": np.array(crowd, bool),
        "mask": mask,
    }
    return {"image": image, "image/id": 1, "image/filename": "a.png", "objects": objects}


def batches(examples, **arguments):
    defaults = {"batch_size": 2, "size": (40, 60), "slots": 3}
    return InstanceBatches(examples, **defaults | arguments)


def test_the_batch_of_pictures_of_that_size():
    found = batches([example(), example(boxes=(), labels=(), crowd=())])[0]
    assert {name: (array.shape, array.dtype.name) for name, array in found.items()} == {
        "image": ((2, 40, 60, 3), "float32"),
        "boxes": ((2, 3, 4), "float32"),
        "classes": ((2, 3), "int32"),
        "masks": ((2, 3, 40, 60), "uint8"),
    }
    truth = example()
    np.testing.assert_array_equal(found["image"][0], truth["image"])
    order = [1, 0]  # the larger box first
    np.testing.assert_array_equal(found["boxes"][0, :2], truth["objects"]["bbox"][order])
    np.testing.assert_array_equal(found["classes"], [[2, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(found["masks"][0, :2], truth["objects"]["mask"][order])
    assert not found["masks"][0, 2].any()
    assert not found["boxes"][1].any()


def test_pictures_are_padded_with_black_as_in_prediction():
    preprocessing = Picture(mean=(10.0, 20.0, 30.0), std=(2.0, 2.0, 2.0))
    found = batches([example()], size=(60, 60), preprocessing=preprocessing)[0]
    np.testing.assert_array_equal(found["image"][0, 0, 0], [-5, -10, -15])
    expected = preprocessing(fit_picture(example()["image"], (60, 60))[0])
    np.testing.assert_array_equal(found["image"][0], expected)
    assert not found["masks"][0, :, 40:].any()
    filled = batches([example()], size=(80, 60), keep_aspect=False)[0]
    np.testing.assert_array_equal(filled["boxes"][0, 0], [20, 40, 50, 72])
    assert filled["image"][0, 79].shape == (60, 3)


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**31),
    size=st.tuples(st.integers(8, 80), st.integers(8, 80)),
    scale=st.sampled_from([(1.0, 1.0), (0.5, 2.0), (1.5, 1.5)]),
    flip=st.booleans(),
    keep_aspect=st.booleans(),
)
def test_boxes_and_masks_follow_the_picture(seed, size, scale, flip, keep_aspect):
    whole = example(boxes=((10, 5, 30, 25),), labels=(1,), crowd=(False,))
    settings_ = {"size": size, "scale": scale, "flip": flip, "keep_aspect": keep_aspect, "seed": seed}
    found = batches([whole], **settings_)[0]
    again = batches([whole], **settings_, cache=True)
    for name, array in again[0].items():
        np.testing.assert_array_equal(array, found[name])
        np.testing.assert_array_equal(again[0][name], array)  # from memory
    mask, box = found["masks"][0, 0].astype(bool), found["boxes"][0, 0]
    if found["classes"][0, 0]:
        np.testing.assert_allclose(box, boxes_of(mask[None])[0], atol=EDGE)
        assert found["image"][0][mask].mean() > 50  # nearer to the inner colour, 100, than to the black around it
        height, width = size
        assert (box >= 0).all()
        assert (box <= (width, height, width, height)).all()
    else:
        assert not mask.any()
        assert not box.any()


def test_a_cut_object_has_the_box_of_what_is_left():
    """The object is a triangle, so that the width of what is left depends on where the picture is cut."""
    triangle = example(boxes=((0, 0, 40, 40),), labels=(1,), crowd=(False,))
    triangle["objects"]["mask"] = np.tril(np.ones((1, 40, 60), np.uint8))
    cut = 0
    for seed in range(20):
        found = batches([triangle], scale=(2.0, 2.0), seed=seed)[0]
        if found["classes"][0, 0]:
            np.testing.assert_array_equal(found["boxes"][0, :1], boxes_of(found["masks"][0, :1]))
            cut += 1
    assert cut > 5


def test_flips_mirror_everything():
    plain = batches([example()])[0]
    mirrored = next(
        found
        for seed in range(20)
        if (found := batches([example()], flip=True, seed=seed)[0])["image"][0, 10, 20, 0] == 0
    )
    np.testing.assert_array_equal(mirrored["image"], plain["image"][:, :, ::-1])
    np.testing.assert_array_equal(mirrored["masks"], plain["masks"][..., ::-1])
    np.testing.assert_array_equal(mirrored["boxes"][0, 0], [10, 20, 40, 36])


def test_order_is_a_function_of_seed_and_epoch():
    examples = [example(boxes=((0, 0, 5 + n, 5),), labels=(1,), crowd=(False,)) for n in range(7)]
    found = batches(examples, shuffle=True, seed=3)

    def order():
        return [float(x2) for batch in found for x2 in batch["boxes"][:, 0, 2]]

    assert len(found) == 4
    first = order()
    assert sorted(first) == [5 + n for n in range(7)]
    found.on_epoch_end()
    assert order() != first
    found.epoch = 0
    assert order() == first


def test_crowds_are_negative_and_come_last():
    found = batches([example(crowd=(False, True))])[0]
    np.testing.assert_array_equal(found["classes"], [[1, -2, 0]])


def test_more_objects_than_slots():
    found = batches([example()] * 3, slots=1)
    with pytest.warns(UserWarning, match="example 0 has more objects than the 1 slots"):
        np.testing.assert_array_equal(found[0]["classes"], [[2], [2]])
    found[1]  # no second warning: they are errors here
    with pytest.raises(ValueError, match="give more slots"):
        batches([example()], slots=1, overflow="error")[0]


def test_objects_that_nothing_is_left_of_are_left_out():
    hidden = example(boxes=((10, 10, 20, 20), (5, 5, 30, 30)))
    thin = example(boxes=((10, 10, 10, 20), (5, 5, 30, 30)))
    for one in (hidden, thin):
        found = batches([one] * 3)
        with pytest.warns(
            UserWarning, match=r"example 0 .a\.png. has an object 0 without pixels, or with a box of less"
        ):
            np.testing.assert_array_equal(found[0]["classes"], [[2, 0, 0]] * 2)
        found[1]  # no second warning: they are errors here


def test_fit_takes_the_batches():
    class Area(keras.Model):
        def __init__(self):
            super().__init__()
            self.scale = keras.layers.Dense(1)

        def call(self, batch):
            return self.scale(keras.ops.mean(batch["image"], axis=(1, 2)))

        def compute_loss(self, x, y, y_pred, sample_weight, training):  # noqa: ARG002 - Keras' signature
            area = keras.ops.mean(keras.ops.cast(x["masks"], "float32"), axis=(1, 2, 3))
            return keras.ops.mean((y_pred[:, 0] - area) ** 2)

    found = batches([example()] * 5, preprocessing=Picture(std=(255.0, 255.0, 255.0)))
    model = Area()
    model.compile("sgd")
    history = model.fit(found, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert found.epoch == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"size": 60}, "size must be"),
        ({"slots": 1.5}, "slots"),
        ({"scale": (1.0, 0.5)}, "scale must be"),
        ({"overflow": "drop"}, "overflow"),
        ({"flip": 2}, "flip"),
        ({"seed": "a"}, "seed"),
        ({"workers": 0}, "workers"),
        ({"examples": []}, "no examples"),
    ],
)
def test_wrong_arguments_are_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        batches(**{"examples": [example()]} | arguments)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("bbox", np.full((2, 4), np.nan, np.float32), "NaN"),
        ("bbox", np.array([[5, 5, 4, 9]] * 2, np.float32), "x1 <= x2"),
        ("label", np.array([0, 1], np.int32), "labels from 1"),
        ("label", np.array([1, 1, 1], np.int32), "expected objects/bbox to be float32"),
        ("mask", np.full((2, 40, 60), 255, np.uint8), "masks of 0 and 1"),
        ("mask", np.zeros((2, 40, 61), np.uint8), "expected objects/mask to be uint8"),
    ],
)
def test_a_wrong_example_is_told(key, value, message):
    wrong = example()
    wrong["objects"][key] = value
    with pytest.raises(ValueError, match=f"example 0 .a.png.*{message}"):
        batches([wrong])[0]
    del wrong["objects"][key]
    with pytest.raises(ValueError, match=f"missing '{key}'"):
        batches([wrong])[0]
    with pytest.raises(IndexError, match="there are 1 batches"):
        batches([example()])[1]
