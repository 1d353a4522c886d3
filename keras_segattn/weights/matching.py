"""Matching of the tensors of a file to the variables of a model, by name, with conversion of their layout."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import keras
import numpy as np

from keras_segattn import registry
from keras_segattn.weights.folding import convolution_before, fold
from keras_segattn.weights.layout import flattened_map, to_keras
from keras_segattn.weights.report import LoadReport, Match, ShapeMismatch
from keras_segattn.weights.weight_file import WeightFile

# Variable of a Keras layer → its names in other frameworks. Caffe's blobs have numbers only, so they fill nothing
# but kernel and bias: in its normalisation layers the same numbers mean other things.
_LEAVES = {
    "kernel": ("weight", "weights", "W", "blob0"),
    "bias": ("biases", "b", "blob1"),
    "gamma": ("weight",),
    "beta": ("bias",),
    "moving_mean": ("running_mean",),
    "moving_variance": ("running_var",),
}
_BATCH_COUNTER = "num_batches_tracked"
# Layers that Keras itself named, with their number among the layers of their class in the process.
_NUMBERED = re.compile(r"(conv2d|batch_normalization)(?:_(\d+))?")
# Prefix of the layers of side classifiers, which the registry knows and which most models are built without.
_AUXILIARY = "aux"
# Number of ImageNet's classes; TF-slim's classifiers have one more, the first, for the background.
BACKGROUND = 1000

Assignment = tuple[str, keras.Variable, np.ndarray]


@dataclass(frozen=True)
class _Target:
    """A variable of the model: its layer, its name within the layer and its possible names in a file."""

    layer: keras.layers.Layer
    leaf: str
    variable: keras.Variable
    leaves: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.layer.name}.{self.leaf}"

    @property
    def kind(self) -> str:
        """Kind of variable, which decides the layout; Keras itself names depthwise kernels like all others."""
        kind = self.leaf.rpartition("/")[2]
        return f"depthwise_{kind}" if isinstance(self.layer, keras.layers.DepthwiseConv2D) else kind


class _Tensors:
    """The tensors of a file that nothing has claimed yet, found by the names that a layer may have in it."""

    def __init__(self, names: list[str]) -> None:
        self.free = dict.fromkeys(names)
        self._layers: dict[str, set[str]] = {}
        for name in names:
            layer, _, leaf = name.rpartition(".")
            self._layers.setdefault(layer, set()).add(leaf)
        self._numbered = _numbered_layers(self._layers)

    def claim(self, layers: tuple[str, ...], leaves: tuple[str, ...]) -> str | None:
        """Claim the first free tensor named by one of the layers and one of the leaves; return its name."""
        for layer in layers:
            owner = self._numbered.get(layer, layer)
            for leaf in leaves:
                source = f"{owner}.{leaf}"
                if leaf in self._layers.get(owner, ()) and source in self.free:
                    del self.free[source]
                    return source
        return None

    def claim_all(self, layers: tuple[str, ...]) -> list[str]:
        """Claim all free tensors of the layers with these names; return the names of the tensors."""
        claimed = [f"{layer}.{leaf}" for layer in layers for leaf in sorted(self._layers.get(layer, ()))]
        claimed = [name for name in claimed if name in self.free]
        for name in claimed:
            del self.free[name]
        return claimed


def match(model: keras.Model, file: WeightFile) -> tuple[LoadReport, list[Assignment]]:
    """Match a file to a model; return the report and, per match, (name in the file, variable, value in our layout)."""
    file = _translated(model, file)
    ignored = _bookkeeping(model, file)
    tensors = _Tensors([name for name in file.tensors if name not in ignored])
    aliases = _aliases(model)
    matched, missing, mismatches = [], [], []
    assignments: dict[str, Assignment] = {}
    for target in _targets(model):
        names = (target.layer.name, *aliases.get(target.layer.name, ()))
        source = tensors.claim(names, target.leaves)
        if source is None:
            missing.append(target.name)
            continue
        value, shape = file.tensors[source], tuple(target.variable.shape)
        if file.background and (value.shape[-1:], shape[-1:]) == ((BACKGROUND + 1,), (BACKGROUND,)):
            value = value[..., 1:]
        converted = to_keras(value, file.layout, target.kind, shape, flattened_map(target.layer))
        if converted is None:
            mismatches.append(ShapeMismatch(target.layer.name, target.leaf, source, shape, tuple(value.shape)))
        else:
            matched.append(Match(target.layer.name, target.leaf, source))
            assignments[target.variable.path] = (source, target.variable, converted)
    for folded in _fold(model, file, tensors, aliases, assignments):
        if isinstance(folded, Match):
            matched.append(folded)
        else:
            mismatches.append(folded)
    ignored += [name for layer in _absent_auxiliaries(model) for name in tensors.claim_all(aliases[layer])]
    report = LoadReport(
        file.path,
        file.format,
        matched=tuple(matched),
        missing=tuple(missing),
        unexpected=tuple(tensors.free),
        shape_mismatch=tuple(mismatches),
        ignored=(*file.ignored, *ignored),
    )
    return report, list(assignments.values())


def _translated(model: keras.Model, file: WeightFile) -> WeightFile:
    """Convert the file to the conventions in which the model's cards name its layers."""
    for card in registry.cards_of(model):
        if card.translate is not None:
            file = replace(file, tensors=card.translate(file.tensors))
    return file


