"""The RoIWarp layer, for one map or a pyramid."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_segattn.layers.region_operator import RegionOperator
from keras_segattn.ops.roi_warp import roi_warp


@keras.saving.register_keras_serializable(package="keras_segattn")
class RoIWarp(RegionOperator):
    """Reads one bilinear sample per cell, differentiable in the boxes (Dai et al. 2016); see `ops.roi_warp`.

    Inputs and outputs are those of `RegionOperator`, and so are the arguments, to which this is added:

    Args:
        quantize: whether boxes are rounded to pixels of the map, as in the released code; gradients ignore the
            rounding.

    Example:
        >>> RoIWarp(28, scales=[1 / 16], quantize=True)([features], boxes).shape
        TensorShape([1, 300, 28, 28, 512])
    """

    def __init__(
        self,
        output_size: int | Sequence[int],
        scales: Sequence[float],
        quantize: bool = False,
        lowest_level: int = 2,
        level_rounding: str = "floor",
        **kwargs: Any,
    ) -> None:
        super().__init__(output_size, scales, lowest_level, level_rounding, **kwargs)
        self.quantize = quantize

    def crop(self, maps: Sequence[Any], boxes: Any, levels: Any) -> Any:
        """Apply RoIWarp to each box on the map of its level."""
        return roi_warp(maps, boxes, self.output_size, self.scales, levels, self.quantize)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"quantize": self.quantize}
