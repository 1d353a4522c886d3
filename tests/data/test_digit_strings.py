"""Scenes of digits, from squares for digits and plain or noisy backgrounds."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_segattn import data
from keras_segattn.data.digit_strings import LUMA, MARGIN
from keras_segattn.data.tux_paint_sources import split_of
from keras_segattn.metrics import StringAccuracy

WIDTHS = (8, 12, 16, 20, 24, 6, 10, 14, 18, 22)
# Smooth edges reach a pixel further than the digit; pixels that no string covers are exact in 8 bits.
EDGE = 1
EXACT = 1e-6
# A fully covered pixel has the least contrast of colours, 0.45, times the least opacity, 0.8; smooth edges have less.
CONTRAST = 0.3


def digits(count=40):
    """Make white bars in place of digits; the width of a bar identifies the digit."""
    images, labels = np.zeros((count, 28, 28), np.uint8), np.arange(count) % 10
    for image, label in zip(images, labels, strict=True):
        image[4:24, 14 - WIDTHS[label] // 2 : 14 + WIDTHS[label] // 2] = 255
    return images, labels


def noise(count=3, sides=(70, 90)):
    random = np.random.default_rng(1)
    return [random.integers(0, 256, (*sides, 3), np.uint8) for _ in range(count)]


def plain(value):
    return [np.full((50, 50, 3), value, np.uint8)]


def strings(backgrounds=None, **changes):
    arguments = {"count": 12, "batch_size": 5, "size": 32} | changes
    return data.DigitStrings(*digits(), backgrounds or noise(), **arguments)


def all_of(batches):
    return [np.concatenate(parts) for parts in zip(*(batches[i] for i in range(len(batches))), strict=True)]


def test_batches_are_pictures_and_labels():
    batches = strings()
    assert [len(label) for _, label in (batches[i] for i in range(len(batches)))] == [5, 5, 2]
    image, label = all_of(batches)
    assert (image.shape, image.dtype, label.shape, label.dtype) == ((12, 32, 32, 3), np.float32, (12, 5), np.int32)
    assert image.min() >= 0
    assert image.max() <= 1
    for index in (-1, 3):
        with pytest.raises(IndexError, match=r"0\.\.2"):
            batches[index]


@settings(max_examples=15, deadline=None)
@given(fewest=st.integers(1, 5), more=st.integers(0, 4), seed=st.integers(0, 2**40))
def test_labels_are_digits_then_blanks(fewest, more, seed):
    most = min(5, fewest + more)
    _, label = all_of(strings(plain(9), digits=(fewest, most), seed=seed, count=40, batch_size=40))
    lengths = (label != data.BLANK).sum(axis=1)
    assert set(lengths) <= set(range(fewest, most + 1))
    for row, length in zip(label, lengths, strict=True):
        assert (row[:length] < 10).all()
        assert (row[length:] == data.BLANK).all()


def test_scenes_depend_on_seed_epoch_and_place_alone():
    batches = strings(fresh=True)
    first = all_of(batches)
    for same in (strings(fresh=True), strings(fresh=True, batch_size=7), strings(fresh=True, count=12, workers=2)):
        for one, other in zip(first, all_of(same), strict=True):
            np.testing.assert_array_equal(one, other)
    longer = strings(fresh=True, count=50, batch_size=3)
    np.testing.assert_array_equal(longer[1][0], first[0][3:6])
    batches.on_epoch_end()
    second = all_of(batches)
    assert not any((a == b).all() for a, b in zip(first[0], second[0], strict=True))
    batches.epoch = 0
    np.testing.assert_array_equal(all_of(batches)[0], first[0])
    assert not (all_of(strings(seed=1))[0] == all_of(strings())[0]).all()
    assert len({image.tobytes() for image in all_of(strings(count=100))[0]}) == 100


def test_scenes_of_a_test_stay():
    batches = strings()
    first = all_of(batches)
    batches.on_epoch_end()
    for one, other in zip(first, all_of(batches), strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(24, 80),
    height=st.floats(0.2, 1),
    rotation=st.floats(0, 180),
    grey=st.integers(0, 255),
)
def test_strings_are_whole_and_can_be_told_from_what_is_behind(seed, size, height, rotation, grey):
    batches = strings(plain(grey), seed=seed, size=size, height=(height / 2, height), rotation=rotation)
    for image in all_of(batches)[0]:
        ink = np.abs(image - grey / 255).max(axis=-1) > EXACT
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        for found in (rows, columns):
            assert MARGIN - EDGE <= found[0] <= found[-1] < size - MARGIN + EDGE
        if size >= 60:  # in smaller scenes perhaps no pixel is wholly covered
            assert np.abs((image @ LUMA)[ink] - grey / 255).max() > CONTRAST


def test_digits_stand_from_left_to_right_at_the_height_drawn():
    """Upright bars, far enough from each other to be counted and measured along a row."""
    batches = strings(plain(0), size=200, height=(0.2, 0.2), rotation=0, count=60, batch_size=60)
    sizes, places = [], []
    for image, label in zip(*all_of(batches), strict=True):
        ink = image.max(axis=-1) > EXACT
        rows, columns = ink.any(axis=1), np.flatnonzero(np.diff(np.pad(ink.any(axis=0), 1).astype(int)))
        starts, ends = columns[::2], columns[1::2]
        wanted = [WIDTHS[digit] for digit in label if digit != data.BLANK]
        if len(starts) == len(wanted):  # in a slightly turned string, two bars may share columns
            middle = ink[:, (starts + ends) // 2]
            heights = middle.sum(axis=0)
            widths = (ends - starts) / heights.max() * 20
            sizes.append(np.flatnonzero(rows)[[0, -1]] @ (-1, 1) + 1)
            places.append((starts[0], np.flatnonzero(rows)[0]))
            # The difference comes from an edge, a turn of 6° (which widens a bar of height 20 by 2.1) and ±12 % growth.
            np.testing.assert_allclose(widths, wanted, atol=7)
    assert len(sizes) > 20
    assert min(sizes) >= 38
    assert max(sizes) <= 40 * 1.35
    assert np.ptp(places, axis=0).min() > 80  # anywhere


def test_strings_are_as_large_as_drawn():
    low, high = (
        [
            (np.abs(image).max(axis=-1) > EXACT).any(axis=1).sum() / 64
            for image in all_of(strings(plain(0), size=64, digits=(1, 1), height=height, count=200, batch_size=200))[0]
        ]
        for height in ((0.2, 0.2), (0.2, 0.8))
    )
    assert max(low) < 0.4
    assert max(high) > 0.7
    assert min(high) < 0.3


def test_backgrounds_are_pieces_of_photographs():
    picture = np.zeros((60, 90, 3), np.uint8)
    picture[:, :45, 0], picture[:, 45:, 2] = 255, 255
    image, _ = all_of(strings([picture], count=40, height=(0.05, 0.1)))
    red, blue = (image[..., c].mean(axis=(1, 2)) for c in (0, 2))
    assert (red > 0.9).any()  # pieces of the left only,
    assert (blue > 0.9).any()  # of the right only,
    assert ((red > 0.2) & (blue > 0.2)).any()  # and of both
    assert (image[0] != all_of(strings([picture[::2]], height=(0.05, 0.1)))[0][0]).any()


def test_digits_with_a_channel_are_the_same():
    images, labels = digits()
    one, other = (data.DigitStrings(array, labels, noise(), 4, count=4)[0] for array in (images, images[..., None]))
    np.testing.assert_array_equal(one[0], other[0])


def test_photographs_of_splits_are_different_ones(tmp_path):
    for place in range(10):
        Image.new("RGB", (300, 200), (place, 0, 0)).save(tmp_path / f"{place}.png")
    found = {split: data.photographs(tmp_path, split, side=50) for split in ("train", "validation", "test")}
    values = {split: [int(one[0, 0, 0]) for one in pictures] for split, pictures in found.items()}
    for split, pictures in found.items():
        assert {(one.shape, one.dtype) for one in pictures} == {((50, 75, 3), np.dtype(np.uint8))}
        assert values[split] == [int(name[0]) for name in split_of([f"{n}.png" for n in range(10)], split)]
    assert sorted(value for found in values.values() for value in found) == list(range(10))
    strings(found["train"])[0]
    with pytest.raises(ValueError, match="split must be one of"):
        data.photographs(tmp_path, "val")
    with pytest.raises(ValueError, match="side must be"):
        data.photographs(tmp_path, "train", side=0)
    with pytest.raises(FileNotFoundError, match="expected a Debian package or a folder"):
        data.photographs(tmp_path / "none", "train")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("batch_size", 0),
        ("count", 0),
        ("size", 1.5),
        ("digits", (1, 6)),
        ("digits", (3, 2)),
        ("digits", 3),
        ("height", (0.5, 0.2)),
        ("height", 0.5),
        ("rotation", np.nan),
        ("fresh", None),
        ("seed", -1),
        ("seed", None),
        ("workers", 0),
        ("images", np.zeros((40, 28, 28), np.uint8)),
        ("images", np.ones((40, 28, 28))),
        ("images", np.ones((40, 32, 32), np.uint8)),
        ("labels", np.arange(40)),
        ("labels", np.zeros(39, int)),
        ("labels", np.zeros(40)),
        ("backgrounds", []),
        ("backgrounds", [np.zeros((5, 5), np.uint8)]),
        ("backgrounds", [np.zeros((5, 5, 3))]),
    ],
)
def test_wrong_arguments_are_told(argument, value):
    images, labels = digits()
    arguments = {"images": images, "labels": labels, "backgrounds": noise()} | {argument: value}
    with pytest.raises(ValueError, match=argument):
        data.DigitStrings(**arguments)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 20), places=st.integers(1, 5), share=st.floats(0, 1))
def test_a_string_counts_as_right_only_if_all_of_it_is(seed, count, places, share):
    random = np.random.default_rng(seed)
    truth, scores = random.integers(0, 11, (count, places)), random.random((count, places, 11)).astype("float32")
    right = random.random((count, places)) < share
    np.put_along_axis(scores, np.where(right, truth, (truth + 1) % 11)[..., None], 2, axis=-1)
    metric = StringAccuracy()
    for part in np.array_split(np.arange(count), 2):
        if len(part):
            metric.update_state(truth[part], scores[part])
    assert float(metric.result()) == pytest.approx(right.all(axis=1).mean(), abs=1e-6)  # float32


def test_accuracy_is_logged_saved_and_refuses_other_shapes():
    image, label = strings()[0]
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(55), keras.layers.Reshape((5, 11))]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=[StringAccuracy()])
    assert "string_accuracy" in model.fit(strings(fresh=True), epochs=2, verbose=0).history
    expected = (model.predict(image, verbose=0).argmax(-1) == label).all(-1).mean()
    assert model.evaluate(image, label, verbose=0, return_dict=True)["string_accuracy"] == pytest.approx(expected)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(StringAccuracy("a")))
    assert isinstance(again, StringAccuracy)
    assert again.name == "a"
    with pytest.raises(ValueError, match=r"received \(2, 4\) and \(2, 5, 11\)"):
        StringAccuracy().update_state(np.zeros((2, 4)), np.zeros((2, 5, 11)))
