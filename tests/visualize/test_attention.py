"""Pictures of attention, checked pixel by pixel."""

import numpy as np
import pytest

from keras_segattn.visualize import alignment, attended_words

IMAGE = np.full((32, 32, 3), 200, "uint8")


def test_an_alignment_is_light_where_the_weights_are():
    """A permutation of three words gives three white squares of one size, none of them on the diagonal."""
    weights = np.eye(3)[[1, 2, 0]]
    pixels = np.asarray(alignment(weights, ["x", "y", "z"], ["a", "b", "$c$"]))
    black = (pixels == 0).all(axis=-1)
    rows, columns = np.nonzero(black.sum(axis=1) > 30)[0], np.nonzero(black.sum(axis=0) > 30)[0]
    square = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = square.shape[0] / 3, square.shape[1] / 3
    for t in range(3):
        for s in range(3):
            middle = square[int((t + 0.5) * height), int((s + 0.5) * width)]
            assert (middle == 255 * weights[t, s]).all()


def test_a_word_lights_the_part_of_the_picture_that_it_looked_at():
    weights = np.zeros((2, 16), "float32")
    weights[0, 0] = 1
    weights[1, 15] = 0.5
    page = np.asarray(attended_words(IMAGE, ["left", "right"], weights))
    cell, top, gap = 256, 28, 8
    first, second = (
        page[gap + top : gap + top + cell, gap + n * (cell + gap) : gap + n * (cell + gap) + cell] for n in (1, 2)
    )
    assert first[20, 20].max() > 180
    assert first[-20, -20].max() < 40
    assert second[-20, -20].max() > 180
    assert second[20, 20].max() < 40


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: alignment(np.ones((2, 3)), ["a", "b"], ["c", "d"]), "shape"),
        (lambda: alignment(np.full((1, 1), np.nan), ["a"], ["b"]), "within 0..1"),
        (lambda: alignment(np.full((1, 1), 2.0), ["a"], ["b"]), "within 0..1"),
        (lambda: alignment(np.ones((0, 0)), [], []), "shape"),
        (lambda: attended_words(IMAGE / 2, ["a"], np.ones((1, 4))), "uint8"),
        (lambda: attended_words(IMAGE, ["a", "b"], np.ones((1, 4))), "of 2 words"),
        (lambda: attended_words(IMAGE, ["a"], np.ones((1, 6))), "grid of 6 locations"),
        (lambda: attended_words(IMAGE, ["a"], np.ones((1, 6)), (2, 2)), "grid of 6 locations"),
    ],
)
def test_what_cannot_be_drawn(call, message):
    with pytest.raises(ValueError, match=message):
        call()
