"""COCO's JSON: every form of mask gives the same pixels, and messages name the error."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from keras_segattn.data.coco import coco_instances
from keras_segattn.data.coco_json import BrokenEntryError
from keras_segattn.data.coco_masks import draw_mask, read_segmentation
from keras_segattn.data.instances import check_example
from keras_segattn.metrics.run_lengths import decode_runs

HEIGHT, WIDTH = 6, 8
# The same mask, columns 2..5 of rows 1..3, as a polygon, as run lengths down the columns, and compressed.
RECTANGLE = np.zeros((HEIGHT, WIDTH), np.uint8)
RECTANGLE[1:4, 2:6] = 1
POLYGON = [[2, 1, 6, 1, 6, 4, 2, 4]]
RUNS = {"size": [HEIGHT, WIDTH], "counts": [13, 3, 3, 3, 3, 3, 3, 3, 14]}
COMPRESSED = coco_mask.encode(np.asfortranarray(RECTANGLE))["counts"].decode()
STRING = {"size": [HEIGHT, WIDTH], "counts": COMPRESSED}


def annotation(identity, segmentation, category=90, image=7, crowd=0):
    return {
        "id": identity,
        "image_id": image,
        "category_id": category,
        "bbox": [2, 1, 4, 3],
        "area": 12,
        "iscrowd": crowd,
        "segmentation": segmentation,
    }


CONTENT = {
    "images": [
        {"id": 7, "file_name": "a.png", "height": HEIGHT, "width": WIDTH},
        {"id": 3, "file_name": "b.png", "height": HEIGHT, "width": WIDTH},
    ],
    "categories": [{"id": 90, "name": "toothbrush"}, {"id": 18, "name": "dog"}],
    "annotations": [annotation(1, POLYGON), annotation(2, RUNS, category=18, crowd=1), annotation(5, STRING)],
}


@pytest.fixture
def write(tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 9, np.uint8)).save(tmp_path / name)

    def _write(content, encoding="utf-8"):
        path = tmp_path / "instances.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding=encoding)
        return path

    return _write


def test_all_forms_of_masks_boxes_and_labels(write):
    path = write(CONTENT)
    scenes = coco_instances(path, path.parent)
    assert scenes.class_names == {1: "dog", 2: "toothbrush"}
    assert [scene["image/filename"] for scene in scenes] == ["a.png", "b.png"]
    example = scenes[0]
    check_example(example, "example")
    objects = example["objects"]
    np.testing.assert_array_equal(objects["mask"], [RECTANGLE] * 3)
    np.testing.assert_array_equal(objects["bbox"], [[2, 1, 6, 4]] * 3)
    assert objects["label"].tolist() == [2, 1, 2]
    assert objects["is_crowd"].tolist() == [False, True, False]
    assert example["image/id"] == 7
    check_example(scenes[-1], "a picture without objects")
    assert len(scenes[-1]["objects"]["label"]) == 0
    assert len(scenes[1:]) == 1
    assert scenes[1:][0]["image/id"] == 3


def test_labels_may_be_the_category_ids(write):
    path = write(CONTENT)
    scenes = coco_instances(path, path.parent, contiguous=False)
    assert scenes[0]["objects"]["label"].tolist() == [90, 18, 90]
    assert scenes.class_names == {90: "toothbrush", 18: "dog"}


def change(path, value):
    content = copy.deepcopy(CONTENT)
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a JSON file"),
        ([], "list 'images'"),
        (change(["images"], None), "list 'images'"),
        (change(["images", 0, "id"], "seven"), r"images\[0\]: expected id to be a whole number, found 'seven'"),
        (change(["images", 1, "id"], 7), "image 7: expected an id that occurs once"),
        (change(["images", 0, "height"], None), "image 7: expected height to be a whole number, found None"),
        (change(["annotations", 0, "image_id"], 99), "annotation 1: expected a known image_id, found 99"),
        (change(["annotations", 0, "category_id"], 2), "annotation 1: expected a known category_id, found 2"),
        (change(["annotations", 0, "bbox"], [1, 2, -3, 4]), "annotation 1: expected bbox to be .x, y, width, height."),
        (change(["annotations", 0, "bbox"], [1, 2, float("nan"), 4]), "annotation 1: expected bbox"),
        (
            change(["annotations", 0, "segmentation"], None),
            "annotation 1: expected segmentation to be polygons or run lengths",
        ),
    ],
)
def test_a_wrong_file_is_told_when_opened(write, content, message):
    path = write(content)
    with pytest.raises(ValueError, match=message):
        coco_instances(path, path.parent)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 2, 3, 4]], "polygons .* of at least 3 points"),
        ([1, 2, 3, 4, 5, 6], "a list of numbers, found 1"),
        ([[1, 2, 3, 4, 5, 6, 7]], "an even number of coordinates"),
        ([[1, 2, 3, 4, 5, "6"]], "a list of numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "finite numbers"),
        ([[1, 2, 3, 4, 5, 1e9]], "finite numbers up to 1,000,000"),
        ({"size": [8, 6], "counts": COMPRESSED}, "a mask of its picture's size"),
        ({"size": [HEIGHT, WIDTH]}, r"\.counts to be a list of whole numbers, found None"),
        ({"size": [HEIGHT, WIDTH], "counts": [13.5, 34.5]}, "whole number, found 13.5"),
        ({"size": [HEIGHT, WIDTH], "counts": [1, 2]}, "sum to height × width"),
        ({"size": [HEIGHT, WIDTH], "counts": [60, -12]}, "sum to height × width"),
        ({"size": [HEIGHT, WIDTH], "counts": ""}, "well-formed"),
        ({"size": [HEIGHT, WIDTH], "counts": COMPRESSED + "o"}, "well-formed"),
        ({"size": [HEIGHT, WIDTH], "counts": COMPRESSED + "9"}, "sum to height × width"),
        ({"size": [HEIGHT, WIDTH], "counts": "å!"}, "well-formed"),
        ({"size": [HEIGHT, WIDTH], "counts": "\ud800"}, "well-formed"),
        ({"size": [HEIGHT, WIDTH], "counts": "Q" + "P" * 20 + "0"}, "well-formed"),
    ],
)
def test_a_wrong_mask_is_told_when_opened(write, segmentation, message):
    path = write(change(["annotations", 2, "segmentation"], segmentation))
    with pytest.raises(ValueError, match=f"annotation 5: expected segmentation.*{message}.*skip_broken=True"):
        coco_instances(path, path.parent)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=12), st.integers(0, 3))
def test_run_lengths_fill_the_picture_or_are_refused(runs, missing):
    """The runs of a mask of one column are alternately pixels outside and inside, in both forms."""
    height = sum(runs) + missing
    drawn = np.repeat(np.arange(len(runs)) % 2, runs).astype(np.uint8)[:, None]
    compressed = coco_mask.frPyObjects({"size": [max(sum(runs), 1), 1], "counts": runs}, max(sum(runs), 1), 1)
    assert not compressed["counts"] or decode_runs(compressed["counts"].decode()).tolist() == runs
    for counts in (runs, [float(run) for run in runs], compressed["counts"].decode()):
        segmentation = {"size": [max(height, 1), 1], "counts": counts}
        if missing or not height:
            with pytest.raises(BrokenEntryError, match="expected"):
                read_segmentation(segmentation, max(height, 1), 1)
        else:
            np.testing.assert_array_equal(draw_mask(read_segmentation(segmentation, height, 1), height, 1), drawn)


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=20))
def test_any_compressed_string_is_drawn_in_full_or_refused(code):
    try:
        mask = read_segmentation({"size": [6, 8], "counts": code}, 6, 8)
    except BrokenEntryError:
        return
    runs = decode_runs(code)
    np.testing.assert_array_equal(draw_mask(mask, 6, 8).ravel("F"), np.repeat(np.arange(len(runs)) % 2, runs))


def test_missing_and_damaged_files(write, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a COCO instances file"):
        coco_instances(tmp_path / "none.json", tmp_path)
    path = write(CONTENT)
    scenes = coco_instances(path, tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"a\.png: not a readable picture"):
        scenes[0]
    (tmp_path / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.png"):
        scenes[0]
    with pytest.raises(FileNotFoundError, match=r"a\.png and 0 other pictures .* are missing; skip_broken=True"):
        coco_instances(path, tmp_path)
    with pytest.warns(UserWarning, match=r"1 × expected the file of a picture \(first: image 7\)"):
        assert len(coco_instances(path, tmp_path, skip_broken=True)) == 1
    Image.new("RGB", (5, 5)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"b.png: is \(5, 5\)"):
        scenes[1]


def test_a_category_0_is_no_label(write):
    content = change(["categories", 0, "id"], 0)
    content["annotations"] = []
    path = write(content)
    with pytest.raises(ValueError, match="contiguous=True"):
        coco_instances(path, path.parent, contiguous=False)
    assert coco_instances(path, path.parent).class_names == {1: "toothbrush", 2: "dog"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_files_of_windows_tools_are_read(write, encoding):
    path = write(CONTENT, encoding)
    assert len(coco_instances(path, path.parent)) == 2


@pytest.mark.parametrize("form", [int, float, str, "{}.0".format], ids=["1", "1.0", "'1'", "'1.0'"])
def test_whole_numbers_in_the_forms_that_tools_write(write, form):
    content = copy.deepcopy(CONTENT)
    for section, names in {
        "images": ("id", "height", "width"),
        "categories": ("id",),
        "annotations": ("id", "image_id", "category_id", "iscrowd"),
    }.items():
        for entry in content[section]:
            entry.update({name: form(entry[name]) for name in names})
    content["annotations"][1]["segmentation"] = {key: [form(one) for one in value] for key, value in RUNS.items()}
    path = write(content)
    objects = coco_instances(path, path.parent)[0]["objects"]
    assert objects["label"].tolist() == [2, 1, 2]
    assert objects["is_crowd"].tolist() == [False, True, False]
    np.testing.assert_array_equal(objects["mask"], [RECTANGLE] * 3)


@pytest.mark.parametrize("value", [True, False, "True", "False", "true", "false", None])
def test_flags_in_the_forms_that_tools_write(write, value):
    path = write(change(["annotations", 0, "iscrowd"], value))
    assert bool(coco_instances(path, path.parent)[0]["objects"]["is_crowd"][0]) is (str(value).lower() == "true")


FIELDS = {
    "images": ("id", "file_name", "height", "width"),
    "categories": ("id", "name"),
    "annotations": ("id", "image_id", "category_id", "bbox", "iscrowd", "segmentation"),
}


@pytest.mark.parametrize(("section", "name"), [(section, name) for section, names in FIELDS.items() for name in names])
def test_every_field_is_checked_for_its_type_when_the_file_is_opened(write, section, name):
    kind = {"images": "image", "categories": "category", "annotations": "annotation"}[section]
    message = rf"instances\.json: ({kind} \d+|{section}\[0\]|annotation 1): expected .*found "
    for value in (True, 1.5, float("nan"), "", "yes", [True], ["1", "2", "3", "4"], {"a": 1}):
        if (name == "iscrowd" and value is True) or (name in ("file_name", "name") and value == "yes"):
            continue  # these are right
        path = write(change([section, 0, name], value))
        with pytest.raises(ValueError, match=message):
            coco_instances(path, path.parent)


def test_what_has_no_area_is_told_once(write):
    content = copy.deepcopy(CONTENT)
    content["annotations"][0]["segmentation"] = []
    content["annotations"][2]["segmentation"] = [*POLYGON, [1, 1, 2, 2], []]
    path = write(content)
    message = (
        r"1 × an object without a mask, whose mask is empty \(first: annotation 1\); "
        r"1 × polygons of fewer than 3 points left out \(first: annotation 5\)"
    )
    with pytest.warns(UserWarning, match=message):
        scenes = coco_instances(path, path.parent)
    objects = scenes[0]["objects"]
    np.testing.assert_array_equal(objects["mask"], [RECTANGLE * 0, RECTANGLE, RECTANGLE])
    np.testing.assert_array_equal(objects["bbox"], [[2, 1, 6, 4]] * 3)


def test_broken_entries_are_skipped_and_counted(write):
    content = copy.deepcopy(CONTENT)
    content["annotations"] += [
        annotation(11, POLYGON, image=99),
        annotation(12, POLYGON, image=98),
        annotation(13, "polygon"),
        "no annotation",
    ]
    path = write(content)
    message = (
        r"instances\.json: skipped broken entries: 2 × expected a known image_id \(first: annotation 11\); "
        r"1 × expected segmentation to be polygons or run lengths \(first: annotation 13\); "
        r"1 × expected an object with fields \(first: annotations\[6\]\)"
    )
    with pytest.warns(UserWarning, match=message):
        scenes = coco_instances(path, path.parent, skip_broken=True)
    assert len(scenes[0]["objects"]["label"]) == 3
    with pytest.raises(ValueError, match="annotation 11: expected a known image_id"):
        coco_instances(path, path.parent)
    with pytest.raises(ValueError, match="skip_broken must be one of True, False, received 'yes'"):
        coco_instances(path, path.parent, skip_broken="yes")
