"""Pictures of instances."""

import numpy as np
import pytest

from keras_segattn.visualize import draw_instances, panels

IMAGE = np.full((60, 80, 3), 100, "uint8")
MASK = np.zeros((1, 60, 80), bool)
MASK[0, 20:40, 20:60] = True
BOX = np.array([[20.0, 20, 60, 40]])


def test_a_mask_tints_its_pixels_and_no_others():
    drawn = np.asarray(draw_instances(IMAGE, BOX, [1], [0.9], MASK, ["cat"]))
    factor = drawn.shape[0] // 60
    assert max(drawn.shape) >= 512
    assert (drawn[30 * factor, 40 * factor] != 100).any()
    assert (drawn[50 * factor, 70 * factor] == 100).all()


def test_nothing_found_leaves_the_picture():
    drawn = np.asarray(draw_instances(IMAGE, np.zeros((0, 4)), [], [], np.zeros((0, 60, 80), bool), ["cat"]))
    assert (drawn == 100).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (900, 1200)])
def test_any_size_and_boxes_beyond_the_border(size):
    image = np.zeros((*size, 3), "uint8")
    drawn = draw_instances(image, [[-5.0, -5, 2000, 2000], [5.0, 5, 1, 1]], [1, 2])
    assert max(drawn.size) >= max(512, *size)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": IMAGE.astype("float32")}, "expected an image uint8"),
        ({"classes": np.array([1, 2])}, "as many classes and scores as boxes"),
        ({"masks": np.zeros((1, 5, 5), bool)}, "expected masks"),
        ({"classes": np.array([2])}, r"classes must be within 1\.\.1"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    arguments = {"image": IMAGE, "boxes": BOX, "classes": np.array([1]), "names": ["cat"]} | changes
    with pytest.raises(ValueError, match=message):
        draw_instances(**arguments)


def test_panels_stand_in_a_grid():
    page = panels([("a", IMAGE), ("b", IMAGE[:7, :7]), ("c", IMAGE)], columns=2)
    assert page.width > 2 * 256
    assert page.height > 2 * 256
    with pytest.raises(ValueError, match="at least one column, received 0 and 2"):
        panels([], columns=2)