def _fold(
    model: keras.Model,
    file: WeightFile,
    tensors: _Tensors,
    aliases: dict[str, tuple[str, ...]],
    assignments: dict[str, Assignment],
) -> Iterator[Match | ShapeMismatch]:
    """Fold scales and biases of the file that the model has no variable for into the values to assign.

    They stay unexpected if the values that they belong to are not assigned.
    """

    def names(layer: keras.layers.Layer) -> tuple[str, ...]:
        return (layer.name, *aliases.get(layer.name, ()))

    def reassign(variable: keras.Variable, value: np.ndarray) -> None:
        source, _, _ = assignments[variable.path]
        assignments[variable.path] = (source, variable, value)

    for layer in model.layers:
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        before = convolution_before(layer)
        if layer.moving_mean.path not in assignments:
            continue
        gamma = bias = None
        if not layer.scale and getattr(getattr(before, "kernel", None), "path", None) in assignments:
            gamma = tensors.claim(names(layer), ("gamma", *_LEAVES["gamma"]))
        if getattr(before, "use_bias", True) is False:
            bias = tensors.claim(names(before), ("bias", *_LEAVES["bias"], "1"))
        shape = tuple(layer.moving_mean.shape)
        claimed = (("gamma", gamma), ("bias", bias))
        wrong = [(leaf, name) for leaf, name in claimed if name and file.tensors[name].size != shape[0]]
        for leaf, name in wrong:
            yield ShapeMismatch(layer.name, leaf, name, shape, tuple(file.tensors[name].shape))
        if wrong:
            continue
        if gamma or bias:
            fold(
                layer,
                None if gamma is None else file.tensors[gamma].reshape(-1),
                None if bias is None else file.tensors[bias].reshape(-1),
                lambda variable: assignments[variable.path][2],
                reassign,
            )
        if gamma:
            yield Match(before.name, "kernel (scaled)", gamma)
        if bias:
            yield Match(layer.name, "moving_mean (shifted)", bias)


def _numbered_layers(layers: dict[str, set[str]]) -> dict[str, str]:
    """Map `"conv2d#0"` to the first convolution that Keras numbered, whatever number it got, and so on."""
    found: dict[str, list[tuple[int, str]]] = {}
    for layer in layers:
        if numbered := _NUMBERED.fullmatch(layer):
            found.setdefault(numbered[1], []).append((int(numbered[2] or 0), layer))
    return {f"{kind}#{i}": layer for kind, group in found.items() for i, (_, layer) in enumerate(sorted(group))}


def _absent_auxiliaries(model: keras.Model) -> list[str]:
    """List the side classifiers of the model's architecture that the model was built without."""
    own = {layer.name for layer in model.layers}
    known = {layer for card in registry.cards_of(model) for layer in card.weight_names}
    return sorted(layer for layer in known - own if layer.startswith(_AUXILIARY))


def _bookkeeping(model: keras.Model, file: WeightFile) -> list[str]:
    """List tensors that are no weights: PyTorch's batch counters, and factors that the model has as constants.

    Caffe stores the fixed factor of a `Scale` layer (FCN-8s at-once) once per channel; here it is a `Rescaling`.
    """
    factors = {
        layer.name: layer.scale
        for layer in model.layers
        if isinstance(layer, keras.layers.Rescaling) and layer.offset == 0
    }
    names = []
    for name, value in file.tensors.items():
        layer, _, leaf = name.rpartition(".")
        is_factor = (
            layer in factors and leaf in ("blob0", "gamma") and np.allclose(value, factors[layer], rtol=1e-6, atol=0)
        )
        if leaf == _BATCH_COUNTER or is_factor:
            names.append(name)
    return names


def _targets(model: keras.Model) -> Iterator[_Target]:
    """Yield every variable of the model, layer by layer, without random seeds."""
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
    """Return the name of a variable within its layer: `"kernel"`, or `"part/kernel"` inside a composite layer."""
    _, found, name = f"/{variable.path}".partition(f"/{layer.name}/")
    return name if found else variable.name


def _aliases(model: keras.Model) -> dict[str, tuple[str, ...]]:
    """Return layer name → its names in foreign files, those of the most specific architecture first."""
    own = {layer.name for layer in model.layers}
    merged: dict[str, tuple[str, ...]] = {}
    for card in registry.cards_of(model):
        for layer, names in card.weight_names.items():
            # Another layer's own name is never an alias: a tensor of that name in the file belongs to that layer.
            merged[layer] = (*merged.get(layer, ()), *(name for name in names if name not in own))
    return merged
