"""Calibration data: samples from which an int8 conversion learns the range of every activation."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from keras_segattn.endpoints import Spec

MIN_SAMPLES = 8
# More samples hardly change the ranges, and all samples are in memory at once.
MAX_SAMPLES = 128


def calibration_samples(
    calibration: Any, signatures: Mapping[str, Mapping[str, Spec]]
) -> dict[str, dict[str, np.ndarray]]:
    """Check calibration data and convert it to arrays, one sample per row.

    Args:
        calibration: data, preprocessed as the network expects, of which the first `MAX_SAMPLES` are used. For one
            signature with one input: an array `(n, *shape)`, an iterable of samples or batches, or a
            `tf.data.Dataset` of them; of `(image, mask)` pairs the image is taken. Otherwise signature → input name →
            such data.
        signatures: signature → input name → shape, with a batch of 1, and dtype.

    Returns:
        signature → input name → `(n, 1, *shape)` in the dtype of the input.

    Raises:
        ValueError: if signatures or inputs are missing, a shape differs, samples are of another kind than the input
            (floating, integer or boolean) or not finite, or there are fewer than `MIN_SAMPLES`.
    """
    names = [(signature, name) for signature, inputs in signatures.items() for name in inputs]
    if not isinstance(calibration, Mapping):
        if len(names) != 1:
            raise ValueError(
                "with several inputs calibration must be a mapping signature → input name → samples for "
                f"{', '.join('/'.join(pair) for pair in names)}; received {type(calibration).__name__}"
            )
        calibration = {names[0][0]: {names[0][1]: calibration}}
    received = {signature: sorted(inputs) for signature, inputs in calibration.items()}
    expected = {signature: sorted(inputs) for signature, inputs in signatures.items()}
    if received != expected:
        raise ValueError(f"calibration must have the inputs {expected}, received {received}")
    return {
        signature: {
            name: _samples(calibration[signature][name], f"{signature}/{name}", spec) for name, spec in inputs.items()
        }
        for signature, inputs in signatures.items()
    }


def _samples(data: Iterable[Any], name: str, spec: Spec) -> np.ndarray:
    """Return the first samples of `data`, `(n, 1, *shape)`."""
    rows = list(itertools.islice(_rows(data, name, spec), MAX_SAMPLES))
    if len(rows) < MIN_SAMPLES:
        raise ValueError(f"calibration of {name} needs at least {MIN_SAMPLES} samples, received {len(rows)}")
    samples = np.stack(rows)[:, None]
    if not np.isfinite(samples).all():
        raise ValueError(f"calibration of {name} holds NaN or infinity; expected finite preprocessed images")
    return samples.astype(spec.dtype)


def _rows(data: Iterable[Any], name: str, spec: Spec) -> Iterable[np.ndarray]:
    """Yield single samples of an array, or of an iterable of samples or batches."""
    shape, floating = spec.shape[1:], np.dtype(spec.dtype).kind == "f"
    for item in data:
        array = np.asarray(item[0] if isinstance(item, tuple) else item)
        if floating and array.dtype.kind != "f":
            raise ValueError(
                f"calibration of {name} must be floating, preprocessed as the network expects, received "
                f"{array.dtype}; apply the model's preprocess_input"
            )
        whole = "b" if np.dtype(spec.dtype).kind == "b" else "iu"
        if not floating and array.dtype.kind not in whole:
            kinds = "booleans" if whole == "b" else "integers"
            raise ValueError(f"calibration of {name} must be {kinds}, received {array.dtype}")
        if array.shape[-len(shape) :] != shape or array.ndim not in (len(shape), len(shape) + 1):
            raise ValueError(
                f"calibration of {name} must hold samples of shape {shape}, or batches of them, received {array.shape}"
            )
        yield from array if array.ndim > len(shape) else (array,)
