"""Distorted digits: places of marks, dependence on the seed, and errors."""

import math

import numpy as np
import pytest
from scipy import ndimage

from keras_segattn import data
from keras_segattn.data import distorted_digits
from keras_segattn.data.distorted_digits import DISTORTIONS, SIDE
from keras_segattn.ops.portable import portable_operators

# Tolerance for float32 positions of up to 60 pixels, times differences of pixels of 0..1.
TOLERANCE = 1e-4
# Share of the sum of a smooth blob's pixels that bilinear sampling gains or loses when the blob is scaled.
MASS = 0.02
CORNERS = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], "float64")


# Compiling the sampler for every shape would take most of the time.
@pytest.fixture(autouse=True)
def _portable():
    with portable_operators():
        yield


class Chosen:
    """A generator of random numbers whose uniform numbers are given, in the order in which they are drawn."""

    def __init__(self, *values, seed=0):
        self.values, self.generator = list(values), np.random.default_rng(seed)

    def uniform(self, *range_and_shape):
        return np.broadcast_to(np.asarray(self.values.pop(0), "float64"), range_and_shape[-1])

    def __getattr__(self, name):
        return getattr(self.generator, name)


def blobs(count=4, spread=2.0):
    """Make smooth blobs off the middle, 0..1."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    middle = random.uniform(10, 17, (count, 2, 1, 1))
    return np.exp(-((x - middle[:, 0]) ** 2 + (y - middle[:, 1]) ** 2) / (2 * spread**2))[..., None].astype("float32")


def digits(count=10):
    random = np.random.default_rng(1)
    images = np.zeros((count, SIDE, SIDE), np.uint8)
    images[:, 6:22, 8:20] = random.integers(100, 256, (count, 16, 12))
    return images, np.arange(count) % 10


def all_of(batches):
    return [np.concatenate(parts) for parts in zip(*(batches[i] for i in range(len(batches))), strict=True)]


@pytest.mark.parametrize("distortion", DISTORTIONS)
@pytest.mark.parametrize("kind", [data.DistortedDigits, data.DigitSums])
def test_batches_are_pictures_and_labels(distortion, kind):
    images, labels = digits()
    batches = kind(images, labels, distortion, batch_size=4)
    assert [len(y) for _, y in (batches[i] for i in range(len(batches)))] == [4, 4, 2]
    x, y = all_of(batches)
    side = {"rotated_scaled_translated": 42, "cluttered": 60}.get(distortion, 28)
    assert DISTORTIONS[distortion].side == side
    assert x.shape == (10, side, side, 1 if kind is data.DistortedDigits else 2)
    assert (x.dtype, y.dtype, y.shape) == (np.float32, np.int32, (10,))
    assert x.min() >= 0
    assert x.max() <= 1 + 1e-6
    assert x.max(axis=(1, 2)).min() > 0.3  # something is there
    for index in (-1, 3):
        with pytest.raises(IndexError, match=f"batch {index} of 3"):
            batches[index]


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_batches_are_functions_of_seed_epoch_and_number(distortion):
    images, labels = digits()

    def made(epochs=0, **arguments):
        batches = data.DistortedDigits(images, labels, distortion, 4, **arguments)
        for _ in range(epochs):
            batches.on_epoch_end()
        return batches

    shuffled = made(shuffle=True, seed=3)
    first = all_of(shuffled)
    for x, again in zip(first, all_of(made(shuffle=True, seed=3, workers=2)), strict=True):
        np.testing.assert_array_equal(x, again)
    np.testing.assert_array_equal(shuffled[1][0], first[0][4:8])  # in any order
    shuffled.on_epoch_end()
    second = all_of(shuffled)
    assert np.abs(second[0] - first[0]).max() > 0.1
    np.testing.assert_array_equal(np.sort(second[1]), np.arange(10))
    np.testing.assert_array_equal(all_of(made(1, shuffle=True, seed=3))[0], second[0])
    assert np.abs(all_of(made(shuffle=True, seed=4))[0] - first[0]).max() > 0.1
    plain = all_of(made())
    np.testing.assert_array_equal(plain[1], np.arange(10))
    np.testing.assert_array_equal(all_of(made(2))[0], plain[0])
    differs = np.abs(all_of(made(seed=1))[0] - plain[0]).max() > 0.1
    assert differs == (distortion != "none")


def test_none_is_the_digits_in_unit_range():
    images, labels = digits()
    x, y = data.DistortedDigits(images[..., None], labels, "none")[0]
    np.testing.assert_allclose(x[..., 0] * 255, images, atol=1e-4)
    np.testing.assert_array_equal(y, labels)


def test_quarter_turns_are_anticlockwise():
    x = blobs()
    found = distorted_digits.rotated(x, Chosen([90, -90, 0, 90]))
    for image, turned, times in zip(x, found, (1, -1, 0, 1), strict=True):
        np.testing.assert_allclose(turned, np.rot90(image, times), atol=TOLERANCE)


def test_any_turn_is_scipys():
    x, angles = blobs(6), np.linspace(-80, 70, 6)
    found = distorted_digits.rotated(x, Chosen(angles))
    for image, turned, angle in zip(x, found, angles, strict=True):
        # Order 1 is bilinear, with zeros outside of the picture.
        expected = ndimage.rotate(image[..., 0], angle, reshape=False, order=1)
        np.testing.assert_allclose(turned[1:-1, 1:-1, 0], expected[1:-1, 1:-1], atol=TOLERANCE)


def test_the_angles_fill_both_quarters():
    mark = np.zeros((400, SIDE, SIDE, 1), "float32")
    mark[:, 13:15, 22:25] = 1  # to the right of the middle, so that a turn moves it to its own angle
    found = distorted_digits.rotated(mark, np.random.default_rng(0))[..., 0]
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    mass = found.sum(axis=(1, 2))
    angles = np.degrees(np.arctan2(-(found * y).sum(axis=(1, 2)) / mass, (found * x).sum(axis=(1, 2)) / mass))
    assert -91 < angles.min() < -85
    assert 85 < angles.max() < 91
    assert abs(angles.mean()) < 10


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.2])
def test_placed_digits_lie_within_the_canvas(scale):
    x = blobs(64)
    found = distorted_digits.placed(x, Chosen(0, scale), 42, (0.7, 1.2), 45)
    mass, before = (images.sum(axis=(1, 2, 3)) for images in (found, x))
    np.testing.assert_allclose(mass, before * scale**2, rtol=MASS)
    middle = _centres(found)
    start = _centres(x)
    # The middle of the digit is at least half the side of its scaled square away from the edges of the canvas.
    moved = middle - scale * (start - (SIDE - 1) / 2) + 0.5
    half = scale * SIDE / 2
    assert moved.min() >= half - 0.05
    assert moved.max() <= 42 - half + 0.05
    assert np.ptp(moved) > 0.8 * (42 - 2 * half)


def _centres(images):
    y, x = np.mgrid[: images.shape[1], : images.shape[2]]
    mass = images[..., 0].sum(axis=(1, 2))
    return np.stack([(images[..., 0] * axis).sum(axis=(1, 2)) / mass for axis in (x, y)], axis=1)


def test_strength_is_the_part_of_a_distortion():
    def placed(x, degrees, scale, place, *strength):
        generator = Chosen(degrees, scale)
        generator.random = lambda shape: np.full(shape, place)
        return distorted_digits.placed(x, generator, 42, (0.7, 1.2), 45, *strength)

    x = blobs(3)
    found = placed(x, 40, 1.2, 0.9, np.array([0, 0.5, 1]))
    np.testing.assert_allclose(found[0], np.pad(x[0], ((7, 7), (7, 7), (0, 0))), atol=TOLERANCE)
    np.testing.assert_allclose(found[1:2], placed(x[1:2], 20, 1.1, 0.7), atol=TOLERANCE)
    np.testing.assert_allclose(found[2:], placed(x[2:], 40, 1.2, 0.9), atol=TOLERANCE)


def test_rotated_scaled_translated_turns_and_scales():
    x, random = blobs(3), np.random.default_rng(5)
    places = random.random((3, 2))
    angles, scales = np.array([-45, 0, 30]), np.array([0.7, 1, 1.2])
    generator = Chosen(angles, scales)
    generator.random = lambda _: places
    found = distorted_digits.rotated_scaled_translated(x, generator)
    assert found.shape == (3, 42, 42, 1)
    start, middle = _centres(x) - (SIDE - 1) / 2, _centres(found)
    for index, (angle, scale) in enumerate(zip(np.radians(angles), scales, strict=True)):
        half = scale * SIDE / 2
        centre = half + places[index] * (42 - 2 * half) - 0.5
        # The turn is anticlockwise, as y points down.
        turn = scale * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        np.testing.assert_allclose(middle[index], centre + turn @ start[index], atol=0.02)


@pytest.mark.parametrize("scale", [1.0, 0.75])
def test_projected_corners_go_where_they_were_moved(scale, monkeypatch):
    grids = []
    monkeypatch.setattr(distorted_digits, "_read", lambda _, grid: grids.append(np.asarray(grid)))
    thetas = []
    projective = distorted_digits.projective_grid
    monkeypatch.setattr(
        distorted_digits, "projective_grid", lambda theta, size: thetas.append(theta) or projective(theta, size)
    )
    generator = Chosen(scale, seed=7)
    moves = distorted_digits._convex_moves(20, CORNERS, np.random.default_rng(7))
    distorted_digits.projected(np.zeros((20, SIDE, SIDE, 1), "float32"), generator)
    for theta, moved in zip(thetas[0].astype("float64"), CORNERS + moves, strict=True):
        u, v, w = theta @ np.column_stack([moved, np.ones(4)]).T
        # A smaller digit does not fill the picture: its corners are inside.
        np.testing.assert_allclose(np.stack([u / w, v / w], axis=1), CORNERS / scale, rtol=1e-4, atol=1e-4)
        assert (w > 0).all()
    assert grids[0].shape == (20, SIDE, SIDE, 2)


def test_a_picture_without_moves_is_only_scaled(monkeypatch):
    monkeypatch.setattr(distorted_digits, "_convex_moves", lambda count, *_: np.zeros((count, 4, 2)))
    x = blobs()
    np.testing.assert_allclose(distorted_digits.projected(x, Chosen(1)), x, atol=TOLERANCE)
    half = distorted_digits.projected(x, Chosen(0.75))
    np.testing.assert_allclose(half.sum(axis=(1, 2, 3)), 0.75**2 * x.sum(axis=(1, 2, 3)), rtol=MASS)
    middle = (SIDE - 1) / 2
    np.testing.assert_allclose(_centres(half) - middle, 0.75 * (_centres(x) - middle), atol=0.02)


def test_no_quadrilateral_is_folded():
    moves = distorted_digits._convex_moves(2000, CORNERS, np.random.default_rng(0))
    moved = CORNERS + moves
    for corner in range(4):
        before, here, after = (moved[:, (corner + step) % 4] for step in (-1, 0, 1))
        (a, b), (c, d) = (here - before).T, (after - here).T
        assert (a * d - b * c > 0).all()
    pixels = moves * (SIDE - 1) / 2
    assert abs(pixels.mean()) < 0.5
    assert 4 < pixels.std() < 5.1  # five, and less because folded ones are drawn again


def test_elastic_moves_are_small_and_smooth(monkeypatch):
    grids = []
    monkeypatch.setattr(distorted_digits, "_read", lambda _, grid: grids.append(np.asarray(grid)))
    distorted_digits.elastic(np.zeros((300, SIDE, SIDE, 1), "float32"), np.random.default_rng(0))
    axis = np.linspace(-1, 1, SIDE)
    moves = grids[0] - np.stack(np.meshgrid(axis, axis), axis=-1)
    at_control = moves[:, ::9, ::9] * (SIDE - 1) / 2  # pixels 0, 9, 18 and 27 are the control points
    assert abs(at_control.std() - 1.5) < 0.05
    assert abs(at_control.mean()) < 0.05
    assert np.abs(np.diff(moves, 2, axis=1)).max() < 0.1


def test_clutter_is_the_digit_and_pieces_of_others():
    x = np.stack([np.full((SIDE, SIDE, 1), value, "float32") for value in (0.2, 0.4, 0.6, 0.8)])
    found = distorted_digits.cluttered(x, np.random.default_rng(0))
    assert found.shape == (4, 60, 60, 1)
    for image, value in zip(found[..., 0], (0.2, 0.4, 0.6, 0.8), strict=True):
        assert set(np.unique(image)) <= set(np.float32([0, 0.2, 0.4, 0.6, 0.8]))
        # A digit is complete except for brighter pieces over it.
        whole = image >= np.float32(value)
        sums = ndimage.uniform_filter(whole.astype("float64"), SIDE, mode="constant")
        assert sums.max() > 1 - 1e-9
        assert 0 < (image > 0).sum() - SIDE**2 <= 6 * 36


def test_a_digit_without_clutter_keeps_every_pixel():
    x = (blobs(32) * 255).round()
    found, boxes = data.digit_scenes(x.astype("uint8"), side=40)
    x /= 255
    assert found.shape == (32, 40, 40, 1)
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3)), x.sum(axis=(1, 2, 3)), rtol=1e-5)
    moved = _centres(found) - _centres(x)
    np.testing.assert_allclose(moved, boxes[:, :2], atol=1e-3)
    np.testing.assert_array_equal(boxes[:, 2:] - boxes[:, :2], SIDE)
    assert (moved.max(axis=0) > 8).all()


def test_sums_are_of_the_two_digits_in_the_channels():
    # The grey of a picture identifies the digit.
    labels = np.arange(40) % 10
    images = np.broadcast_to((20 * labels + 20)[:, None, None], (40, SIDE, SIDE)).astype(np.uint8)
    for shuffle in (False, True):
        x, y = all_of(data.DigitSums(images, labels, "none", 16, shuffle=shuffle))
        shown = (x[:, 0, 0] * 255).round() / 20 - 1
        np.testing.assert_array_equal(shown.sum(axis=1).round(), y)
        assert len(set(shown[:, 1])) > 5
        if not shuffle:
            np.testing.assert_array_equal(shown[:, 0].round(), labels)
    one, other = np.moveaxis(data.DigitSums(images[:1], labels[:1], "rotated")[0][0][0], -1, 0)
    assert np.abs(one - other).max() > 0.01  # each is distorted on its own


@pytest.mark.parametrize(
    ("images", "labels", "arguments", "message"),
    [
        (
            np.zeros((3, 28, 28), "float32"),
            [1, 2, 3],
            {},
            r"expected digits uint8 \(n, 28, 28\), n > 0, received float32",
        ),
        (np.zeros((3, 32, 32), "uint8"), [1, 2, 3], {}, r"received uint8 \(3, 32, 32, 1\)"),
        (np.zeros((3, 28, 28, 3), "uint8"), [1, 2, 3], {}, r"received uint8 \(3, 28, 28, 3\)"),
        (np.zeros((28, 28), "uint8"), [1], {}, r"received uint8 \(28, 28\)"),
        (np.zeros((0, 28, 28), "uint8"), [], {}, "n > 0"),
        (np.zeros((3, 28, 28), "uint8"), [1, 2], {}, r"expected 3 integer labels, received int64 \(2,\)"),
        (np.zeros((3, 28, 28), "uint8"), [1.0, 2, 3], {}, "expected 3 integer labels, received float64"),
        (np.zeros((1, 28, 28), "uint8"), [1], {"distortion": "blurred"}, "distortion must be one of 'none', 'rotated'"),
        (np.zeros((1, 28, 28), "uint8"), [1], {"batch_size": 0}, "batch_size must be a positive integer, received 0"),
        (np.zeros((1, 28, 28), "uint8"), [1], {"shuffle": "yes"}, "shuffle must be one of True, False, received 'yes'"),
    ],
)
@pytest.mark.parametrize("kind", [data.DistortedDigits, data.DigitSums])
def test_bad_arguments_are_named(images, labels, arguments, message, kind):
    with pytest.raises(ValueError, match=message):
        kind(images, np.array(labels), **{"distortion": "rotated"} | arguments)
