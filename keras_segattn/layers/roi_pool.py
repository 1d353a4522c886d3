"""The RoIPool layer, for one map or a pyramid."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_segattn.layers.region_operator import RegionOperator
from keras_segattn.ops.roi_pool import roi_pool


@keras.saving.register_keras_serializable(package="keras_segattn")
class RoIPool(RegionOperator):
    """Takes the maximum of each cell of a grid on each box, in whole pixels (Girshick 2015); see `ops.roi_pool`.

    Arguments, inputs and outputs are those of `RegionOperator`.

    Example:
        >>> RoIPool(7, scales=[1 / 16])([features], boxes).shape
        TensorShape([1, 300, 7, 7, 512])
    """

    def crop(self, maps: Sequence[Any], boxes: Any, levels: Any) -> Any:
        """Apply RoIPool to each box on the map of its level."""
        return roi_pool(maps, boxes, self.output_size, self.scales, levels)
