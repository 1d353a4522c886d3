"""The generative adversarial metric: two generators compared by letting each face the other's discriminator."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_segattn.generation.latent import black

# Batch size: about as in the training of discriminators that normalise by the batch.
BATCH = 100


class Adversaries(NamedTuple):
    """A generator and the discriminator it was trained against; their images have the same range of values."""

    generator: keras.Model
    discriminator: keras.Model


@dataclass(frozen=True)
class Battle:
    """The result of a battle of two pairs, 1 and 2 (Im et al. 2016, section 5).

    The published code divides accuracies, the paper's text divides errors. The winner is the same: the pair whose
    discriminator recognises more of the other pair's images as generated, if both discriminators recognise real images
    about equally well.

    Args:
        real_errors: shares of held-out real images that discriminators 1 and 2 call generated.
        sample_errors: shares of the other pair's images that they call real: D1 of G2's, D2 of G1's.
        tolerance: largest distance of `test_accuracy_ratio` from 1 at which the battle counts.
    """

    real_errors: tuple[float, float]
    sample_errors: tuple[float, float]
    tolerance: float

    @property
    def test_accuracy_ratio(self) -> float:
        """Accuracy of D1 divided by accuracy of D2 on real images (r_test in the code)."""
        return ratio(1 - self.real_errors[0], 1 - self.real_errors[1])

    @property
    def test_error_ratio(self) -> float:
        """Error of D1 divided by error of D2 on real images (r_test in the paper)."""
        return ratio(*self.real_errors)

    @property
    def sample_accuracy_ratio(self) -> float:
        """Accuracy of D1 on G2's images divided by that of D2 on G1's (r_sample in the code): above 1, pair 1 wins."""
        return ratio(1 - self.sample_errors[0], 1 - self.sample_errors[1])

    @property
    def sample_error_ratio(self) -> float:
        """Error of D1 on G2's images divided by that of D2 on G1's (r_sample in the paper): below 1, pair 1 wins."""
        return ratio(*self.sample_errors)

    @property
    def winner(self) -> int | None:
        """Winning pair, 1 or 2; `None` if they are equal, or if one knows real images too much better to be fair."""
        if not abs(self.test_accuracy_ratio - 1) <= self.tolerance or self.sample_errors[0] == self.sample_errors[1]:
            return None
        return 1 if self.sample_errors[0] < self.sample_errors[1] else 2


def adversarial_battle(
    first: Adversaries,
    second: Adversaries,
    images: np.ndarray,
    noise: tuple[Any, Any],
    *,
    tolerance: float = 0.1,
) -> Battle:
    """Let two generators try to fool each other's discriminators.

    Args:
        first: pair 1.
        second: pair 2. Its images may have another range (-1..1 after tanh, 0..1 after a sigmoid) and are converted.
        images: held-out real images, uint8 `(count, side, side, channels)`.
        noise: inputs of generators 1 and 2, each for as many images as it is to make.
        tolerance: largest distance of `Battle.test_accuracy_ratio` from 1 at which the battle counts.

    Returns:
        The errors, their ratios in both readings, and the winner.

    Raises:
        ValueError: if the images are not uint8.

    Example:
        >>> z = generation.noise("normal", 1000, 100)
        >>> print(adversarial_battle(Adversaries(g1, d1), Adversaries(g2, d2), test_images, (z, z)).winner)
    """
    if np.asarray(images).dtype != np.uint8:
        raise ValueError(f"expected images as uint8, received {np.asarray(images).dtype}")
    pairs = (first, second)
    made = [in_batches(pair.generator, z) for pair, z in zip(pairs, noise, strict=True)]
    blacks = [black(pair.generator) for pair in pairs]
    # Generated images are brought to 0..1, and from there to the range of each discriminator.
    unit = [(x - low) / (1 - low) for x, low in zip(made, blacks, strict=True)]
    real = np.asarray(images, "float32") / 255
    judged = [
        (called_real(pair.discriminator, real, low), called_real(pair.discriminator, other, low))
        for pair, other, low in zip(pairs, reversed(unit), blacks, strict=True)
    ]
    return Battle(
        real_errors=(1 - judged[0][0], 1 - judged[1][0]),
        sample_errors=(judged[0][1], judged[1][1]),
        tolerance=tolerance,
    )


def called_real(discriminator: keras.Model, unit: np.ndarray, low: float) -> float:
    """Return the share of images, 0..1, that a discriminator finds more likely real than generated."""
    scores = in_batches(discriminator, low + unit * (1 - low))
    probabilities = discriminator.get_layer("score").activation is keras.activations.sigmoid
    return float(np.mean(scores > (0.5 if probabilities else 0)))


def in_batches(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Run a model on about `BATCH` inputs at a time, and return the outputs for all."""
    parts = np.array_split(inputs, max(1, round(len(inputs) / BATCH)))
    return np.concatenate([ops.convert_to_numpy(model(part)) for part in parts])


def ratio(a: float, b: float) -> float:
    """Divide `a` by `b`; if `b` is 0, the result is infinite, or NaN if `a` is 0, too."""
    return a / b if b else (math.inf if a else math.nan)
