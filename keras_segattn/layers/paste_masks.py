"""A layer that puts the masks of boxes into the frame of the image."""

from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_choice
from keras_segattn.layers.coordinates import CoordinateLayer
from keras_segattn.ops.masks import paste_masks

METHODS = ("torchvision", "detectron2")


@keras.saving.register_keras_serializable(package="keras_segattn")
class PasteMasks(CoordinateLayer):
    """Resizes the mask of each box and puts it where the box is.

    Args:
        method: `"torchvision"` (masks padded by one pixel, box corners truncated to integers) or `"detectron2"` (masks
            sampled at the centres of the image's pixels).

    Call arguments:
        masks: probabilities `(batch, regions, h, w)`.
        boxes: `(batch, regions, 4)` in pixels of the image.
        image: tensor `(batch, height, width, any)`; only its size is read.

    Output:
        probabilities float32 `(batch, regions, height, width)`, 0 outside the box.

    Raises:
        ValueError: if the method is unknown.

    Example:
        >>> PasteMasks()(masks, boxes, image) > 0.5
    """

    def __init__(self, method: str = "torchvision", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice("method", method, METHODS)
        self.method = method

    def call(self, masks: Any, boxes: Any, image: Any) -> Any:
        """Paste `masks` into frames of the size of `image`."""
        _, height, width, _ = ops.shape(image)
        return paste_masks(masks, boxes, height, width, method=self.method)

    def compute_output_spec(self, masks: Any, boxes: Any, image: Any) -> keras.KerasTensor:
        """Describe the output: one mask of the image's size per region."""
        return keras.KerasTensor((*masks.shape[:2], *image.shape[1:3]), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"method": self.method}
