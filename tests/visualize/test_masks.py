import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn.visualize import background_of, overlay, palette, save, side_by_side

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (12, 20, 3), np.uint8)
MASK = RNG.integers(0, 3, (12, 20), np.uint8)
# Blending rounds to the nearest intensity.
ROUNDING = 0.5 + 1e-6


def colours_of(picture):
    return {tuple(int(value) for value in colour) for colour in np.unique(np.asarray(picture).reshape(-1, 3), axis=0)}


def is_framed_in_white(picture):
    pixels = np.asarray(picture)
    return all(border.min() == 255 for border in (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:]))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), alpha=st.floats(0, 1))
def test_every_pixel_becomes_an_exact_square(seed, alpha):
    rng = np.random.default_rng(seed)
    mask = rng.choice([0, 1, 255], (5, 7))
    image = rng.integers(0, 256, (5, 7, 3), np.uint8)
    picture = np.asarray(overlay(image, mask, colors=palette(2), alpha=alpha))
    assert picture.shape == (5 * 74, 7 * 74, 3)  # 74 is the first factor that leads to 512 pixels
    tint = (1 - alpha) * image + alpha * palette(2)[mask.clip(max=1)].astype(float)
    expected = np.where((mask == 255)[..., None], image, tint).repeat(74, axis=0).repeat(74, axis=1)
    assert np.abs(picture - expected).max() <= ROUNDING


def test_a_legend_is_added_below_and_nothing_else_changes():
    plain = np.asarray(overlay(IMAGE, MASK, colors=palette(3)))
    labelled = np.asarray(overlay(IMAGE, MASK, labels=["sea", "land", "lake"]))
    height, width = plain.shape[:2]
    np.testing.assert_array_equal(labelled[12 : 12 + height, 12 : 12 + width], plain)
    assert {tuple(colour) for colour in palette(3).tolist()} <= colours_of(labelled[12 + height :])


def test_the_legend_holds_the_classes_that_occur():
    mask = np.zeros((100, 150), int)
    mask[:, 75:] = 2
    picture = overlay(np.full((100, 150, 3), 90, np.uint8), mask, labels=["sea", "land", "lake"], alpha=1.0)
    assert picture.mode == "RGB"
    sea, land, lake = map(tuple, palette(3).tolist())
    assert {sea, lake} <= colours_of(picture)
    assert land not in colours_of(picture)


def test_ignored_pixels_keep_their_colour():
    image = np.full((60, 60, 3), (12, 34, 56), np.uint8)
    every = np.full((60, 60), 255)
    assert colours_of(overlay(image, every, alpha=1.0)) == {(12, 34, 56)}
    assert (12, 34, 56) in colours_of(overlay(image, every, labels=["sea"], alpha=1.0))
    assert colours_of(overlay(image, every, alpha=1.0, ignore_label=None)) == {tuple(palette(256)[255].tolist())}


def test_one_class_stays_clear():
    image = np.full((60, 60, 3), (12, 34, 56), np.uint8)
    mask = np.zeros((60, 60), int)
    mask[:, 30:] = 1
    blue, orange = map(tuple, palette(2).tolist())
    assert colours_of(overlay(image, mask, alpha=1.0)) == {blue, orange}
    assert colours_of(overlay(image, mask, alpha=1.0, clear=0)) == {(12, 34, 56), orange}
    assert colours_of(overlay(image, 0 * mask, alpha=1.0, clear=1)) == {blue}
    with_legend = colours_of(overlay(image, mask, labels=["background", "cat"], alpha=1.0, clear=0))
    assert {(12, 34, 56), orange} <= with_legend
    assert blue not in with_legend
    assert blue not in colours_of(side_by_side(image, mask, mask, labels=["background", "cat"], clear=0))
    colors = palette(2)
    overlay(image, mask, colors=colors, clear=0)
    np.testing.assert_array_equal(colors, palette(2))
    for clear in (2, -1):
        with pytest.raises(ValueError, match=rf"clear must be a class 0\.\.1, received {clear}"):
            overlay(image, mask, colors=colors, clear=clear)


@pytest.mark.parametrize(
    ("labels", "number"),
    [
        (["background", "cat"], 0),
        (["__background__", "cat"], 0),
        (["cat", "_Background_"], 1),
        (["sea", "land"], None),
        ([], None),
        (None, None),
    ],
)
def test_the_background_is_known_by_its_name(labels, number):
    assert background_of(labels) == number


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (1200, 900), (180, 180)])
def test_a_legend_fits_any_picture(size):
    picture = overlay(np.zeros((*size, 3), np.uint8), np.zeros(size, int), labels=["a rather _long $name of a $class"])
    assert is_framed_in_white(picture)
    assert 512 <= max(picture.size) <= 1300


