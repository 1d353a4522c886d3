"""The crops of R-CNN against a loop over pixels in exact fractions."""

import keras
import numpy as np
import pytest
import region_oracles as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn.layers import CropAndWarp
from keras_segattn.ops.crop_and_warp import crop_and_warp

# Sums of four float32 products of pixels up to 255.
TOLERANCE = 2e-4
# Keras computes positions in float32, up to 4e-6 pixels off; neighbouring pixels differ by up to 375.
RESIZE_TOLERANCE = 2e-3
HEIGHT, WIDTH, COUNT = 20, 31, 6
# (size of a crop, padding): the published ratio in small, sizes whose rounding has ties, no context.
CROPS = [(43, 3), (32, 8), (24, 6), (9, 0)]


def pictures(batch=1, size=(HEIGHT, WIDTH)):
    return np.random.default_rng(batch).uniform(-120, 255, (batch, *size, 3)).astype("float32")


@st.composite
def many_boxes(draw):
    """Boxes inside, across the border, outside and of one pixel; some at quarters of pixels, some with x2 < x1."""
    corner = draw(st.lists(st.tuples(*[st.integers(-160, 240)] * 2), min_size=COUNT, max_size=COUNT))
    size = draw(st.lists(st.tuples(*[st.integers(-8, 200)] * 2), min_size=COUNT, max_size=COUNT))
    found = np.array([(*c, c[0] + s[0], c[1] + s[1]) for c, s in zip(corner, size, strict=True)]) / 4
    found[: COUNT // 2] = found[: COUNT // 2].round()
    found[0, 2:] = found[0, :2] + 1
    return found.astype("float32")


@settings(max_examples=25, deadline=None)
@given(many_boxes(), st.sampled_from(CROPS), st.sampled_from(["warp", "square"]))
def test_crops_are_those_of_the_loop(boxes, crop, mode):
    images = pictures()
    found = np.asarray(crop_and_warp(images, boxes[None], *crop, mode))
    for box, one in zip(boxes, found[0], strict=True):
        np.testing.assert_allclose(
            one, oracle.crop_and_warp(images[0], box.astype("float64"), *crop, mode), atol=TOLERANCE
        )


@pytest.mark.parametrize("mode", ["warp", "square"])
@pytest.mark.slow_on_jax
def test_the_published_crop_at_every_place(mode):
    height, width = HEIGHT, WIDTH
    boxes = np.array(
        [
            (10, 5, 20, 15),  # inside
            (0, 0, width, height),  # the whole picture
            (0, 0, 1, 1),  # one pixel in a corner
            (width - 1, height - 1, width, height),
            (-5, 3, 12, 30),  # across borders
            (width, 0, width + 9, 9),  # outside, with some of the picture as context
            (500, 0, 520, 9),  # far outside
        ],
        "float32",
    )
    images = pictures()
    found = np.asarray(crop_and_warp(images, boxes[None], 227, 16, mode))[0]
    for box, one in zip(boxes, found, strict=True):
        expected = oracle.crop_and_warp(images[0], box.astype("float64"), 227, 16, mode)
        np.testing.assert_allclose(one, expected, atol=TOLERANCE)
    assert not found[-1].any()
    # A window that is half outside shows the mean colour there.
    assert not found[4][:, :16].any()


def test_a_box_without_context_is_the_resized_picture():
    images = pictures()
    whole = np.array([[[0, 0, WIDTH, HEIGHT]]], "float32")
    expected = keras.ops.image.resize(images, (40, 40), "bilinear")
    np.testing.assert_allclose(crop_and_warp(images, whole, 40, 0)[:, 0], expected, atol=RESIZE_TOLERANCE)


def test_windows_of_large_pictures_do_not_overflow_or_round():
    # A picture of 1 × 30000 pixels whose values are its columns, and boxes near its end.
    images = np.arange(30000, dtype="float32").reshape(1, 1, -1, 1)
    boxes = np.array([[(29000, 0, 29900, 1), (-1e8, -1e8, 1e8, 1e8), (0, 0, 30000, 1)]], "float32")
    found = np.asarray(crop_and_warp(images, boxes, 227))[0]
    for box, one in zip(boxes[0, ::2], found[::2], strict=True):
        expected = oracle.crop_and_warp(images[0], box.astype("float64"), 227, 16, "warp")
        np.testing.assert_allclose(one, expected, rtol=1e-6)
    assert np.isfinite(found).all()


def test_boxes_that_are_no_numbers_give_zeros():
    boxes = np.array([[[np.nan, 0, 4, 4], [0, 0, np.inf, 4], [4, 4, 9, 9]]], "float32")
    found = np.asarray(crop_and_warp(pictures(), boxes, 9, 2))
    assert not found[0, :2].any()
    assert found[0, 2].any()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs a gradient tape")
def test_the_gradient_is_the_transpose():
    import tensorflow as tf

    images = tf.constant(pictures(2))
    boxes = tf.constant([[[3.0, 2, 9, 12], [-4, -4, 5, 40]]] * 2)
    upstream = tf.constant(np.random.default_rng(1).normal(size=(2, 2, 24, 24, 3)).astype("float32"))
    with tf.GradientTape() as tape:
        tape.watch((images, boxes))
        crops = crop_and_warp(images, boxes, 24, 6)
    to_images, to_boxes = tape.gradient(crops, (images, boxes), upstream)
    # The operator is linear in the images. Sums of some thousand products of order 100.
    np.testing.assert_allclose(tf.reduce_sum(to_images * images), tf.reduce_sum(crops * upstream), rtol=1e-4, atol=0.1)
    assert to_boxes is None
    # The loop is linear too: moving one pixel changes the crops as the gradient says.
    changed = images.numpy()
    changed[0, 7, 5] += 1
    expected = sum(
        (oracle.crop_and_warp(changed[0] - images.numpy()[0], box, 24, 6, "warp") * up).sum(axis=(0, 1))
        for box, up in zip(boxes.numpy()[0].astype("float64"), upstream.numpy()[0], strict=True)
    )
    np.testing.assert_allclose(to_images[0, 7, 5], expected, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output_size": 0}, "output_size must be a positive integer, received 0"),
        ({"output_size": 5000}, "output_size must be at most 4096 pixels, received 5000"),
        ({"padding": 16}, "padding must be from 0 to less than half of 32 pixels, received 16"),
        ({"padding": -1}, "padding must be from 0 to less than half of 32 pixels, received -1"),
        ({"padding": 1.5}, "padding must be from 0 to less than half of 32 pixels, received 1.5"),
        ({"mode": "circle"}, "mode must be one of 'warp', 'square', received 'circle'"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        CropAndWarp(**{"output_size": 32, "padding": 2, **changes})


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match=r"expected boxes \(batch, regions, 4\), received \(4,\)"):
        crop_and_warp(pictures(), np.zeros(4, "float32"), 9, 0)
    with pytest.raises(ValueError, match=r"expected maps \(batch, height, width, channels\)"):
        crop_and_warp(pictures()[0], np.zeros((1, 1, 4), "float32"), 9, 0)
