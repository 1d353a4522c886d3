"""Model inputs from users' values, one kind after the other."""

import numpy as np
import pytest
from PIL import Image

from keras_segattn.data.crops import central_crop, crops
from keras_segattn.data.examples import boxes_on_image, read
from keras_segattn.data.fitting import Frame
from keras_segattn.fields import Boxes, Noise, OneHot, Picture, Vectors

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
GREY = Picture("grey", mean=(0.0,), std=(255.0,))


def test_pictures_come_as_paths_arrays_and_images(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "picture.png")
    for value in (tmp_path / "picture.png", str(tmp_path / "picture.png"), PIXELS, Image.fromarray(PIXELS)):
        found = read(Picture(), (None, None, 3), value, {})
        np.testing.assert_array_equal(found.array, PIXELS)
        assert found.array.dtype == np.uint8
        assert found.frame.size == (30, 40)


def test_grey_pictures_have_one_channel_and_are_shown_in_three():
    for value in (PIXELS[..., 0], PIXELS[..., :1]):
        found = read(GREY, (None, None, 1), value, {})
        np.testing.assert_array_equal(found.array, PIXELS[..., :1])
        assert found.given.shape == (30, 40, 3)


def test_the_size_is_that_of_the_stored_form_or_else_the_usual_one():
    for fit in ("stretch", "crop", "pad"):
        field = Picture(size=(16, 24), fit=fit)
        assert read(field, (None, None, 3), PIXELS, {}).array.shape == (16, 24, 3)
        assert read(field, (20, 20, 3), PIXELS, {}).array.shape == (20, 20, 3)
    assert read(Picture(fit="crop"), (None, None, 3), PIXELS, {}).array.shape == PIXELS.shape
    padded = read(Picture(fit="pad"), (64, 64, 3), PIXELS, {})
    assert padded.array[48:].max() == 0
    assert padded.frame.factors == (1.6, 1.6)


def test_central_crops_of_any_form():
    np.testing.assert_array_equal(central_crop(PIXELS, (16, 16)), crops(PIXELS, 16)[0])
    rows = np.arange(80.0)[:, None, None].repeat(120, axis=1)
    wide = central_crop(rows, (14, 56))
    assert wide.shape == (14, 56, 1)
    # The crop is in the middle of the picture: it leaves as much above as below.
    np.testing.assert_allclose((wide + wide[::-1]) / 2, 39.5, atol=1.1)


def test_pixels_of_other_channels_are_taken_as_they_are():
    field = Picture("other", mean=(0.0,) * 5, std=(1.0,) * 5)
    many = np.zeros((8, 8, 5), np.float32)
    assert read(field, (8, 8, 5), many, {}).array is not None
    with pytest.raises(ValueError, match=r"shape \(8, 8, 5\), received \(9, 8, 5\)"):
        read(field, (8, 8, 5), np.zeros((9, 8, 5)), {})


def test_classes_by_number_or_vector():
    for value in (1, "1", np.int64(1), [0.0, 1.0, 0.0]):
        assert read(OneHot(3), (3,), value, {}).array.tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match=r"a class in 0\.\.2, received 3"):
        read(OneHot(3), (3,), 3, {})


def test_numbers_as_arrays_or_files(tmp_path):
    values = np.arange(6.0).reshape(2, 3)
    np.save(tmp_path / "values.npy", values)
    for value in (values, tmp_path / "values.npy"):
        assert read(Vectors(), (None, 3), value, {}).array.dtype == np.float32
    with pytest.raises(ValueError, match="of shape"):
        read(Vectors(), (4,), values, {})


def test_what_cannot_be_read_is_named(tmp_path):
    for value in (PIXELS / 255, PIXELS[..., :2], 3, None):
        with pytest.raises(ValueError, match="expected a picture, a path or an array"):
            read(Picture(), (None, None, 3), value, {})
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        read(Picture(), (None, None, 3), tmp_path / "none.png", {})
    with pytest.raises(ValueError, match="kind noise are not given by users, received int 3"):
        read(Noise(), (8,), 3, {})
    with pytest.raises(ValueError, match="expected numbers as an array"):
        read(Vectors(), (1,), ["a"], {})


def test_boxes_come_as_arrays_lists_and_files_and_follow_their_picture(tmp_path):
    np.save(tmp_path / "boxes.npy", np.array([[1, 2, 30, 40]]))
    for value in ([(1, 2, 30, 40)], np.array([[1.0, 2, 30, 40]]), tmp_path / "boxes.npy", str(tmp_path / "boxes.npy")):
        found = read(Boxes(), (3, 4), value, {})
        assert found.array.tolist() == [[1, 2, 30, 40], [0] * 4, [0] * 4]
        assert (found.array.dtype, found.given.shape) == (np.float32, (1, 4))
    assert read(Boxes(), (None, 4), [(1, 2, 30, 40)] * 2, {}).array.shape == (2, 4)
    assert read(Boxes(), (2, 4), [], {}).array.tolist() == [[0] * 4] * 2
    stretched = boxes_on_image(found.array, Frame((30, 40), "stretch", (0.5, 2.0)))
    assert stretched[0].tolist() == [2, 1, 60, 20]
    with pytest.raises(ValueError, match="boxes are in whole pictures"):
        boxes_on_image(found.array, Frame((30, 40), "crop", (1.0, 1.0)))
