"""Palettes with one colour per class."""

import numpy as np

from keras_segattn.arguments import check_positive_integer

# The colours of Okabe and Ito, which colour-blind people can distinguish too, in an order in which the first few
# differ most.
_OKABE_ITO = (
    (0, 114, 178),  # blue
    (230, 159, 0),  # orange
    (204, 121, 167),  # reddish purple
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (213, 94, 0),  # vermillion
    (86, 180, 233),  # sky blue
    (0, 0, 0),  # black
)


def palette(classes: int) -> np.ndarray:
    """Return one colour per class: Okabe and Ito's colour-blind-safe ones for up to 8 classes, for more Pascal VOC's.

    Args:
        classes: number of classes, 1..256.

    Returns:
        uint8 `(classes, 3)`, RGB.

    Raises:
        ValueError: if `classes` is out of range.

    Example:
        >>> palette(3)[1]
        array([230, 159,   0], dtype=uint8)
    """
    check_positive_integer("classes", classes)
    if classes > 256:
        raise ValueError(f"expected at most the 256 classes of Pascal VOC's palette, received classes={classes}")
    return np.array(_OKABE_ITO[:classes], np.uint8) if classes <= len(_OKABE_ITO) else _voc(classes)


def _voc(classes: int) -> np.ndarray:
    """Make Pascal VOC's palette: bits 0, 3, 6 of a class are the high bits of red; 1, 4, 7 of green; 2, 5 of blue."""
    number = np.arange(classes)[:, None]
    colours = np.zeros((classes, 3), np.int64)
    for bit in range(8):
        colours |= (number >> (3 * bit + np.arange(3)) & 1) << (7 - bit)
    return colours.astype(np.uint8)
