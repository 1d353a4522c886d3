"""Textons: whitening of filter responses, and the centres of their clusters."""

import numpy as np

# Least variance of a direction of the responses that is whitened, in squared units of CIELab. What varies less is
# rounding, such as the colours of grey pictures, and gets the weight 0.
LEAST_VARIANCE = 1e-8
# Largest number of iterations of k-means.
ITERATIONS = 100


def whitening(mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the linear map that gives filter responses mean zero and the identity as covariance.

    Args:
        mean: mean of the responses, `(channels,)`.
        covariance: covariance of the responses, `(channels, channels)`.

    Returns:
        Kernel `V diag(1 / √s)` `(channels, channels)` and bias `(channels,)`, float32, where `s` and `V` are the
        eigenvalues and eigenvectors of the covariance: whitened responses are `x @ kernel + bias`. Directions without
        variance are mapped to 0.

    Raises:
        ValueError: if no direction has any variance.
    """
    variances, directions = np.linalg.eigh(covariance)
    varies = variances > LEAST_VARIANCE
    if not varies.any():
        raise ValueError("textons cannot be learned from pictures of one colour: their filter responses are constant")
    kernel = directions * np.where(varies, 1 / np.sqrt(np.where(varies, variances, 1)), 0)
    return kernel.astype("float32"), (-mean @ kernel).astype("float32")


def cluster_centres(points: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the centres of `count` clusters of points, by k-means (scikit-learn) from random points.

    Args:
        points: whitened responses `(points, channels)`.
        count: number of clusters.
        seed: seed of the first centres.

    Returns:
        Centres `(count, channels)`, float32.

    Raises:
        ValueError: if there are fewer different points than clusters.
        ModuleNotFoundError: if scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import KMeans
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("textons need `pip install keras-segattn[labelling]` (scikit-learn)") from error
    different = len(np.unique(points, axis=0))
    if different < count:
        raise ValueError(f"{count} textons need as many different filter responses, the pictures have {different}")
    clusters = KMeans(count, init="random", n_init=1, max_iter=ITERATIONS, random_state=seed).fit(points)
    return clusters.cluster_centers_.astype("float32")
