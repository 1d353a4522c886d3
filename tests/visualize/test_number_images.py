"""Masks as pictures of numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_segattn.visualize import class_image, instance_image, palette, save


def read(path):
    with Image.open(path) as image:
        return image.mode, np.asarray(image)


@settings(max_examples=20, deadline=None)
@given(classes=st.integers(1, 300), size=st.tuples(st.integers(1, 9), st.integers(1, 9)), seed=st.integers(0, 1000))
def test_the_values_are_the_classes_and_the_colours_those_of_the_palette(classes, size, seed):
    mask = np.random.default_rng(seed).integers(0, classes, size)
    image = class_image(mask, None, classes=classes)
    assert image.size == size[::-1]
    np.testing.assert_array_equal(np.asarray(image), mask)
    assert image.mode == ("P" if classes <= 256 else "I;16")
    if classes <= 256:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), palette(classes)[mask])


@pytest.mark.parametrize(("highest", "mode"), [(1, "P"), (20, "P"), (299, "I;16")])
def test_a_file_holds_the_same_values(tmp_path, highest, mode):
    mask = np.array([[0, 1, highest], [255, 255, 0]])
    save(class_image(mask), tmp_path / "mask.png")
    found, values = read(tmp_path / "mask.png")
    assert found == mode
    np.testing.assert_array_equal(values, mask)


def test_ignored_pixels_have_the_colour_of_voc_and_do_not_count_as_a_class():
    colours = np.asarray(class_image(np.array([[0, 1, 255]], "uint8")).convert("RGB"))
    np.testing.assert_array_equal(colours, [[*palette(2), (224, 224, 192)]])
    assert class_image(np.array([[0, 65535]]), 65535).mode == "I;16"


@pytest.mark.parametrize(
    ("mask", "arguments", "message"),
    [
        (np.zeros((2, 2)), {}, r"mask of integers \(height, width\), received float64 \(2, 2\)"),
        (np.zeros((2, 2, 1), int), {}, r"received int64 \(2, 2, 1\)"),
        (np.zeros((0, 2), int), {}, r"received int64 \(0, 2\)"),
        (np.full((2, 2), 3), {"classes": 3}, r"labels 0\.\.2 or 255, .* received a mask that holds 3"),
        (np.full((2, 2), -1), {"ignore_label": -1}, r"within 0\.\.65535, received a mask that holds -1"),
        (np.full((2, 2), 70000), {}, "received a mask that holds 70000"),
        (np.zeros((2, 2), int), {"classes": 0}, "classes must be a positive integer, received 0"),
    ],
)
def test_what_no_picture_can_hold(mask, arguments, message):
    with pytest.raises(ValueError, match=message):
        class_image(mask, **arguments)


def test_the_first_of_overlapping_instances_is_on_top():
    masks = np.zeros((3, 2, 4), bool)
    masks[0, 0, :2] = masks[1, 0, 1:3] = masks[2] = True
    masks[2, 1, 3] = False
    image = instance_image(masks)
    assert image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), [[1, 1, 2, 3], [3, 3, 3, 0]])


@pytest.mark.parametrize(("count", "mode"), [(0, "L"), (255, "L"), (256, "I;16")])
def test_many_instances_take_16_bits(tmp_path, count, mode):
    masks = np.zeros((count, 20, 30), bool)
    masks.reshape(count, 600)[range(count), range(count)] = True
    save(instance_image(masks), tmp_path / "instances.png")
    found, values = read(tmp_path / "instances.png")
    assert found == mode
    np.testing.assert_array_equal(values.reshape(-1), np.r_[1 : count + 1, np.zeros(600 - count, int)])


def test_wrong_masks_of_instances():
    with pytest.raises(ValueError, match=r"expected bool masks \(n, height, width\), received uint8 \(1, 2, 2\)"):
        instance_image(np.zeros((1, 2, 2), "uint8"))
    with pytest.raises(ValueError, match=r"received bool \(2, 2\)"):
        instance_image(np.zeros((2, 2), bool))
    with pytest.raises(ValueError, match="at most 65535 masks, received 65536"):
        instance_image(np.zeros((65536, 1, 1), bool))