def test_long_legend_is_not_cut():
    mask = np.arange(21 * 40).reshape(21, 40) % 21
    labels = [f"_class with a long $name$ {i}" for i in range(21)]
    assert is_framed_in_white(overlay(np.zeros((21, 40, 3), np.uint8), mask, labels=labels))


def test_side_by_side_has_three_panels_and_one_legend():
    truth = np.zeros((50, 80), int)
    truth[:, :10] = 255
    prediction = np.zeros((50, 80), int)
    prediction[:25, 40:] = 1
    image = np.full((50, 80, 3), (200, 10, 10), np.uint8)
    picture = side_by_side(image, truth, prediction, labels=["sea", "land"], alpha=1.0)
    assert is_framed_in_white(picture)
    pixels = np.asarray(picture)
    sea, land = map(tuple, palette(2).tolist())
    left, middle, right = (colours_of(pixels[40:200, x : x + 320]) for x in (12, 344, 676))
    assert left == {(200, 10, 10)}
    assert middle == {(200, 10, 10), sea}
    assert right == {sea, land}
    plain = np.asarray(side_by_side(image, truth, prediction, alpha=1.0))
    assert len(plain) < len(pixels)
    np.testing.assert_array_equal(plain[40:200], pixels[40:200])


def test_pyplot_is_left_alone():
    settings_before = dict(mpl.rcParams)
    overlay(IMAGE, MASK, labels=["a", "b", "c"])
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == settings_before


def test_own_colours():
    colors = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.uint8)
    assert colours_of(overlay(IMAGE, np.full((12, 20), 1), colors=colors, alpha=1.0)) == {(4, 5, 6)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((IMAGE.astype("float32"), MASK), "expected a uint8 image .* received float32"),
        ((IMAGE[..., 0], MASK), r"expected a uint8 image .* received uint8 \(12, 20\)"),
        ((IMAGE[:0], MASK), r"expected a uint8 image .* received uint8 \(0, 20, 3\)"),
        ((IMAGE, MASK[:5]), r"mask: expected integers \(12, 20\), received uint8 \(5, 20\)"),
        ((IMAGE, MASK.astype("float32")), "mask: expected integers .* received float32"),
        ((IMAGE, np.full((12, 20), 7)), r"labels 0\.\.2 or 255, received a mask that holds 7"),
        ((IMAGE, np.full((12, 20), -1)), r"labels 0\.\.2 or 255, received a mask that holds -1"),
    ],
)
def test_wrong_pictures_and_masks(arguments, message):
    with pytest.raises(ValueError, match=message):
        overlay(*arguments, labels=["a", "b", "c"])


def test_wrong_settings():
    with pytest.raises(ValueError, match=r"alpha must be in 0\.\.1, received 1\.5"):
        overlay(IMAGE, MASK, alpha=1.5)
    for colors in (np.zeros(3, np.uint8), np.zeros((3, 3))):
        with pytest.raises(ValueError, match=r"expected uint8 colors \(classes, 3\), received"):
            overlay(IMAGE, MASK, colors=colors)
    with pytest.raises(ValueError, match="expected 3 names of classes, received 2: a, b"):
        overlay(IMAGE, MASK, labels=["a", "b"], colors=palette(3))
    with pytest.raises(ValueError, match=r"prediction: expected integers \(12, 20\), received uint8 \(3, 20\)"):
        side_by_side(IMAGE, MASK, MASK[:3])


def test_save_is_whole_or_not_at_all(tmp_path):
    picture = overlay(IMAGE, MASK)
    for name in ("a.png", "b.JPG"):
        save(picture, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    before = (tmp_path / "a.png").read_bytes()
    for suffix in (".txt", "", ".psd"):  # Pillow reads the last one only
        with pytest.raises(ValueError, match=rf"image suffix such as \.png, received '{suffix}'"):
            save(picture, tmp_path / f"a{suffix}")
    with pytest.raises(FileNotFoundError):
        save(picture, tmp_path / "missing" / "a.png")

    class Failing:
        def save(self, path):
            path.write_bytes(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        save(Failing(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.JPG"]
