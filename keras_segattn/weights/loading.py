"""Filling a model from a weight file: match, verify everything, then assign."""

from os import PathLike
from pathlib import Path

import keras
import numpy as np

from keras_segattn.graph import parts
from keras_segattn.weights.formats import read
from keras_segattn.weights.matching import match
from keras_segattn.weights.naming import NOT_BUILT, named_variables
from keras_segattn.weights.report import LoadReport, WeightsError
from keras_segattn.weights.weight_file import WeightFile, unreadable


def load(
    model: keras.Model, path: str | PathLike[str], *, partial: bool = False, skip_mismatch: bool = False
) -> LoadReport:
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
        skip_mismatch: whether to leave out tensors whose shapes do not fit, such as the last layers of a network for
            other classes; their variables keep their initial values, and the report names them.

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

        A detector of COCO's classes becomes one of three own classes and the background, all but its heads trained:

        >>> detector = MaskRCNN(classes=4, variant="torchvision_coco")
        >>> report = weights.load(detector, "maskrcnn_resnet50_fpn_coco.pth", skip_mismatch=True)
        >>> [mismatch.layer for mismatch in report.shape_mismatch]
        ['box_logits', 'box_logits', 'box_deltas', 'box_deltas', 'mask_logits', 'mask_logits']
    """
    return fill(model, read(Path(path)), allow_missing=partial, allow_unexpected=partial, skip_mismatch=skip_mismatch)


def fill(
    model: keras.Model,
    file: WeightFile,
    *,
    allow_missing: bool,
    allow_unexpected: bool,
    skip_mismatch: bool = False,
) -> LoadReport:
    """Match a file's tensors to a model's variables, verify, assign all of them or none; see `load`."""
    if not model.built or not model.weights:
        raise WeightsError(f"expected a model with all its weights, {model.name!r} {NOT_BUILT}")
    report, assignments, unexpected = match(model, file)
    accepted = (allow_missing or not report.missing) and (allow_unexpected or not report.unexpected)
    # A scale or bias that is folded into other variables belongs to none that could keep its initial values.
    names = {f"{layer}.{variable}" for layer, variable, *_ in report.shape_mismatch}
    fits = not names or (skip_mismatch and names <= {named.name for named in named_variables(model)})
    if not (report.matched and accepted and fits):
        hint = _hint(accepted, fits) if report.matched else ""
        raise WeightsError(f"the weights do not fit model {model.name!r}{hint}:\n{report}", report)
    for name, value in unexpected.items():
        _check_finite(file.path, name, value)
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


def _hint(accepted: bool, fits: bool) -> str:
    """Say which arguments of `load` accept the differences."""
    hint = ""
    if not accepted:
        hint += "; weights.load(…, partial=True) accepts missing and unexpected tensors"
    if not fits:
        hint += "; weights.load(…, skip_mismatch=True) leaves out tensors of other shapes, as for other classes"
    return hint


def _check_finite(path: Path, name: str, value: np.ndarray) -> None:
    if value.dtype.kind not in "fiub" and value.dtype.name != "bfloat16":
        raise unreadable(path, f"real numbers in {name}", value.dtype)
    if not np.isfinite(value).all():
        raise unreadable(path, f"finite {value.dtype} numbers in {name}", "NaN, infinity or too large values")
