"""The Fréchet distance between the feature distributions of generated and of real images."""

import numpy as np


def frechet_distance(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """Compute the squared Fréchet distance of Gaussians fitted to two sets of features (Heusel et al. 2017).

    It is |μa - μb|² + Tr(Σa + Σb - 2 (Σa Σb)^½). With Σ = XᵀX the trace of the root is the sum of the singular values
    of Xa Xbᵀ. This avoids the root of a matrix, which would need covariances that are not singular.

    Args:
        features_a: real numbers `(count, features)`, at least two rows, from a network of the caller's choice.
        features_b: real numbers `(count, features)` of other images, with the same number of features.

    Returns:
        A number of at least 0. It decreases as the counts grow, so compare distances only of equal numbers of images.

    Raises:
        ValueError: if the shapes are wrong or a value is not finite.

    Example:
        >>> real = np.random.default_rng(0).normal(size=(1000, 4))
        >>> round(frechet_distance(real, real + [1, 0, 0, 2]), 6)
        5.0
    """
    sets = [np.asarray(features, "float64") for features in (features_a, features_b)]
    shapes = [features.shape for features in sets]
    if any(len(shape) != 2 or shape[0] < 2 for shape in shapes) or shapes[0][1] != shapes[1][1]:
        raise ValueError(f"expected features (count > 1, features) twice, received {shapes[0]} and {shapes[1]}")
    if not all(np.isfinite(features).all() for features in sets):
        raise ValueError("expected finite features, received NaN or infinity")
    means = [features.mean(axis=0) for features in sets]
    # XᵀX is the covariance. It stays the same if X is replaced by the triangle R of its QR decomposition.
    a, b = (np.linalg.qr((x - mean) / np.sqrt(len(x) - 1)).R for x, mean in zip(sets, means, strict=True))
    moved = np.sum((means[0] - means[1]) ** 2)
    spread = np.square(a).sum() + np.square(b).sum() - 2 * np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(max(0.0, moved + spread))  # rounding may make it negative for equal sets
