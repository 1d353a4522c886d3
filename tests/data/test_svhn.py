"""SVHN's full numbers, from miniatures that h5py writes in MATLAB 7.3's layout."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_segattn import data

FIELDS = ("height", "label", "left", "top", "width")  # MATLAB writes them in alphabetical order
# File → label, left, top, width, height of every digit; as in SVHN, 10 is the digit 0 and a box may begin at -1.
NUMBERS = {
    "1.png": [(1, 24, 7, 8, 20), (9, 32, 8, 9, 19)],
    "2.png": [(5, -1, 3, 12, 22)],
    "3.png": [(2, 5, 5, 6, 10), (10, 11, 5, 6, 10), (10, 18, 5, 6, 10)],
}


class Matlab:
    """A `digitStruct.mat` file that is being written."""

    def __init__(self, path):
        self.file = h5py.File(path, "w", userblock_size=512)
        self.references = self.file.create_group("#refs#")

    def refer(self, value):
        """Return a reference to a new data set, or to a new group if there is no value."""
        name = f"{len(self.references):x}"
        return (self.references.create_group(name) if value is None else self.scalar(self.references, name, value)).ref

    def scalar(self, group, name, value):
        dataset = group.create_dataset(name, data=value)
        dataset.attrs["MATLAB_class"] = np.bytes_("char" if dataset.dtype == np.uint16 else "double")
        return dataset

    def cell(self, group, name, references):
        dataset = group.create_dataset(name, (len(references), 1), h5py.ref_dtype)
        for place, reference in enumerate(references):
            dataset[place, 0] = reference
        return dataset

    def characters(self, text):
        return np.frombuffer(text.encode("utf-16-le"), np.uint16)[:, None]

    def boxes(self, group, digits):
        for field in FIELDS:
            column = [[[float(digit[("label", "left", "top", "width", "height").index(field)])]] for digit in digits]
            if len(column) == 1:
                self.scalar(group, field, column[0])
            else:
                self.cell(group, field, [self.refer(value) for value in column])

    def write(self, numbers):
        struct = self.file.create_group("digitStruct")
        struct.attrs["MATLAB_class"] = np.bytes_("struct")
        if len(numbers) == 1:  # a struct of one element has its fields inline
            ((name, digits),) = numbers.items()
            self.boxes(struct.create_group("bbox"), digits)
            self.scalar(struct, "name", self.characters(name))
        else:
            groups = [self.refer(None) for _ in numbers]
            for group, digits in zip(groups, numbers.values(), strict=True):
                self.boxes(self.file[group], digits)
            self.cell(struct, "bbox", groups)
            self.cell(struct, "name", [self.refer(self.characters(name)) for name in numbers])
        return struct


def write(folder, numbers, change=None):
    folder.mkdir(exist_ok=True)
    for name in numbers:
        if name.endswith(".png") and "/" not in name:
            Image.new("RGB", (60, 30)).save(folder / name)
    matlab = Matlab(folder / "digitStruct.mat")
    with matlab.file:
        struct = matlab.write(numbers)
        if change is not None:
            change(matlab, struct)
    with (folder / "digitStruct.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")
    return folder


def test_digits_and_boxes_are_those_of_the_file(tmp_path):
    found = data.svhn(write(tmp_path, NUMBERS))
    assert [number.image for number in found] == [tmp_path / name for name in NUMBERS]
    assert [number.digits for number in found] == [(1, 9), (5,), (2, 0, 0)]
    assert found[0].boxes.dtype == np.float32
    np.testing.assert_array_equal(found[0].boxes, [(24, 7, 32, 27), (32, 8, 41, 27)])
    np.testing.assert_array_equal(found[1].boxes, [(-1, 3, 11, 25)])
    labels = data.digit_labels([number.digits for number in found])
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, [(1, 9, 10, 10, 10), (5, 10, 10, 10, 10), (2, 0, 0, 10, 10)])


BOX = st.tuples(st.integers(1, 10), *[st.integers(-3, 50)] * 2, *[st.integers(1, 50)] * 2)


@settings(max_examples=15, deadline=None)
@given(numbers=st.lists(st.lists(BOX, min_size=1, max_size=6), min_size=1, max_size=4))
def test_whatever_is_written_comes_back(tmp_path_factory, numbers):
    folder = write(tmp_path_factory.mktemp("svhn"), {f"{place}.png": one for place, one in enumerate(numbers, 1)})
    for found, expected in zip(data.svhn(folder), numbers, strict=True):
        assert found.digits == tuple(label % 10 for label, *_ in expected)
        np.testing.assert_array_equal(
            found.boxes, [(left, top, left + width, top + height) for _, left, top, width, height in expected]
        )


def replaced(field, value, number=2):
    """Return a function that changes one inline field of a number, by default the second, which has one digit."""

    def change(matlab, struct):
        group = matlab.file[struct["bbox"][number - 1, 0]]
        del group[field]
        if value is not None:
            group[field] = value

    return change


def without(field):
    def change(matlab, struct):
        del struct[field]

    return change


def null_reference(matlab, struct):
    struct["name"][0, 0] = h5py.Reference()


def fewer_names(matlab, struct):
    names = [struct["name"][0, 0]]
    del struct["name"]
    matlab.cell(struct, "name", names)


def name_is_a_number(matlab, struct):
    struct["name"][0, 0] = matlab.refer([[7.0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("label", [[11.0]]), r"2\.png: labels \[11\.0\], not all of 1\.\.10"),
        (replaced("label", [[0.0]]), r"2\.png: labels \[0\.0\]"),
        (replaced("label", [[1.5]]), r"2\.png: labels \[1\.5\]"),
        (replaced("label", [[np.nan]]), r"2\.png: labels \[nan\]"),
        (replaced("label", [[1.0], [2.0]]), "expected numbers, found"),
        (replaced("label", None), r"2\.png: bbox is no group of left, top, width, height, label"),
        (replaced("width", [[0.0]]), r"2\.png: boxes .* not all of some extent"),
        (replaced("left", [[np.inf]]), r"2\.png: boxes .* not all of some extent"),
        (replaced("left", [[5.0]], number=1), r"1\.png: {'left': 1, 'top': 2, .* values for its digits"),
        (replaced("top", b"text"), "expected numbers"),
        (without("bbox"), "no group digitStruct of name and bbox"),
        (null_reference, "expected an intact digitStruct"),
        (fewer_names, "1 names and 3 groups of boxes"),
        (name_is_a_number, "a name is no characters"),
    ],
)
def test_another_layout_is_told(tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        data.svhn(write(tmp_path, NUMBERS, change))
    assert str(tmp_path / "digitStruct.mat") in str(caught.value)


def test_empty_files_and_numbers_are_told(tmp_path):
    with pytest.raises(ValueError, match="0 names"):
        data.svhn(write(tmp_path / "a", {}))
    with pytest.raises(ValueError, match=r"2\.png: {'left': 0"):
        data.svhn(write(tmp_path / "b", {"1.png": NUMBERS["1.png"], "2.png": []}))


@pytest.mark.parametrize("name", ["../1.png", "a/1.png", "..", ""])
def test_names_lead_nowhere_else(tmp_path, name):
    with pytest.raises(ValueError, match="is not the name of a file"):
        data.svhn(write(tmp_path, {"1.png": NUMBERS["1.png"], name: NUMBERS["1.png"]}))


def test_missing_files_say_how_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"digitStruct\.mat: .* found nothing; unpack train\.tar\.gz"):
        data.svhn(tmp_path)
    (write(tmp_path, NUMBERS) / "2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"2\.png and 0 other pictures .* are missing"):
        data.svhn(tmp_path)


def test_damaged_files_are_told(tmp_path):
    path = write(tmp_path, NUMBERS) / "digitStruct.mat"
    content = path.read_bytes()
    for damaged in (b"", b"no HDF5", content[: len(content) // 2], content[:-100]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"digitStruct\.mat: expected an intact digitStruct"):
            data.svhn(tmp_path)


def test_crops_are_the_rectangle_of_all_digits_enlarged():
    x = np.broadcast_to(np.arange(200, dtype=np.uint8), (100, 200))
    y = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None], (100, 200))
    pixels = np.stack([x, y, x], axis=-1)
    boxes = np.array([(60, 20, 80, 50), (80, 30, 100, 60)])  # together (60, 20, 100, 60)
    crop = data.number_crop(pixels, boxes, 52)
    # The square has 40 × 1.3 = 52 pixels and begins at (54, 14), so nothing is resized.
    np.testing.assert_array_equal(crop, pixels[14:66, 54:106])
    assert data.number_crop(pixels, boxes).shape == (64, 64, 3)
    np.testing.assert_array_equal(data.number_crop(pixels, boxes, 40, enlarge=0), pixels[20:60, 60:100])


@settings(max_examples=50, deadline=None)
@given(
    boxes=st.lists(st.tuples(*[st.floats(-5, 30)] * 2, *[st.floats(31, 70)] * 2), min_size=1, max_size=5),
    enlarge=st.floats(0, 5),
    size=st.integers(1, 80),
)
def test_crops_stay_within_the_picture(boxes, enlarge, size):
    pixels = np.full((50, 60, 3), 200, np.uint8)
    crop = data.number_crop(pixels, np.array(boxes), size, enlarge=enlarge)
    assert crop.shape == (size, size, 3)
    assert (crop == 200).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "size must be a positive integer"),
        ({"enlarge": -0.1}, "enlarge must be"),
        ({"enlarge": np.nan}, "enlarge must be"),
        ({"boxes": np.zeros((0, 4))}, "boxes must be one or more"),
        ({"boxes": np.array([[0, 0, np.nan, 1]])}, "boxes must be one or more"),
        ({"boxes": np.array([[70, 0, 90, 10]])}, "within the picture of 60 × 50 pixels"),
        ({"pixels": np.zeros((5, 5, 3))}, "expected a picture uint8"),
    ],
)
def test_wrong_crops_are_told(changes, message):
    arguments = {"pixels": np.zeros((50, 60, 3), np.uint8), "boxes": np.array([[0, 0, 5, 5]])} | changes
    with pytest.raises(ValueError, match=message):
        data.number_crop(**arguments)


@pytest.mark.parametrize("digits", [(), (1, 2, 3, 4, 5, 6), (10,), (-1,), (1.5,)])
def test_wrong_numbers_are_told(digits):
    with pytest.raises(ValueError, match="expected 1 to 5 digits"):
        data.digit_labels([digits])
