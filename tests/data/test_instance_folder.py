"""Folders of instance numbers: Pascal VOC's layout, labels in JSON, and none."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_segattn.data.instance_folder import instance_folder
from keras_segattn.data.instances import check_example

NUMBERS = np.array([[0, 1, 1, 255], [0, 1, 700, 700], [0, 0, 700, 0]], np.uint16)
CLASSES = np.array([[0, 8, 8, 255], [0, 8, 3, 3], [0, 0, 255, 0]], np.uint8)


@pytest.fixture
def folders(tmp_path):
    for name in ("images", "numbers", "classes"):
        (tmp_path / name).mkdir()
    for stem in ("b", "a"):
        Image.new("RGB", (4, 3)).save(tmp_path / "images" / f"{stem}.jpg")
        Image.fromarray(NUMBERS if stem == "a" else NUMBERS * 0).save(tmp_path / "numbers" / f"{stem}.png")
        Image.fromarray(CLASSES).save(tmp_path / "classes" / f"{stem}.png")
    return tmp_path / "images", tmp_path / "numbers", tmp_path / "classes"


def test_one_class(folders):
    images, numbers, _ = folders
    scenes = instance_folder(images, numbers, void=255, class_names=["cell"])
    assert len(scenes) == 2
    assert scenes.class_names == {1: "cell"}
    for scene in scenes:
        check_example(scene, "example")
    example = scenes[0]
    assert example["image/filename"] == "a.jpg"
    np.testing.assert_array_equal(example["objects"]["mask"], [NUMBERS == 1, NUMBERS == 700])
    np.testing.assert_array_equal(example["objects"]["bbox"], [[1, 0, 3, 2], [2, 1, 4, 3]])
    assert example["objects"]["label"].tolist() == [1, 1]
    assert len(scenes[1]["objects"]["label"]) == 0


def test_a_void_value_that_hides_all_objects_is_told(folders):
    images, numbers, _ = folders
    for path in numbers.iterdir():
        Image.fromarray((NUMBERS == 1).astype(np.uint8) * 255).save(path)
    with pytest.warns(UserWarning, match=r"a\.png and 1 others hold no numbers but 0 and the void value 255"):
        instance_folder(images, numbers, void=255)
    assert len(instance_folder(images, numbers)[0]["objects"]["label"]) == 1


def test_class_pictures_mappings_and_json_agree(folders, tmp_path):
    images, numbers, classes = folders
    mapping = {"a": {1: 8, 700: 3}, "b": {}}
    (tmp_path / "labels.json").write_text(json.dumps(mapping | {"a": {"1": 8.0, "700": "3"}}), encoding="utf-8-sig")
    for form in (classes, mapping, tmp_path / "labels.json"):
        assert instance_folder(images, numbers, form, void=255)[0]["objects"]["label"].tolist() == [8, 3]


def test_what_does_not_fit_is_told(folders, tmp_path):
    images, numbers, classes = folders
    with pytest.raises(ValueError, match="instance 255 needs a label from 1"):
        instance_folder(images, numbers, {"a": {1: 8, 700: 3}, "b": {}})[0]
    with pytest.raises(ValueError, match="expected one label, from 1, for instance 700, found \\[3, 255\\]"):
        instance_folder(images, numbers, classes)[0]
    with pytest.raises(ValueError, match="have no labels in classes"):
        instance_folder(images, numbers, {"a": {}})
    for content, message in (
        ("{", "not a JSON file"),
        ('{"a": 1}', "expected"),
        ("[]", "expected"),
        ('{"a": {"1": 0}, "b": {}}', "'a': expected a whole number in 1..2147483647, found 0"),
        ('{"a": {"1": "cat"}, "b": {}}', "'a': expected a whole number, found 'cat'"),
        ('{"a": {"one": 8}, "b": {}}', "'a': expected a whole number, found 'one'"),
        ('{"a": {"1": true}, "b": {}}', "'a': expected a whole number, found True"),
    ):
        (tmp_path / "labels.json").write_text(content)
        with pytest.raises(ValueError, match=rf"labels\.json: .*{message}"):
            instance_folder(images, numbers, tmp_path / "labels.json")
    with pytest.raises(ValueError, match=r"a\.png: label 8 is not among the class_names"):
        instance_folder(images, numbers, classes, void=255, class_names=["cell"])[0]
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        instance_folder(images, numbers, tmp_path / "none.json")
    Image.fromarray(NUMBERS[:2]).save(numbers / "a.png")
    with pytest.raises(ValueError, match="its image"):
        instance_folder(images, numbers)[0]
    Image.new("RGB", (4, 3)).save(numbers / "a.png")
    with pytest.raises(ValueError, match="expected instance numbers"):
        instance_folder(images, numbers)[0]
    (numbers / "a.png").write_bytes(b"none")
    with pytest.raises(ValueError, match="not a readable picture"):
        instance_folder(images, numbers)[0]
    (numbers / "b.png").rename(numbers / "c.png")
    with pytest.raises(ValueError, match="no partner"):
        instance_folder(images, numbers)
