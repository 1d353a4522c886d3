import numpy as np
import pytest

from keras_segattn.visualize import Panel, line_charts

RUNS = {"scale 0.1": ([1, 2, 3], [0.7, 0.8, 0.85]), "scale 1": ([1, 2, 3], [0.5, float("nan"), 0.8])}
BLUE, ORANGE = (0, 114, 178), (230, 159, 0)


def pixels_of(picture, colour):
    return int((np.asarray(picture) == colour).all(axis=-1).sum())


@pytest.mark.parametrize("count", [1, 3])
def test_panels_stand_side_by_side_in_a_white_frame(count):
    picture = line_charts([Panel(f"panel with a $ {i}", RUNS) for i in range(count)])
    pixels = np.asarray(picture)
    assert picture.size == (480 * count, 440)
    assert all(border.min() == 255 for border in (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:]))


def test_a_name_keeps_its_colour_in_all_panels():
    alone = {"scale 1": RUNS["scale 1"]}
    left, both = line_charts([Panel("a", RUNS)]), line_charts([Panel("a", RUNS), Panel("b", alone)])
    assert pixels_of(left, BLUE) > 50
    assert pixels_of(left, ORANGE) > 50
    assert pixels_of(both, ORANGE) > 1.3 * pixels_of(left, ORANGE)  # a second line, but the same legend
    assert pixels_of(both, BLUE) < 1.1 * pixels_of(left, BLUE)


def test_logarithmic_axis():
    rates = {"a": ([0.001, 0.01, 10.0], [0.1, 0.2, 0.3])}
    linear, logarithmic = (
        np.asarray(line_charts([Panel("a", rates, "learning rate", logarithmic=log)])) for log in (False, True)
    )
    assert not np.array_equal(linear, logarithmic)


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ([], "at least one panel"),
        ([Panel("a", {})], "at least one line"),
        ([Panel("a", {"b": ([1, 2], [1])})], "'b' of 'a': expected as many x as y, received 2, 1"),
        ([Panel("a", {"b": ([], [])})], "received 0, 0"),
    ],
)
def test_bad_panels(panels, message):
    with pytest.raises(ValueError, match=message):
        line_charts(panels)
