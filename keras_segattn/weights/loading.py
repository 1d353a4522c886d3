"""Filling a model from a weight file: match by name, convert by layout, verify everything, then assign."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import keras
import numpy as np

from keras_segattn import registry
from keras_segattn.weights import caffemodel, keras_h5, packaged_pickle, safetensors_file, torch_file
from keras_segattn.weights.layout import flattened_map, to_keras
from keras_segattn.weights.report import LoadReport, Match, ShapeMismatch, WeightsError
from keras_segattn.weights.weight_file import WeightFile, unreadable

FORMATS = "a PyTorch checkpoint (.pth, .pt), .safetensors, Keras .h5 or .weights.h5, .caffemodel, or pickled arrays"

# Variable of a Keras layer → what other frameworks call it. Caffe's blobs have numbers only, so they fill nothing
# but kernel and bias: in its normalisation layers the same numbers mean other things.
_LEAVES = {
    "kernel": ("weight", "W", "blob0"),
    "bias": ("b", "blob1"),
    "gamma": ("weight",),
    "beta": ("bias",),
    "moving_mean": ("running_mean",),
    "moving_variance": ("running_var",),
}
_BATCH_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class _Target:
    """A variable of the model: its layer, its name within the layer and what it may be called in a file."""

    layer: keras.layers.Layer
    leaf: str
    variable: keras.Variable
    leaves: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.layer.name}.{self.leaf}"


def load(model: keras.Model, path: str | PathLike[str], *, partial: bool = False) -> LoadReport:
    """Fill a model with the weights of a file in any of the supported formats.

    Layers are matched by name, directly or by the names that the registry knows for them in other people's files;
    kernels change layout where needed, and a dense layer may fill the convolution it equals, or the reverse.

    Pictures must be normalised as for the network that the weights come from, which a file does not say: VGG16 of
    torchvision, unlike keras.applications' and Caffe's, wants
    `Preprocessing("RGB", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))`.

    Args:
        model: a model built here, or any functional model; changed only if the whole load succeeds.
        path: the file: PyTorch checkpoint (`.pth`, `.pt`), `.safetensors`, Keras `.h5` or `.weights.h5`,
            `.caffemodel`, or pickled NumPy arrays `{layer: [kernel, bias]}`. Nothing in it is ever executed.
        partial: accept variables without a tensor in the file, and tensors without a place in the model.
            Shapes that do not fit are never accepted.

    Returns:
        What became of every variable and every tensor; print it, or its `table()`.

    Raises:
        FileNotFoundError: if there is no such file.
        WeightsError: if the file is corrupt, of another kind or does not fit, or holds NaN or infinity; the message
            names the file, what was expected and what was found, and holds the report.

    Example:
        >>> report = weights.load(FCN8s(), "fcn8s_from_caffe.pth")
        >>> print(report)
        fcn8s_from_caffe.pth (PyTorch checkpoint): 39 matched, 0 missing, 0 unexpected, 0 shape mismatch, 0 ignored
    """
    return fill(model, read(Path(path)), allow_missing=partial, allow_unexpected=partial)


def read(path: Path) -> WeightFile:
    """The tensors of a weight file of any supported format, recognised by content; see `load`."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a weight file, found {'a folder' if path.is_dir() else 'nothing'}")
    with path.open("rb") as file:
        head = file.read(32)
    return _reader(path, head)(path)


def _reader(path: Path, head: bytes) -> Callable[[Path], WeightFile]:
    if not head:
        raise unreadable(path, FORMATS, "an empty file")
    if path.suffix == ".caffemodel":
        return caffemodel.read
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return keras_h5.read
    if head.startswith((b"PK\3\4", torch_file.LEGACY_START)):
        return torch_file.read
    if head[8:9] == b"{":
        return safetensors_file.read
    if head.startswith(b"\x80"):
        return packaged_pickle.read
    raise unreadable(path, FORMATS, f"bytes {head[:16]!r}")


def fill(model: keras.Model, file: WeightFile, *, allow_missing: bool, allow_unexpected: bool) -> LoadReport:
    """Match a file's tensors to a model's variables, verify, assign all of them or none; see `load`."""
    report, assignments = _match(model, file)
    accepted = (allow_missing or not report.missing) and (allow_unexpected or not report.unexpected)
    if not (report.matched and accepted) or report.shape_mismatch:
        hint = (
            "; weights.load(…, partial=True) accepts missing and unexpected tensors"
            if report.matched and not accepted
            else ""
        )
        raise WeightsError(f"the weights do not fit model {model.name!r}{hint}:\n{report}")
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
    return report


