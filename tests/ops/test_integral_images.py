"""Integral images and mirror padding against direct sums and NumPy, for any size from one pixel up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_segattn.ops.integral_images import integral_images, surrounding_boxes
from keras_segattn.ops.mirror_padding import mirror_padding
from keras_segattn.ops.portable import portable_operators

SIZES = st.integers(1, 7)
CLASSES = 3


def classes_of(batch, height, width, seed):
    return np.random.default_rng(seed).integers(0, CLASSES, (batch, height, width)).astype("int32")


def direct_counts(classes, number, box):
    """Count pixels of a class in a box around each pixel, one pixel after the other; also return the clipped areas."""
    batch, height, width = classes.shape
    counts, areas = np.zeros((batch, height, width)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            rows = slice(max(0, y + box[0]), max(0, y + box[2]))
            part = classes[:, rows, max(0, x + box[1]) : max(0, x + box[3])]
            counts[:, y, x], areas[y, x] = (part == number).sum((1, 2)), part[0].size
    return counts, areas


@settings(deadline=None, max_examples=30)
@given(SIZES, SIZES, st.integers(0, 99))
@pytest.mark.parametrize("portable", [True, False])
def test_integral_images_are_direct_sums(portable, height, width, seed):
    classes = classes_of(2, height, width, seed)
    if portable:
        with portable_operators():
            found = ops.convert_to_numpy(integral_images(classes, CLASSES))
    else:
        found = ops.convert_to_numpy(integral_images(classes, CLASSES))
    assert found.shape == (2, CLASSES, height + 1, width + 1)
    for number in range(CLASSES):
        for y in range(height + 1):
            for x in range(width + 1):
                np.testing.assert_array_equal(found[:, number, y, x], (classes[:, :y, :x] == number).sum((1, 2)))


@settings(deadline=None, max_examples=30)
@given(SIZES, SIZES, st.lists(st.tuples(*[st.integers(-9, 9)] * 4), min_size=1, max_size=4), st.integers(0, 99))
@pytest.mark.slow_on_jax
def test_boxes_are_direct_sums_clipped_to_the_picture(height, width, boxes, seed):
    classes = classes_of(2, height, width, seed)
    numbers = np.arange(len(boxes), dtype="int32") % CLASSES
    counts, areas = surrounding_boxes(integral_images(classes, CLASSES), numbers, np.array(boxes, "int32"))
    counts, areas = (np.swapaxes(ops.convert_to_numpy(x), -1, -2) for x in (counts, areas))
    for place, box in enumerate(boxes):
        expected = direct_counts(classes, numbers[place], box)
        np.testing.assert_array_equal(counts[:, place], expected[0])
        np.testing.assert_array_equal(areas[place], expected[1])


@settings(deadline=None, max_examples=30)
@given(SIZES, SIZES, st.integers(0, 20), st.integers(0, 20))
@pytest.mark.slow_on_jax
def test_mirror_padding_is_numpy_s(height, width, rows, columns):
    x = np.random.default_rng(height).normal(size=(2, height, width, 3)).astype("float32")
    expected = np.pad(x, [(0, 0), (rows, rows), (columns, columns), (0, 0)], mode="reflect")
    np.testing.assert_array_equal(ops.convert_to_numpy(mirror_padding(x, rows, columns)), expected)
