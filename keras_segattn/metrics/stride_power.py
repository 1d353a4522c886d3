"""One number that measures checkerboard patterns in images."""

import numpy as np

from keras_segattn.arguments import check_positive_integer


def stride_frequency_power(images: np.ndarray, stride: int = 2) -> float:
    """Compute the share of the power of images at the frequencies of a pattern that repeats every stride.

    The mean of each image is subtracted before. Transposed convolutions whose stride does not divide their kernel leave
    such a pattern (Odena et al. 2016).

    Args:
        images: real numbers `(count, height, width, channels)`; brightness and contrast do not matter.
        stride: period of the pattern in pixels; it divides height and width.

    Returns:
        0..1; for white noise `(stride² - 1) / (height · width - 1)`, for photographs less.

    Raises:
        ValueError: if the shape is wrong, the stride does not divide it, or the images are constant.

    Example:
        >>> board = np.indices((8, 8)).sum(0) % 2
        >>> stride_frequency_power(board[None, :, :, None])
        1.0
    """
    check_positive_integer("stride", stride)
    images = np.asarray(images, "float64")
    if images.ndim != 4 or stride < 2 or images.shape[1] % stride or images.shape[2] % stride:
        raise ValueError(
            f"expected (count, height, width, channels), divided by a stride > 1, got {images.shape}, {stride}"
        )
    centred = images - images.mean(axis=(1, 2), keepdims=True)
    power = (np.abs(np.fft.fft2(centred, axes=(1, 2))) ** 2).sum(axis=(0, 3))
    total = power.sum()
    if not total > 0:
        raise ValueError("expected images that are not constant")
    # The first of these frequencies is the mean, which was subtracted above.
    return float(power[:: len(power) // stride, :: len(power[0]) // stride].sum() / total)