def _match(model: keras.Model, file: WeightFile) -> tuple[LoadReport, list[tuple[str, keras.Variable, np.ndarray]]]:
    """The report, and for each match (name in the file, variable, value in Keras's layout)."""
    ignored = _bookkeeping(model, file)
    free = dict.fromkeys(name for name in file.tensors if name not in ignored)
    in_file: dict[str, set[str]] = {}
    for name in free:
        layer_name, _, leaf_name = name.rpartition(".")
        in_file.setdefault(layer_name, set()).add(leaf_name)

    aliases = _aliases(model)
    matched, missing, mismatches, assignments = [], [], [], []
    for target in _targets(model):
        names = (target.layer.name, *aliases.get(target.layer.name, ()))
        owner = next((name for name in names if name in in_file), "")
        leaf = next((leaf for leaf in target.leaves if leaf in in_file.get(owner, ())), "")
        source = f"{owner}.{leaf}"
        if source not in free:
            missing.append(target.name)
            continue
        del free[source]
        value, shape = file.tensors[source], tuple(target.variable.shape)
        kind = target.leaf.rpartition("/")[2]
        converted = to_keras(value, file.layout, kind, shape, flattened_map(target.layer))
        if converted is None:
            mismatches.append(ShapeMismatch(target.layer.name, target.leaf, source, shape, tuple(value.shape)))
        else:
            matched.append(Match(target.layer.name, target.leaf, source))
            assignments.append((source, target.variable, converted))
    report = LoadReport(
        file.path,
        file.format,
        matched=tuple(matched),
        missing=tuple(missing),
        unexpected=tuple(free),
        shape_mismatch=tuple(mismatches),
        ignored=(*file.ignored, *ignored),
    )
    return report, assignments


def _bookkeeping(model: keras.Model, file: WeightFile) -> list[str]:
    """Tensors that are no weights: PyTorch's batch counters, and factors that the model has as constants.

    Caffe stores the fixed factor of a `Scale` layer (FCN-8s at-once) once a channel; here it is a `Rescaling`.
    """
    factors = {
        layer.name: layer.scale
        for layer in model.layers
        if isinstance(layer, keras.layers.Rescaling) and layer.offset == 0
    }
    names = []
    for name, value in file.tensors.items():
        layer, _, leaf = name.rpartition(".")
        is_factor = layer in factors and leaf == "blob0" and np.allclose(value, factors[layer], rtol=1e-6, atol=0)
        if leaf == _BATCH_COUNTER or is_factor:
            names.append(name)
    return names


def _check_finite(path: Path, name: str, value: np.ndarray) -> None:
    if value.dtype.kind not in "fiub" and value.dtype.name != "bfloat16":
        raise unreadable(path, f"real numbers in {name}", value.dtype)
    if not np.isfinite(value).all():
        raise unreadable(path, f"finite {value.dtype} numbers in {name}", "NaN, infinity or too large values")


def _targets(model: keras.Model) -> Iterator[_Target]:
    """Every variable of the model, layer by layer; random seeds are none."""
    for layer in model.layers:
        position: dict[str, int] = {}
        for variable in layer.weights:
            leaf = variable_name(layer, variable)
            scope, slash, kind = leaf.rpartition("/")
            # A Keras 3 file knows a variable by its position in the layer, or part of a layer, that owns it.
            index = position.setdefault(scope, 0)
            position[scope] += 1
            kinds = (kind, *_LEAVES.get(kind, ()), str(index))
            yield _Target(layer, leaf, variable, tuple(f"{scope}{slash}{name}" for name in kinds))


def variable_name(layer: keras.layers.Layer, variable: keras.Variable) -> str:
    """Name of a variable within its layer: `"kernel"`, or `"part/kernel"` inside a composite layer."""
    _, found, name = f"/{variable.path}".partition(f"/{layer.name}/")
    return name if found else variable.name


def _aliases(model: keras.Model) -> dict[str, tuple[str, ...]]:
    """Layer name → its names in other people's files, those of the most specific architecture first."""
    own = {layer.name for layer in model.layers}
    merged: dict[str, tuple[str, ...]] = {}
    for card in registry.cards_of(model):
        for layer, names in card.weight_names.items():
            # Another layer's own name is never an alias: what bears it in the file belongs to that layer.
            merged[layer] = (*merged.get(layer, ()), *(name for name in names if name not in own))
    return merged
