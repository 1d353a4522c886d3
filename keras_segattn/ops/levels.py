"""The rule that assigns regions to the levels of a feature pyramid (Lin et al. 2017, equation 1)."""

from typing import Any

from keras import ops

from keras_segattn.arguments import check_choice
from keras_segattn.ops.boxes import box_area

ROUNDINGS = ("floor", "round")


def assign_levels(
    boxes: Any,
    lowest: int,
    highest: int,
    canonical_level: int = 4,
    canonical_size: float = 224.0,
    rounding: str = "floor",
    epsilon: float = 1e-6,
) -> Any:
    """Compute the index of the pyramid level of each box, `canonical_level + log2(√area / canonical_size)`.

    Args:
        boxes: `(…, 4)` in pixels.
        lowest: finest level, of stride 2^lowest.
        highest: coarsest level.
        canonical_level: level of a box of `canonical_size`.
        canonical_size: side of a square box on the `canonical_level`, in pixels.
        rounding: `"floor"` (the paper, torchvision, Detectron2) or `"round"` (Matterport).
        epsilon: number added before rounding; torchvision's 1e-6 keeps exact powers of two on their level.

    Returns:
        int32 `(…)` in 0 … highest − lowest; boxes without area are on the finest level.

    Example:
        >>> assign_levels(keras.ops.array([[0.0, 0, 224, 224]]), lowest=2, highest=5)
        [2]
    """
    check_choice("rounding", rounding, ROUNDINGS)
    area = box_area(boxes)
    area = ops.where(area > 0, area, 1.0)  # replaces NaN too; a box of one pixel is on the finest level
    level = canonical_level + ops.log2(ops.sqrt(area) / canonical_size) + epsilon
    # Halves are rounded up: rounding them to even, as ops.round does, would depend on the canonical level.
    level = ops.floor(level + 0.5) if rounding == "round" else ops.floor(level)
    return ops.cast(ops.clip(level, lowest, highest), "int32") - lowest
