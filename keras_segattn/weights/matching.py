"""Matching of the tensors of a file to the variables of a model, by name, with conversion of their layout."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import keras
import numpy as np

from keras_segattn import registry
from keras_segattn.weights.folding import convolution_before, fold
from keras_segattn.weights.layer_settings import other_settings
from keras_segattn.weights.layout import flattened_map, to_keras
from keras_segattn.weights.naming import NamedVariable, Place, automatic_names, named_variables, ranked, split
from keras_segattn.weights.report import LoadReport, Match, ShapeMismatch, WeightsError
from keras_segattn.weights.state_dicts import unwrapped
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


class _Tensors:
    """The tensors of a file that nothing has claimed yet, found by the names that a layer may have in it."""

    def __init__(self, names: list[str]) -> None:
        self.free = dict.fromkeys(names)
        self._numbered = _numbered_layers(dict.fromkeys(name.rpartition(".")[0] for name in names))

    def claim(self, names: Iterable[tuple[str, str]]) -> str | None:
        """Claim the first free tensor with one of the names (layer, leaf); return its name."""
        for layer, leaf in names:
            source = f"{self._numbered.get(layer, layer)}.{leaf}".removeprefix(".")
            if source in self.free:
                del self.free[source]
                return source
        return None

    def claim_all(self, layers: tuple[str, ...]) -> list[str]:
        """Claim all free tensors of the layers with these names; return the names of the tensors."""
        claimed = [name for name in self.free if name.rpartition(".")[0] in layers]
        for name in claimed:
            del self.free[name]
        return claimed


class _Names:
    """The names that the variables of a model may have in a file."""

    def __init__(self, model: keras.Model, variables: list[NamedVariable], file: WeightFile) -> None:
        self.aliases = _aliases(model)
        self._variables = variables
        automatic = automatic_names(model) if file.layout == "keras" else set()
        theirs = ranked({split(name)[0] for name in file.tensors}, automatic)
        by_rank = {rank: chain for chain, rank in theirs.items()}
        ranks = ranked({place.chain for named in variables for place in named.places}, automatic)
        # Layer of the model → the layer of the file that Keras named and that has the same rank.
        self._equal_ranks = {chain: by_rank[rank] for chain, rank in ranks.items() if rank in by_rank}

    def of(self, layer: str, leaf: str) -> list[tuple[str, str]]:
        """Return the possible names (layer, leaf) of a variable of a layer, the layer's own name first."""
        kinds = (leaf, *_LEAVES.get(leaf, ()))
        return [(name, kind) for name in (layer, *self.aliases.get(layer, ())) for kind in kinds]

    def at(self, place: Place) -> Iterator[tuple[str, str]]:
        """Yield the possible names (layer, leaf) of a variable, which may be inside other layers."""
        leaves = (place.leaf, *_LEAVES.get(place.leaf, ()), str(place.position))
        chain = self._equal_ranks.get(place.chain, place.chain)
        layer = "".join(chain[:1])
        for name in (layer, *self.aliases.get(layer, ())):
            yield from ((name, "/".join([*chain[1:], leaf])) for leaf in leaves)

    def claim(self, named: NamedVariable, tensors: _Tensors) -> str | None:
        """Claim the tensor of a variable, and its copies in other layers that share it."""
        claimed = [tensors.claim(self.at(place)) for place in named.places]
        return next(filter(None, claimed), None)

    def known(self) -> set[str]:
        """Return all names `"layer.leaf"` of all variables."""
        return {f"{layer}.{leaf}" for v in self._variables for place in v.places for layer, leaf in self.at(place)}


class Matching(NamedTuple):
    """The tensors of a file in a model.

    Args:
        report: report on every tensor and variable.
        assignments: name in the file, variable and value in our layout of every match.
        unexpected: tensors without a place in the model.
    """

    report: LoadReport
    assignments: list[Assignment]
    unexpected: Mapping[str, np.ndarray]


