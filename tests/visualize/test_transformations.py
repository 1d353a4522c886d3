"""Pictures of spatial transformers, checked pixel by pixel."""

import keras
import numpy as np
import pytest
from PIL import Image

from keras_segattn.attention import SpatialTransformerNetwork
from keras_segattn.layers import SpatialTransformer
from keras_segattn.ops.grids import regular_grid
from keras_segattn.visualize import TransformerFrames, sampled_grid, save_animation, transformer_panels

GREY = np.full((28, 28), 0.2, "float32")
IDENTITY = regular_grid((28, 28))
ORANGE, BLUE, YELLOW, MARGIN = (230, 159, 0), (86, 180, 233), (240, 228, 66), (96, 96, 96)
PICTURE = (51, 51, 51)


def where(picture, colour):
    """Rows and columns of the pixels of a colour."""
    return np.nonzero((np.asarray(picture) == colour).all(axis=-1))


@pytest.mark.parametrize(("align_corners", "edge"), [(True, 100 * 0.5 / 28), (False, 0.0)])
def test_the_outline_of_the_identity_is_on_the_border(align_corners, edge):
    """The outline runs through the middle of the outermost pixels or, without aligned corners, along their edge."""
    drawn = sampled_grid(GREY, IDENTITY, align_corners=align_corners, cells=1, margin=0.5, size=200)
    assert drawn.size == (200, 200)
    rows, columns = where(drawn, BLUE)
    assert abs(rows.max() - (150 - edge)) < 2
    assert abs(columns.min() - (50 + edge)) < 2
    assert abs(columns.max() - (150 - edge)) < 2
    rows, columns = where(drawn, ORANGE)
    assert abs(rows.mean() - (50 + edge)) < 1
    assert abs(columns.mean() - 100) < 1
    pixels = np.asarray(drawn)
    assert tuple(pixels[20, 20]) == MARGIN
    assert tuple(pixels[100, 100]) == PICTURE


def test_the_transformers_own_grid_lies_where_its_output_is_read():
    """After a quarter turn to the left, the upper edge of the output is the right edge of the picture."""
    layer = SpatialTransformer("affine")
    grid = layer.grid(np.array([[0, -1, 0, 1, 0, 0]], "float32"), (28, 28))[0]
    rows, columns = where(sampled_grid(GREY, grid, cells=1, margin=0.5, size=200), ORANGE)
    assert columns.min() > 145
    assert rows.max() - rows.min() > 90


def test_points_outside_the_picture_are_in_the_margin():
    drawn = sampled_grid(GREY, IDENTITY + np.array([1.0, 0.0]), cells=1, size=200)
    wide = sampled_grid(GREY, 1.5 * IDENTITY, cells=1, size=200)
    far = sampled_grid(GREY, 1e9 * IDENTITY, cells=1, size=200)
    assert where(drawn, BLUE)[1].max() > 190
    assert where(wide, PICTURE)[1].min() > 30  # the margin is 0.29 of the side
    assert where(wide, BLUE)[1].min() < 10
    assert not where(far, BLUE)[0].size


