"""COCO's JSON: every form of mask gives the same pixels, and messages name the error."""

import copy
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from keras_segattn.data.coco import coco_instances
from keras_segattn.data.instances import check_example

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

    def _write(content):
        path = tmp_path / "instances.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
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
        (change(["images", 0, "id"], "7"), r"images\[0\] has no integer id"),
        (change(["images", 1, "id"], 7), "id 7 twice"),
        (change(["images", 0, "height"], None), "missing or wrong height"),
        (change(["annotations", 0, "image_id"], 99), "annotation 1 has the unknown image_id 99"),
        (change(["annotations", 0, "category_id"], 2), "annotation 1 has the unknown category_id 2"),
        (change(["annotations", 0, "bbox"], [1, 2, -3, 4]), "annotation 1: expected bbox"),
        (change(["annotations", 0, "bbox"], [1, 2, float("nan"), 4]), "annotation 1: expected bbox"),
        (change(["annotations", 0, "segmentation"], None), "missing or wrong segmentation"),
    ],
)
def test_a_wrong_file_is_told_when_opened(write, content, message):
    path = write(content)
    with pytest.raises(ValueError, match=message):
        coco_instances(path, path.parent)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([], "at least one polygon"),
        ([[1, 2, 3, 4]], "at least 3 points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "at least 3 points"),
        ([[1, 2, 3, 4, 5, "6"]], "at least 3 points"),
        ({"size": [8, 6], "counts": COMPRESSED}, "size"),
        ({"size": [HEIGHT, WIDTH]}, "counts"),
        ({"size": [HEIGHT, WIDTH], "counts": [1, 2]}, "sum to 48"),
        ({"size": [HEIGHT, WIDTH], "counts": [60, -12]}, "sum to 48"),
        ({"size": [HEIGHT, WIDTH], "counts": ""}, "malformed"),
        ({"size": [HEIGHT, WIDTH], "counts": COMPRESSED + "o"}, "malformed"),
        ({"size": [HEIGHT, WIDTH], "counts": COMPRESSED + "9"}, "malformed"),
        ({"size": [HEIGHT, WIDTH], "counts": "å!"}, "malformed"),
    ],
)
def test_a_wrong_mask_is_told_when_read(write, segmentation, message):
    path = write(change(["annotations", 2, "segmentation"], segmentation))
    scenes = coco_instances(path, path.parent)
    with pytest.raises(ValueError, match=f"annotation 5: .*{message}"):
        scenes[0]


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
