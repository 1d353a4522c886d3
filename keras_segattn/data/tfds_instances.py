"""Instances with the features of TFDS's `coco`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_segattn.arguments import check_choice
from keras_segattn.data.instances import Example, Instances, check_example, check_names, class_names_of


def tfds_instances(
    source: Sequence[Mapping[str, Any]],
    *,
    box_masks: bool = False,
    class_names: Mapping[int, str] | Sequence[str] | None = None,
) -> Instances:
    """Convert examples of `tfds.data_source("coco/2017")` and of sets with the same features.

    Args:
        source: examples by number, such as a TFDS data source or `list(tfds.as_numpy(dataset))`, with `image`, and
            `objects` that have `bbox` (ymin, xmin, ymax, xmax, as shares of height and width), `label` from 0 and, if
            the set has masks, `segmentation` or `mask` `(n, height, width, 1)`. `objects/is_crowd`, `image/id` and
            `image/filename` may be absent.
        box_masks: whether the inside of an object's box is its mask if the set has no masks, like TFDS's `coco`;
            otherwise missing masks are an error.
        class_names: name of every label, as a mapping or as names counted from 1, such as
            `builder.info.features["objects"]["label"].names`.

    Returns:
        Examples in the order of the source; labels are TFDS's labels plus 1.

    Raises:
        ValueError: when reading, if an example has other features or no masks and `box_masks` is false.

    Example:
        >>> train = tfds_instances(tfds.data_source("coco/2017", split="train"), box_masks=True)
    """
    check_choice("box_masks", box_masks, (True, False))
    names = class_names_of(class_names)

    def read(key: int) -> Example:
        example = source[key]
        objects = example.get("objects")
        if "image" not in example or not isinstance(objects, Mapping) or not {"bbox", "label"} <= objects.keys():
            raise ValueError(
                f"example {key}: expected image, objects/bbox and objects/label, received {example.keys()}"
            )
        image = np.asarray(example["image"])
        shares, label = np.asarray(objects["bbox"], np.float32).reshape(-1, 4), np.asarray(objects["label"])
        if label.dtype.kind not in "iu" and label.size:
            raise ValueError(f"example {key}: expected objects/label to be integers, received {label.dtype}")
        if image.ndim != 3 or len(shares) != len(label):
            raise ValueError(
                f"example {key}: expected an image (height, width, 3) and one bbox a label, received {image.shape}, "
                f"{len(shares)} and {len(label)}"
            )
        crowd = np.asarray(objects.get("is_crowd", np.zeros(len(label), bool)))
        if crowd.shape != label.shape or not np.isin(crowd, (0, 1)).all():
            raise ValueError(
                f"example {key}: expected objects/is_crowd to be one bool per label, received {crowd!r:.200}"
            )
        height, width = image.shape[:2]
        bbox = shares[:, [1, 0, 3, 2]] * np.array([width, height, width, height], np.float32)
        masks = objects.get("segmentation", objects.get("mask"))
        if masks is not None:
            mask = np.asarray(masks)
            if mask.shape not in ((len(label), height, width), (len(label), height, width, 1)):
                raise ValueError(
                    f"example {key}: expected masks {(len(label), height, width, 1)}, received {mask.shape}"
                )
            mask = (mask.reshape(len(label), height, width) > 0).astype(np.uint8)
        elif box_masks:
            mask = np.zeros((len(label), height, width), np.uint8)
            for one, (x1, y1, x2, y2) in zip(mask, bbox.round().clip(0).astype(int), strict=True):
                one[y1:y2, x1:x2] = 1
        else:
            raise ValueError(f"example {key}: the set has no masks; give box_masks=True to take the boxes")
        name = example.get("image/filename", f"example {key}")
        found: Example = {
            "image": image,
            "image/id": int(example.get("image/id", key)),
            "image/filename": name.decode() if isinstance(name, bytes) else str(name),
            "objects": {
                "bbox": bbox,
                "label": label.astype(np.int32) + 1,
                "is_crowd": crowd.astype(bool),
                "mask": mask,
            },
        }
        check_example(found, f"example {key}")
        check_names(found["objects"]["label"], names, f"example {key} ({found['image/filename']})")
        return found

    return Instances(range(len(source)), read, names)