def match(model: keras.Model, file: WeightFile) -> Matching:
    """Match a file to a model."""
    variables = named_variables(model)
    names = _Names(model, variables, file)
    if file.layout == "torch":
        file = unwrapped(file, names.known())
    if needed := _needed(model, file) or other_settings(model, file.settings):
        raise WeightsError(
            f"{file.path}: expected weights for the form of {model.name!r}, found those of another form of the "
            f"network, which needs {needed}"
        )
    file = _translated(model, file)
    ignored = _bookkeeping(model, file)
    tensors = _Tensors([name for name in file.tensors if name not in ignored])
    matched, missing, mismatches = [], [], []
    assignments: dict[int, Assignment] = {}
    for named in variables:
        layer, leaf = _place(named)
        source = names.claim(named, tensors)
        if source is None:
            missing.append(named.name)
            continue
        value, shape = file.tensors[source], tuple(named.variable.shape)
        if file.background and (value.shape[-1:], shape[-1:]) == ((BACKGROUND + 1,), (BACKGROUND,)):
            value = value[..., 1:]
        converted = to_keras(value, file.layout, _kind(named), shape, flattened_map(named.owner))
        if converted is None:
            mismatches.append(ShapeMismatch(layer, leaf, source, shape, tuple(value.shape)))
        else:
            matched.append(Match(layer, leaf, source))
            assignments[id(named.variable)] = (source, named.variable, converted)
    for folded in _fold(model, file, tensors, names, assignments):
        if isinstance(folded, Match):
            matched.append(folded)
        else:
            mismatches.append(folded)
    ignored += [name for layer in _absent_auxiliaries(model) for name in tensors.claim_all(names.aliases[layer])]
    report = LoadReport(
        file.path,
        file.format,
        matched=tuple(matched),
        missing=tuple(missing),
        unexpected=tuple(tensors.free),
        shape_mismatch=tuple(mismatches),
        ignored=(*file.ignored, *ignored),
    )
    return Matching(report, list(assignments.values()), {name: file.tensors[name] for name in tensors.free})


def _needed(model: keras.Model, file: WeightFile) -> str | None:
    """Say which arguments of the model's builder fit the file's network, if it is known to be of another form."""
    for card in registry.cards_of(model)[:1]:
        if card.needs is not None:
            return card.needs(model, [*file.layers, *file.tensors])
    return None


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
    names: _Names,
    assignments: dict[int, Assignment],
) -> Iterator[Match | ShapeMismatch]:
    """Fold scales and biases of the file that the model has no variable for into the values to assign.

    They stay unexpected if the values that they belong to are not assigned.
    """

    def reassign(variable: keras.Variable, value: np.ndarray) -> None:
        source, _, _ = assignments[id(variable)]
        assignments[id(variable)] = (source, variable, value)

    for layer in model.layers:
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        before = convolution_before(layer)
        if before is None or id(layer.moving_mean) not in assignments:
            continue
        gamma = bias = None
        if not layer.scale and id(getattr(before, "kernel", None)) in assignments:
            gamma = tensors.claim(names.of(layer.name, "gamma"))
        if getattr(before, "use_bias", True) is False:
            bias = tensors.claim([*names.of(before.name, "bias"), (before.name, "1")])
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
                lambda variable: assignments[id(variable)][2],
                reassign,
            )
        if gamma:
            yield Match(before.name, "kernel (scaled)", gamma)
        if bias:
            yield Match(layer.name, "moving_mean (shifted)", bias)


def _numbered_layers(layers: Iterable[str]) -> dict[str, str]:
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


def _kind(named: NamedVariable) -> str:
    """Return the kind of a variable, which decides the layout; Keras names depthwise kernels like all others."""
    leaf = named.places[0].leaf
    return f"depthwise_{leaf}" if isinstance(named.owner, keras.layers.DepthwiseConv2D) else leaf


def _place(named: NamedVariable) -> tuple[str, str]:
    """Return the outermost layer of a variable and its name within it: `"kernel"`, or `"part/kernel"`."""
    layer = "".join(named.places[0].chain[:1])
    return layer, named.name.removeprefix(f"{layer}.")


def _aliases(model: keras.Model) -> dict[str, tuple[str, ...]]:
    """Return layer name → its names in foreign files, those of the most specific architecture first."""
    own = {layer.name for layer in model.layers}
    merged: dict[str, tuple[str, ...]] = {}
    for card in registry.cards_of(model):
        for layer, names in card.weight_names.items():
            # Another layer's own name is never an alias: a tensor of that name in the file belongs to that layer.
            merged[layer] = (*merged.get(layer, ()), *(name for name in names if name not in own))
    return merged
