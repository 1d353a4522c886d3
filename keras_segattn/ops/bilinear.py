"""The kernel with which a transposed convolution interpolates bilinearly."""

import numpy as np


def bilinear_kernel(size: int) -> np.ndarray:
    """Compute the separable tent filter of a bilinear up-sampling by `(size + 1) // 2`.

    With `f = (size + 1) // 2` and `c` the filter's centre, entry (y, x) is
    `(1 - |y - c| / f) (1 - |x - c| / f)`.

    Args:
        size: height and width of the kernel in pixels, at least 1.

    Returns:
        float32 array `(size, size)`, values in (0, 1].

    Raises:
        ValueError: if `size` is not a positive integer.

    Example:
        >>> bilinear_kernel(4)[0]
        array([0.0625, 0.1875, 0.1875, 0.0625], dtype=float32)
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ValueError(f"size must be a positive integer, received {size!r}")
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    tent = 1 - np.abs(np.arange(size) - centre) / factor
    return np.outer(tent, tent).astype("float32")
