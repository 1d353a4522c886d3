"""The base class of layers that crop regions."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_segattn.arguments import is_integer
from keras_segattn.ops.levels import ROUNDINGS, assign_levels


class RegionOperator(keras.layers.Layer):
    """Crops every box from the map of a pyramid that suits the size of the box, or from a single map.

    Args:
        output_size: (rows P, columns Q) of the grid of cells, or one number for both.
        scales: map pixels ÷ image pixels, one number per map, finest map first; each map has half the size of the one
            before.
        lowest_level: level of the first map in the pyramid; its stride is 2^lowest_level.
        level_rounding: `"floor"` (the paper, torchvision, Detectron2) or `"round"` (Matterport).

    Call arguments:
        maps: list of maps `(batch, height, width, channels)`, one per scale.
        boxes: `(batch, regions, 4)` in pixels of the image, which are read in float32 whatever the dtype policy.

    Output:
        `(batch, regions, P, Q, channels)` in the layer's compute dtype.

    Raises:
        ValueError: if an argument is wrong, or the numbers of maps and scales differ.
    """

    def __init__(
        self,
        output_size: int | Sequence[int],
        scales: Sequence[float],
        lowest_level: int = 2,
        level_rounding: str = "floor",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Half precision does not hold a coordinate: only the maps are cast, not the boxes.
        self.autocast = False
        # On TensorFlow these layers use kernels that XLA does not have.
        self.supports_jit = keras.backend.backend() != "tensorflow"
        size = (output_size, output_size) if is_integer(output_size) else tuple(output_size)
        if len(size) != 2 or not all(is_integer(n) and n > 0 for n in size):
            raise ValueError(f"output_size must be one or two positive integers, received {output_size!r}")
        if not scales or not all(scale > 0 for scale in scales):
            raise ValueError(f"scales must be positive numbers, one per map, received {scales!r}")
        if level_rounding not in ROUNDINGS:
            raise ValueError(f"level_rounding must be one of {ROUNDINGS}, received {level_rounding!r}")
        self.output_size, self.scales = size, [float(scale) for scale in scales]
        self.lowest_level, self.level_rounding = lowest_level, level_rounding

    def levels(self, boxes: Any) -> Any:
        """Return the index of the map of each box, int32 `(batch, regions)`."""
        highest = self.lowest_level + len(self.scales) - 1
        return assign_levels(boxes, self.lowest_level, highest, rounding=self.level_rounding)

    def crop(self, maps: Sequence[Any], boxes: Any, levels: Any) -> Any:
        """Crop each box from the map of its level; `levels` int32 `(batch, regions)`."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it crops")

    def call(self, maps: Sequence[Any], boxes: Any) -> Any:
        """Crop `boxes` from `maps`."""
        maps = [ops.cast(x, self.compute_dtype) for x in maps]
        boxes = ops.cast(boxes, "float32")
        return self.crop(maps, boxes, self.levels(boxes))

    def compute_output_spec(self, maps: Sequence[Any], boxes: Any) -> keras.KerasTensor:
        """Describe the output: one grid of cells per region."""
        if len(maps) != len(self.scales):
            raise ValueError(f"expected {len(self.scales)} maps, one per scale, received {len(maps)}")
        shape = (maps[0].shape[0], boxes.shape[1], *self.output_size, maps[0].shape[-1])
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        names = ("output_size", "scales", "lowest_level", "level_rounding")
        return super().get_config() | {name: getattr(self, name) for name in names}
