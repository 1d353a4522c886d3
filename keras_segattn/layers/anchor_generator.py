"""A layer that lays out the anchors of a feature map."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import check_positive_integer
from keras_segattn.layers.coordinates import CoordinateLayer
from keras_segattn.ops.anchors import cell_anchors, grid_anchors


@keras.saving.register_keras_serializable(package="keras_segattn")
class AnchorGenerator(CoordinateLayer):
    """Boxes of several sizes and shapes around every cell of a map (Ren et al. 2015, section 3.1.1).

    Args:
        sizes: square roots of the anchors' areas, in pixels.
        ratios: ratios height ÷ width of the anchors.
        stride: pixels of the image between neighbouring cells of the map.
        rounding: rounding of the corners: `"nearest"` (torchvision), `None` (Detectron2) or `"caffe"` (py-faster-rcnn).

    Call arguments:
        inputs: map `(batch, h, w, channels)`; only its size is read.

    Output:
        float32 `(h · w · A, 4)`, where A is the number of ratios times the number of sizes. The boxes are the same for
        every image.

    Raises:
        ValueError: if an argument is wrong.

    Example:
        >>> AnchorGenerator((32,), (0.5, 1.0, 2.0), stride=4)(keras.ops.zeros((1, 200, 272, 256))).shape
        TensorShape([163200, 4])
    """

    def __init__(
        self,
        sizes: Sequence[float],
        ratios: Sequence[float] = (0.5, 1.0, 2.0),
        stride: int = 16,
        rounding: str | None = "nearest",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive_integer("stride", stride)
        self.sizes, self.ratios, self.stride, self.rounding = tuple(sizes), tuple(ratios), stride, rounding
        self.cell = cell_anchors(self.sizes, self.ratios, rounding)

    def call(self, inputs: Any) -> Any:
        """Return the anchors of all cells."""
        _, height, width, _ = ops.shape(inputs)
        return grid_anchors(self.cell, height, width, self.stride)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Describe the output: one row per cell of the map and anchor of a cell."""
        height, width = inputs.shape[1:3]
        count = None if height is None or width is None else height * width * len(self.cell)
        return keras.KerasTensor((count, 4), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        names = ("sizes", "ratios", "stride", "rounding")
        return super().get_config() | {name: getattr(self, name) for name in names}