@pytest.mark.parametrize(
    ("arguments", "cells"),
    [({"cells": 1}, 1), ({"cells": 2}, 2), ({}, 4), ({"offsets": np.zeros((9, 2)), "points": (3, 3)}, 2)],
)
def test_lines_divide_the_grid(arguments, cells):
    drawn = np.asarray(sampled_grid(GREY, IDENTITY, margin=0.1, size=512, **arguments))
    # A row of pixels along which there are no lines and no points.
    lines = (drawn[512 // 2 + 30] != PICTURE).any(axis=-1)[60:-60]
    assert int(np.diff(lines.astype(int)).clip(min=0).sum()) == cells - 1


def test_control_points_are_dots_where_they_read():
    offsets = np.zeros((16, 2))
    offsets[5] = (0.4, 0.4)
    still, moved = (sampled_grid(GREY, IDENTITY, offsets=moves, size=512) for moves in (np.zeros(32), offsets))
    assert len(where(still, YELLOW)[0]) > 16 * 20
    assert len(where(moved, YELLOW)[0]) > len(where(still, YELLOW)[0])
    # The point moves from -1/3 to 0.4 - 1/3, in units of half a side.
    row = round(256 + 512 / 1.16 / 2 * (0.4 - 1 / 3) * 27 / 28)
    assert tuple(np.asarray(moved)[row, row]) == YELLOW
    assert tuple(np.asarray(still)[row, row]) == PICTURE


@pytest.mark.parametrize("shape", [(1, 1), (5, 300, 3), (700, 900, 1), (28, 28, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_pictures_of_any_size(shape, dtype):
    drawn = sampled_grid(np.zeros(shape, dtype), regular_grid((3, 5)))
    assert max(drawn.size) >= 512
    assert max(drawn.size) < 512 or max(drawn.size) >= max(shape)
    assert where(drawn, ORANGE)[0].size


def test_panels_hold_input_and_output_side_by_side():
    white = np.full((2, 10, 10, 1), 255, "uint8")
    page = transformer_panels([GREY, GREY], [IDENTITY] * 2, white, columns=2, size=100)
    titled = transformer_panels([GREY, GREY], [IDENTITY] * 2, white, ["7", "2"], heading="rotated", size=100)
    columns = where(page, ORANGE)[1]
    # Two grids and two frames, which are wider than the grids; both pairs are in the same rows.
    assert len(np.unique(columns)) > 2 * (80 + 100)
    assert page.height < 130
    assert titled.height > 2 * page.height
    assert titled.width < page.width
    narrow = transformer_panels([GREY], [IDENTITY], white[:1, :, :5], size=100)
    assert narrow.width < titled.width


FRAMES = [Image.new("RGB", (20, 10), (80 * number, 0, 0)) for number in range(3)]


@pytest.mark.parametrize("suffix", [".gif", ".png", ".apng"])
def test_an_animation_has_its_frames_and_times(suffix, tmp_path):
    save_animation(FRAMES, tmp_path / f"film{suffix}", seconds_per_frame=[0.1, 0.1, 0.5])
    with Image.open(tmp_path / f"film{suffix}") as film:
        assert (film.n_frames, film.size, film.info["loop"]) == (3, (20, 10), 0)
        for number, (frame, time) in enumerate(zip(FRAMES, (100, 100, 500), strict=True)):
            film.seek(number)
            assert film.info["duration"] == time
            assert film.convert("RGB").getpixel((3, 3)) == frame.getpixel((0, 0))


@pytest.mark.parametrize(
    ("frames", "name", "seconds", "message"),
    [
        (FRAMES, "film.jpg", 0.1, r"film.jpg: expected an animation's suffix, .gif, .png or .apng, received '.jpg'"),
        (FRAMES, "film", 0.1, "received ''"),
        ([], "film.gif", 0.1, "at least one frame, all of one size, received 0"),
        ([*FRAMES, FRAMES[0].resize((3, 3))], "film.gif", 0.1, r"received 4 of sizes \[\(3, 3\), \(20, 10\)\]"),
        (FRAMES, "film.gif", 0.0, "seconds_per_frame must be one number or 3, at least 0.02, received 0.0"),
        (FRAMES, "film.gif", [0.1, 0.1], "seconds_per_frame"),
    ],
)
def test_what_is_no_animation_leaves_no_file(frames, name, seconds, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save_animation(frames, tmp_path / name, seconds)
    assert not list(tmp_path.iterdir())


def test_a_failed_animation_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "film.png"
    save_animation(FRAMES, path)
    old = path.read_bytes()

    def fail(self, file, *_, **__):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_animation(FRAMES[:1], path)
    assert [file.name for file in tmp_path.iterdir()] == ["film.png"]
    assert path.read_bytes() == old


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": np.zeros((28, 28, 2), "uint8")}, r"expected a picture .* received uint8 \(28, 28, 2\)"),
        ({"image": np.zeros((28, 28), "int64")}, "received int64"),
        ({"image": np.zeros((0, 28), "uint8")}, r"received uint8 \(0, 28\)"),
        ({"image": GREY * 10}, "float picture within 0..1, received 2.0 to 2.0"),
        ({"image": GREY * np.nan}, "float picture within 0..1, received nan"),
        ({"grid": IDENTITY[None]}, r"expected a grid \(rows, columns, 2\)"),
        ({"grid": IDENTITY[:1]}, r"received finite \(1, 28, 2\)"),
        ({"grid": IDENTITY * np.inf}, "received NaN or infinite"),
        ({"offsets": np.zeros((9, 2))}, r"of 16 points, received shape \(9, 2\)"),
        ({"offsets": np.zeros((4, 2)), "points": (1, 4)}, "at least 2 by 2 control points"),
        ({"cells": 0}, "cells must be a positive integer, received 0"),
        ({"size": 0}, "size must be a positive integer, received 0"),
        ({"margin": -1}, r"margin must be a share in 0\.\.10, received -1"),
        ({"align_corners": "yes"}, "align_corners must be one of True, False"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        sampled_grid(**{"image": GREY, "grid": IDENTITY} | changes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [], []), "expected pictures, and as many of all else, received 0"),
        (([GREY], [IDENTITY], [GREY, GREY]), "received 1 and {'grids': 1, 'transformed': 2}"),
        (([GREY], [IDENTITY], [GREY], ["7", "2"]), "'titles': 2"),
        (([GREY], [IDENTITY], [GREY * 9]), "within 0..1"),
    ],
)
def test_bad_panels_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        transformer_panels(*arguments)


PICTURES = np.random.default_rng(0).random((8, 28, 28, 1), "float32")
LABELS = np.arange(8)


def network(transform="affine", **changes):
    model = SpatialTransformerNetwork(classifier="fcn", transform=transform, units=4, **changes)
    model.compile("sgd", {"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}, jit_compile=False)
    return model


def fit(model, film, epochs=2):
    return model.fit(PICTURES, {"logits": LABELS}, batch_size=2, epochs=epochs, verbose=0, callbacks=[film])


@pytest.mark.parametrize(("every", "frames"), [(None, 3), (3, 4), pytest.param(100, 2, marks=pytest.mark.thorough)])
def test_training_is_filmed(every, frames, tmp_path):
    """In two epochs of four updates: one frame before, then one per epoch, or after 3, 6 and 8, or at the end."""
    film = TransformerFrames(PICTURES[:2], tmp_path / "film.gif", every=every, labels=LABELS[:2], size=50)
    fit(network(), film)
    assert len(film.frames) == frames
    assert [file.name for file in tmp_path.iterdir()] == ["film.gif"]
    with Image.open(tmp_path / "film.gif") as written:
        assert written.n_frames == frames
        assert written.size == film.frames[0].size


@pytest.mark.parametrize("classes", [None, 10])
def test_a_spline_with_its_own_network_and_any_output_is_filmed(classes, tmp_path):
    """The transformer predicts its parameters itself, in a model whose only output is class scores or a picture."""
    image = keras.Input((28, 28, 1))
    warped, _ = SpatialTransformer("thin_plate_spline", keras.layers.Flatten(), output_size=14, name="warp")(image)
    output = warped if classes is None else keras.layers.Dense(classes)(keras.layers.Flatten()(warped))
    model = keras.Model(image, output)
    model.compile("sgd", "mse", jit_compile=False)
    film = TransformerFrames(PICTURES[:1], tmp_path / "film.png", layer="warp")
    targets = np.zeros((8, *output.shape[1:]), "float32")
    model.fit(PICTURES, targets, batch_size=8, verbose=0, callbacks=[film])
    assert len(film.frames) == 2
    assert where(film.frames[0], YELLOW)[0].size > 16
    with Image.open(tmp_path / "film.png") as written:
        assert written.n_frames == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "film.txt"}, "expected an animation's suffix"),
        ({"images": PICTURES[0]}, r"expected pictures \(n, height, width, channels\), received \(28, 28, 1\)"),
        ({"labels": [1]}, "expected a label for each of 8 pictures, received 1"),
        ({"every": 0}, "every must be a positive integer, received 0"),
    ],
)
def test_bad_films_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        TransformerFrames(**{"images": PICTURES, "path": "film.gif"} | changes)


@pytest.mark.parametrize(
    ("model", "layer", "message"),
    [
        (network, "fc1", "expected 'fc1' to be one SpatialTransformer, received <Dense"),
        (network, "nothing", "No such layer: nothing"),
        (lambda: network(transformers=2), "st", "expected 'st' to be one SpatialTransformer"),
    ],
)
def test_models_without_a_transformer_cannot_be_filmed(model, layer, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        fit(model(), TransformerFrames(PICTURES, tmp_path / "film.gif", layer=layer))
    assert not list(tmp_path.iterdir())


def test_a_film_needs_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a folder to write into"):
        fit(network(), TransformerFrames(PICTURES, tmp_path / "missing" / "film.gif"))
