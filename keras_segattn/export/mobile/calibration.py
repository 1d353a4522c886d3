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
        calibration: data, preprocessed as the network expects, of which the first `MAX_SAMPLES` are used: an array, an
            iterable of samples or batches, a `tf.data.Dataset`, or a function that returns one of them, such as a
            `representative_dataset` of TFLite. For one signature, each item is an array for its only input, a list or
            tuple of arrays in the order of the inputs, a mapping input name → array, or a tuple that begins with one
            of these and goes on with targets. With several signatures, each item is a tuple of a signature and such
            an item. Or else a mapping input name → data of that input, or signature → such a mapping.
        signatures: signature → input name → shape, with a batch of 1, and dtype.

    Returns:
        signature → input name → `(n, 1, *shape)` in the dtype of the input.

    Raises:
        ValueError: if the data have another form, signatures or inputs are missing, a shape differs, samples are of
            another kind than the input (floating, integer or boolean), not finite, all alike or blank, or there are
            fewer than `MIN_SAMPLES`.
    """
    given = getattr(calibration, "input_gen", calibration)  # of a `tf.lite.RepresentativeDataset`
    given = given() if callable(given) else given
    if isinstance(given, Mapping):
        if len(signatures) == 1 and not set(given) & set(signatures):
            given = {next(iter(signatures)): given}
        received = {name: sorted(one) if isinstance(one, Mapping) else one for name, one in given.items()}
        expected = {signature: sorted(inputs) for signature, inputs in signatures.items()}
        if received != expected:
            raise ValueError(f"calibration must have the inputs {expected}, received {received!r:.300}")
        rows = {
            signature: {
                name: list(itertools.islice(_rows(given[signature][name], f"{signature}/{name}", spec), MAX_SAMPLES))
                for name, spec in inputs.items()
            }
            for signature, inputs in signatures.items()
        }
    else:
        rows = _rows_of_items(given, signatures)
    found = {
        signature: {name: _samples(rows[signature][name], f"{signature}/{name}", spec) for name, spec in inputs.items()}
        for signature, inputs in signatures.items()
    }
    for signature, samples in found.items():
        _check_varied(signature, samples)
    return found


def _rows_of_items(
    items: Iterable[Any], signatures: Mapping[str, Mapping[str, Spec]]
) -> dict[str, dict[str, list[np.ndarray]]]:
    """Return signature → input name → the first samples of an iterable whose items hold all inputs of a signature."""
    if isinstance(items, str | bytes) or not (hasattr(items, "__iter__") or hasattr(items, "__getitem__")):
        raise ValueError(f"calibration must be an array, an iterable, a mapping or a function, received {items!r:.100}")
    rows: dict[str, dict[str, list[np.ndarray]]] = {
        signature: {name: [] for name in inputs} for signature, inputs in signatures.items()
    }
    for item in items:
        signature, values = _values(item, signatures)
        for name, value in values.items():
            more = _rows([value], f"{signature}/{name}", signatures[signature][name])
            rows[signature][name] = [*rows[signature][name], *more][:MAX_SAMPLES]
        if all(len(kept) == MAX_SAMPLES for named in rows.values() for kept in named.values()):
            break
    return rows


def _values(item: Any, signatures: Mapping[str, Mapping[str, Spec]]) -> tuple[str, dict[str, Any]]:
    """Return the signature of an item, and input name → sample or batch of samples."""
    signature, values = next(iter(signatures)), item
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
        signature, values = item
    elif len(signatures) > 1:
        signature = ""
    names = list(signatures.get(signature, ()))
    if isinstance(values, tuple) and values and isinstance(values[0], Mapping | list | tuple):
        values = values[0]  # the rest are targets
    if isinstance(values, Mapping) and sorted(values) == sorted(names):
        return signature, dict(values)
    arrays = isinstance(values, list | tuple) and all(hasattr(value, "shape") for value in values)
    if arrays and len(values) == len(names):
        return signature, dict(zip(names, values, strict=True))
    if len(names) == 1 and not isinstance(values, Mapping):
        return signature, {names[0]: values[0] if isinstance(values, tuple) else values}
    wanted = ", ".join(f"{one}/{name}" for one, inputs in signatures.items() for name in inputs)
    keys = f" of {sorted(map(str, values))}" if isinstance(values, Mapping) else ""
    raise ValueError(
        f"calibration must be a mapping signature → input name → samples for {wanted}; "
        f"received {type(item).__name__}{keys}"
    )


def _check_varied(signature: str, samples: Mapping[str, np.ndarray]) -> None:
    """Raise `ValueError` if the samples of a signature are all alike, or its pictures are all of one colour."""
    if samples and all((array == array[:1]).all() for array in samples.values()):
        raise ValueError(
            f"calibration of {signature} holds one sample {len(next(iter(samples.values())))} times; expected "
            "different ones that are typical for use, since int8 learns its ranges from them"
        )
    for name, array in samples.items():
        places = tuple(range(2, array.ndim - 1))  # height and width
        if len(places) == 2 and not (array.max(axis=places) - array.min(axis=places)).any():
            raise ValueError(f"calibration of {signature}/{name} holds blank pictures only; expected typical ones")


def _samples(rows: list[np.ndarray], name: str, spec: Spec) -> np.ndarray:
    """Return samples as an array `(n, 1, *shape)`."""
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
