"""Average precision of a detector on pictures with instances."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_segattn.data.fitting import fit_picture, in_picture
from keras_segattn.data.instances import Example
from keras_segattn.facts import preprocessing_of
from keras_segattn.metrics.coco_average_precision import coco_average_precision
from keras_segattn.metrics.region_average_precision import region_average_precision


def evaluate_instances(
    model: keras.Model,
    examples: Sequence[Example],
    *,
    size: tuple[int, int] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Run a detector on pictures and score its detections in the coordinates of the original pictures.

    Args:
        model: detector from preprocessed images to `boxes`, `scores`, `classes`, `masks` and `count`, such as
            `MaskRCNN`.
        examples: pictures with their instances, as `data.coco_instances` gives them; labels from 1.
        size: (height, width) into which pictures are fitted, keeping their aspect ratio; default: the model's.
        progress: whether to show a progress bar.

    Returns:
        `"bbox"` and `"segm"`: COCO's `AP`, `AP50`, `AP75`, `APs`, `APm`, `APl`; `"region"`: SDS's `AP50`, `AP70`,
        `AP_vol` and `classes`. Values are in 0..1, or NaN if there is nothing to find.

    Raises:
        ValueError: if there are no examples, or the model takes any size and no size is given.

    Example:
        >>> evaluate_instances(model, held_out)["segm"]["AP50"]
    """
    if not len(examples):
        raise ValueError("expected examples to evaluate on, received none")
    height, width = size or model.input_shape[1:3]
    if height is None or width is None:
        raise ValueError(f"model {model.name!r} takes any size: give size=(height, width)")
    preprocessing = preprocessing_of(model)
    bar = keras.utils.Progbar(len(examples), verbose=1 if progress else 0)
    found = []
    for number, example in enumerate(examples, start=1):
        image, factor = fit_picture(example["image"], (height, width))
        outputs = model.predict_on_batch(ops.convert_to_numpy(preprocessing(image[None])))
        first = {name: values[0] for name, values in outputs.items()}
        found.append(in_picture(first, example["image"].shape[:2], factor))
        bar.update(number)
    return {
        "bbox": coco_average_precision(found, examples, kind="bbox"),
        "segm": coco_average_precision(found, examples, kind="segm"),
        "region": region_average_precision(found, examples),
    }
