"""Filling a model from a weight file: match, verify everything, then assign."""

from os import PathLike
from pathlib import Path

import keras
import numpy as np

from keras_segattn.graph import parts
from keras_segattn.weights.formats import read
from keras_segattn.weights.matching import match
from keras_segattn.weights.naming import NOT_BUILT
from keras_segattn.weights.report import LoadReport, WeightsError
from keras_segattn.weights.weight_file import WeightFile, unreadable


def load(model: keras.Model, path: str | PathLike[str], *, partial: bool = False) -> LoadReport:
    """Fill a model with the weights of a file in any of the supported formats.

    Layers are matched by name, directly or by the names that the registry knows for them in foreign files; kernels
    change layout where needed, and a dense layer may fill the convolution it equals, or the reverse.

    Pictures must be normalised as for the network that the weights come from, which a file does not say. For example,
    torchvision's VGG16, unlike those of keras.applications and Caffe, expects
    `Picture("RGB", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))`.

    Args:
        model: a model built here, or any functional model; changed only if the whole load succeeds.
        path: path of a PyTorch checkpoint (`.pth`, `.pt`), `.safetensors`, Keras `.keras`, `.h5` or `.weights.h5`,
            `.npz`, `.caffemodel`, TF-slim checkpoint (the file, or the prefix of its files), pickled NumPy arrays, or
            the prefix of the `.npy` files of a list. Files are recognised by their content, and nothing in them is
            ever executed. A state dict of PyTorch may be nested in other entries, and all names may have a prefix such
            as `module.`; the report says what was taken.
        partial: whether to accept variables without a tensor in the file, and tensors without a place in the model.
            Shapes that do not fit are never accepted.

    Returns:
        Report on every variable and every tensor; print it, or its `table()`.

    Raises:
        FileNotFoundError: if there is no such file.
        WeightsError: if the file is corrupt, of another kind or does not fit, or holds NaN or infinity; the message
            names the file, what was expected and what was found, and begins the report, which is the error's `report`.

    Example:
        >>> report = weights.load(FCN8s(), "fcn8s_from_caffe.pth")
        >>> print(report)
        fcn8s_from_caffe.pth (PyTorch checkpoint): 39 matched, 0 missing, 0 unexpected, 0 shape mismatch, 0 ignored
    """
    return fill(model, read(Path(path)), allow_missing=partial, allow_unexpected=partial)


def fill(model: keras.Model, file: WeightFile, *, allow_missing: bool, allow_unexpected: bool) -> LoadReport:
    """Match a file's tensors to a model's variables, verify, assign all of them or none; see `load`."""
    if not model.built or not model.weights:
        raise WeightsError(f"expected a model with all its weights, {model.name!r} {NOT_BUILT}")
    report, assignments = match(model, file)
    accepted = (allow_missing or not report.missing) and (allow_unexpected or not report.unexpected)
    if not (report.matched and accepted) or report.shape_mismatch:
        hint = (
            "; weights.load(…, partial=True) accepts missing and unexpected tensors"
            if report.matched and not accepted
            else ""
        )
        raise WeightsError(f"the weights do not fit model {model.name!r}{hint}:\n{report}", report)
    for name in report.unexpected:
        _check_finite(file.path, name, file.tensors[name])
    ready = []
    for source, variable, value in assignments:
        with np.errstate(over="ignore"):  # too large for float16 becomes infinite, which is refused
            converted = value.astype(variable.dtype, copy=False)
        _check_finite(file.path, source, converted)
        ready.append((variable, converted))
    for variable, converted in ready:
        variable.assign(converted)
    for layer in parts(model):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it derives the numbers that it uses from its weights
    return report


def _check_finite(path: Path, name: str, value: np.ndarray) -> None:
    if value.dtype.kind not in "fiub" and value.dtype.name != "bfloat16":
        raise unreadable(path, f"real numbers in {name}", value.dtype)
    if not np.isfinite(value).all():
        raise unreadable(path, f"finite {value.dtype} numbers in {name}", "NaN, infinity or too large values")
