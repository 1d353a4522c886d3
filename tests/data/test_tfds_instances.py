"""Features of TFDS's `coco`."""

import numpy as np
import pytest

from keras_segattn.data.tfds_instances import tfds_instances


def example(**objects):
    return {
        "image": np.zeros((4, 10, 3), np.uint8),
        "image/id": np.int64(12),
        "image/filename": b"x.jpg",
        "objects": {
            "bbox": np.array([[0.25, 0.1, 0.75, 0.5]], np.float32),
            "label": np.array([4]),
            "is_crowd": np.array([True]),
            **objects,
        },
    }


MASK = np.zeros((1, 4, 10, 1), np.uint8)
MASK[0, 1:3, 1:5] = 255


@pytest.mark.parametrize(
    ("objects", "box_masks"), [({"segmentation": MASK}, False), ({"mask": MASK}, True), ({}, True)]
)
def test_boxes_labels_and_masks(objects, box_masks):
    found = tfds_instances([example(**objects)], box_masks=box_masks, class_names=list("abcde"))[0]
    np.testing.assert_allclose(found["objects"]["bbox"], [[1, 1, 5, 3]])
    assert found["objects"]["label"].tolist() == [5]
    assert found["objects"]["is_crowd"].tolist() == [True]
    np.testing.assert_array_equal(found["objects"]["mask"], MASK[..., 0] // 255)
    assert (found["image/id"], found["image/filename"]) == (12, "x.jpg")


def test_absent_features():
    bare = example(mask=MASK)
    del bare["image/id"], bare["image/filename"], bare["objects"]["is_crowd"]
    found = tfds_instances([bare, bare])[1]
    assert (found["image/id"], found["image/filename"]) == (1, "example 1")
    assert not found["objects"]["is_crowd"].any()


def test_what_does_not_fit_is_told():
    with pytest.raises(ValueError, match="no masks; give box_masks=True"):
        tfds_instances([example()])[0]
    with pytest.raises(ValueError, match="box_masks must be one of"):
        tfds_instances([example()], box_masks="yes")
    with pytest.raises(ValueError, match="expected image, objects/bbox and objects/label"):
        tfds_instances([{"image": np.zeros((4, 4, 3), np.uint8)}])[0]
    with pytest.raises(ValueError, match="one bbox a label"):
        tfds_instances([example(label=np.array([1, 2]))], box_masks=True)[0]
    with pytest.raises(ValueError, match="holds NaN"):
        tfds_instances([example(bbox=np.full((1, 4), np.nan), mask=MASK)])[0]
    for objects, message in (
        ({"label": np.array([4.5])}, "objects/label to be integers"),
        ({"is_crowd": np.array(["0"])}, "objects/is_crowd to be one bool per label"),
        ({"is_crowd": np.array([True, False])}, "objects/is_crowd to be one bool per label"),
        ({"mask": MASK.transpose(0, 2, 1, 3)}, r"masks \(1, 4, 10, 1\), received \(1, 10, 4, 1\)"),
        ({"label": np.array([-1]), "mask": MASK}, "labels from 1"),
    ):
        with pytest.raises(ValueError, match=f"example 0: expected {message}"):
            tfds_instances([example(**objects)])[0]
    with pytest.raises(ValueError, match=r"example 0 \(x\.jpg\): label 5 is not among the class_names"):
        tfds_instances([example(mask=MASK)], class_names=["a", "b"])[0]
