"""Conversion of pictures that networks generate to pixels."""

from typing import Any

import numpy as np
from keras import ops


def pixels(images: Any, low: float = -1.0) -> np.ndarray:
    """Convert generated images to uint8.

    Args:
        images: float `(…, channels)`, `low`..1.
        low: value of black: -1 after tanh (DCGAN), 0 after a sigmoid (GRAN, conditional DCGAN).

    Returns:
        uint8, the same shape.

    Example:
        >>> pixels(np.array([-1.0, 1.0]))
        array([  0, 255], dtype=uint8)
    """
    scaled = (ops.convert_to_numpy(images).astype("float32") - low) / (1 - low)
    return np.clip(scaled * 255 + 0.5, 0, 255).astype("uint8")
