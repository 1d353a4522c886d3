"""Geometry of the crops on pictures whose pixels hold their own coordinates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn.training import crops

SIZE = 224
CORNERS = [(0, 0), (0, 32), (32, 0), (32, 32), (16, 16)]  # of a 224 crop in a 256 square, which leaves a margin of 32
# Tolerance for bilinear weights in float32 on coordinates of up to some hundreds.
TOLERANCE = 2e-3
# Antialiasing samples its triangle at whole pixels only, which shifts a value by some hundredths of a pixel; a square
# that is off by one pixel shows as a difference of 0.7.
SHRUNK_TOLERANCE = 0.1


def coordinates(height, width):
    """Make a picture whose pixel (y, x) holds (y, x, 1000)."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, np.full_like(x, 1000)], axis=-1).astype("float32")


def place_of(crop):
    """Return the top left pixel of a crop that was not resized, and check that the crop is a window of the picture."""
    top, left, mark = crop[0, 0]
    np.testing.assert_array_equal(crop, coordinates(1000, 1000)[int(top) :, int(left) :][: len(crop), : len(crop)])
    assert mark == 1000
    return int(top), int(left)


# With a shorter side of 256, the first scale leaves the picture as it is, so its crops are exact windows.
@pytest.mark.parametrize(
    ("height", "width", "squares"),
    [
        (256, 400, [(0, 0), (0, 72), (0, 144)]),  # landscape: left, centre, right
        (401, 256, [(0, 0), (72, 0), (145, 0)]),  # portrait: top, centre (of a margin of 145), bottom
        (256, 256, [(0, 0), (0, 0), (0, 0)]),
    ],
)
def test_windows_of_the_first_scale(height, width, squares):
    picture = coordinates(height, width)
    views = crops(picture, SIZE, "144-crop")
    assert views.shape == (144, SIZE, SIZE, 3)
    assert views.dtype == np.float32
    for square, (top, left) in enumerate(squares):
        own = views[12 * square : 12 * square + 12]
        assert [place_of(crop) for crop in own[:10:2]] == [(top + y, left + x) for y, x in CORNERS]
        np.testing.assert_array_equal(own[1::2], own[::2, :, ::-1])  # mirrored left to right
    centre = 12 * 1
    np.testing.assert_array_equal(crops(picture, SIZE, "12-crop"), views[centre : centre + 12])
    np.testing.assert_array_equal(crops(picture, SIZE)[0], views[centre + 8])


def affine(crop, tolerance=TOLERANCE):
    """Check that a crop is a regular grid, and return the coordinates of its top left pixel and the step.

    The outermost pixels are left out: there antialiasing has no neighbours to average.
    """
    inner = crop[3:-3, 3:-3].astype("float64")
    step = (inner[-1, -1, :2] - inner[0, 0, :2]) / (len(inner) - 1)
    y, x = np.mgrid[: len(inner), : len(inner)]
    np.testing.assert_allclose(inner[..., 0], inner[0, 0, 0] + step[0] * y, atol=tolerance)
    np.testing.assert_allclose(inner[..., 1], inner[0, 0, 1] + step[1] * x, atol=tolerance)
    return inner[0, 0, :2] - 3 * step, step


# A pixel of the resized picture is 1 / zoom pixels of the original, whose centres are at half coordinates.
@pytest.mark.parametrize(("height", "width"), [(256, 384), (384, 256), (256, 256)])
def test_all_scales_cover_the_right_part(height, width):
    views = crops(coordinates(height, width), SIZE, "144-crop").reshape(4, 3, 6, 2, SIZE, SIZE, 3)
    for scale, side in enumerate((256, 288, 320, 352)):
        zoom = side / 256
        long_margin = max(height, width) * zoom - side
        for square in range(3):
            offset = np.floor(long_margin * square / 2)
            origin = np.array([offset * (height > width), offset * (width > height)])
            margin = side - SIZE
            places = [(0, 0), (0, margin), (margin, 0), (margin, margin), (margin // 2, margin // 2)]
            for view, place in enumerate(places):
                start, step = affine(views[scale, square, view, 0])
                np.testing.assert_allclose(step, 1 / zoom, atol=TOLERANCE / SIZE)
                np.testing.assert_allclose(start, (origin + place + 0.5) / zoom - 0.5, atol=TOLERANCE)
            start, step = affine(views[scale, square, 5, 0], SHRUNK_TOLERANCE)  # the whole square, resized
            shrink = side / SIZE
            np.testing.assert_allclose(step, shrink / zoom, atol=2 * SHRUNK_TOLERANCE / SIZE)
            np.testing.assert_allclose(start, (origin + shrink / 2) / zoom - 0.5, atol=SHRUNK_TOLERANCE)


def test_scales_of_other_sizes_are_in_proportion():
    # 256, 288, 320 and 352 for 224 are 341.7, 384.4, 427.1 and 469.9 for 299; the margins of corner crops show them.
    views = crops(coordinates(299, 299), 299, "144-crop").reshape(4, 3, 6, 2, 299, 299, 3)
    for scale, side in enumerate((342, 384, 427, 470)):
        start, step = affine(views[scale, 0, 3, 0])
        np.testing.assert_allclose(step, 299 / side, atol=TOLERANCE / SIZE)
        np.testing.assert_allclose(start, (side - 299 + 0.5) * 299 / side - 0.5, atol=TOLERANCE)


def test_single_crop_is_the_central_seven_eighths():
    crop = crops(coordinates(512, 1024), SIZE)[0]
    start, step = affine(crop)
    np.testing.assert_allclose(step, 512 * 0.875 / SIZE, atol=TOLERANCE / SIZE)
    np.testing.assert_allclose(start, np.array([512, 1024]) / 2 - 512 * 0.875 / 2 + 0.5, atol=TOLERANCE)


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    channels=st.integers(1, 4),
    size=st.integers(1, 40),
    scheme=st.sampled_from(["single", "12-crop", "144-crop"]),
)
def test_any_picture_gives_all_views_within_its_range(height, width, channels, size, scheme):
    picture = np.random.default_rng(0).integers(10, 200, (height, width, channels), dtype=np.uint8)
    views = crops(picture, size, scheme)
    assert views.shape == (int(scheme.removesuffix("-crop").replace("single", "1")), size, size, channels)
    assert views.min() >= picture.min() - TOLERANCE
    assert views.max() <= picture.max() + TOLERANCE


@pytest.mark.parametrize(
    ("image", "arguments", "message"),
    [
        (np.zeros((8, 8)), {}, r"\(height, width, channels\), received shape \(8, 8\)"),
        (np.zeros((0, 8, 3)), {}, "shape"),
        (np.full((8, 8, 3), np.nan), {}, "finite"),
        (np.zeros((8, 8, 3), bool), {}, "received bool"),
        (np.zeros((8, 8, 3)), {"size": 0}, "size must be a positive integer"),
        (np.zeros((8, 8, 3)), {"scheme": "10-crop"}, "scheme must be one of 'single', '12-crop', '144-crop'"),
    ],
)
def test_bad_arguments(image, arguments, message):
    with pytest.raises(ValueError, match=message):
        crops(image, **({"size": 8} | arguments))
