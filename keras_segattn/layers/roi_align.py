"""The RoIAlign layer, for one map or a pyramid."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_segattn.arguments import is_integer
from keras_segattn.layers.region_operator import RegionOperator
from keras_segattn.ops.roi_align import roi_align


@keras.saving.register_keras_serializable(package="keras_segattn")
class RoIAlign(RegionOperator):
    """Averages of bilinear samples in a grid on each box (He et al. 2017); see `ops.roi_align`.

    Inputs and outputs are those of `RegionOperator`, and so are the arguments, to which these are added:

    Args:
        sampling_ratio: number of samples per cell and axis; 0 takes as many as the cell has pixels, rounded up.
        aligned: whether coordinates are shifted by half a pixel (Detectron2's version 2).

    Example:
        >>> RoIAlign(7, scales=[1 / 4, 1 / 8])([fine, coarse], boxes).shape
        TensorShape([1, 1000, 7, 7, 256])
    """

    def __init__(
        self,
        output_size: int | Sequence[int],
        scales: Sequence[float],
        sampling_ratio: int = 2,
        aligned: bool = False,
        lowest_level: int = 2,
        level_rounding: str = "floor",
        **kwargs: Any,
    ) -> None:
        super().__init__(output_size, scales, lowest_level, level_rounding, **kwargs)
        if not is_integer(sampling_ratio) or sampling_ratio < 0:
            raise ValueError(f"sampling_ratio must be a number of samples, or 0, received {sampling_ratio!r}")
        self.sampling_ratio, self.aligned = sampling_ratio, aligned

    def crop(self, maps: Sequence[Any], boxes: Any, levels: Any) -> Any:
        """Apply RoIAlign to each box on the map of its level."""
        return roi_align(maps, boxes, self.output_size, self.scales, levels, self.sampling_ratio, self.aligned)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return super().get_config() | {"sampling_ratio": self.sampling_ratio, "aligned": self.aligned}
