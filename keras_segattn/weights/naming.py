"""Names of a model's variables, by the layers that lead to them, however models and layers are nested.

A variable is named after its layer, `"conv1.kernel"`. Inside a model or a composite layer, the names of the parts that
lead to it follow the first: `"backbone.conv1/kernel"`, `"lstm.lstm_cell/bias"`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import keras

from keras_segattn.graph import children, own_weights

Chain = tuple[str, ...]

# The words for a model whose layers have not made their weights yet.
NOT_BUILT = "has none yet, or not all: call it once on an example"

_NUMBER = re.compile(r"(.+?)(?:_(\d+))?")
# Name of a variable that was made without a name.
_UNNAMED = re.compile(r"variable(_\d+)?")
# A `Bidirectional` puts one of these before the name of its layer.
_DIRECTIONS = ("", "forward_", "backward_")


class Place(NamedTuple):
    """A place of a variable in a model: its layer, and its name and position among the variables of that layer.

    Args:
        chain: names of the layers that lead to the variable, outermost first.
        leaf: name of the variable in its layer; its position, if it has no name of its own.
        position: position of the variable in its layer.
    """

    chain: Chain
    leaf: str
    position: int


@dataclass(frozen=True)
class NamedVariable:
    """A variable of a model.

    Args:
        variable: the variable.
        owner: the layer that made it.
        places: all places of the variable, which has several if layers share it or its layer.
    """

    variable: keras.Variable
    owner: keras.layers.Layer
    places: tuple[Place, ...]

    @property
    def name(self) -> str:
        """Name of the variable in files."""
        return join(self.places[0].chain, self.places[0].leaf)


def join(chain: Chain, leaf: str) -> str:
    """Return the name of a variable, `"layer.variable"`; a variable of the model itself has no layer before it."""
    return ".".join([*chain[:1], "/".join([*chain[1:], leaf])])


def split(name: str) -> tuple[Chain, str]:
    """Return the chain and the leaf of a name that `join` made."""
    head, *rest = name.split("/")
    layer, dot, second = head.rpartition(".")
    chain = [*([layer] if dot else []), second, *rest]
    return tuple(chain[:-1]), chain[-1]


def named_variables(model: keras.Model) -> list[NamedVariable]:
    """Name every weight of a model once, layer by layer."""
    found: dict[int, NamedVariable] = {}
    for chain, layer in _layers(model, ()):
        leaves: set[str] = set()
        for position, variable in enumerate(own_weights(layer)):
            leaf = str(position) if variable.name in leaves or _UNNAMED.fullmatch(variable.name) else variable.name
            leaves.add(leaf)
            known = found.get(id(variable), NamedVariable(variable, layer, ()))
            found[id(variable)] = replace(known, places=(*known.places, Place(chain, leaf, position)))
    return list(found.values())


def _layers(layer: keras.layers.Layer, chain: Chain) -> Iterator[tuple[Chain, keras.layers.Layer]]:
    yield chain, layer
    for child in children(layer):
        yield from _layers(child, (*chain, child.name))


def automatic_names(model: keras.Model) -> set[str]:
    """Return the names, without numbers, that Keras itself gave to layers, such as `"dense"` and `"forward_lstm"`."""
    return {
        stem
        for _, layer in _layers(model, ())
        for stem in (f"{direction}{_snake_case(type(layer).__name__)}" for direction in _DIRECTIONS)
        if re.fullmatch(rf"{stem}(_\d+)?", layer.name)
    }


def ranked(chains: Iterable[Chain], automatic: set[str]) -> Mapping[Chain, Chain]:
    """Replace the number in each automatic name by its rank and the count of such names beside it.

    Keras counts the layers of a class in the whole process, so the same network is `dense`, `dense_1` once and
    `dense_2`, `dense_3` another time. Both become `dense 0 of 2`, `dense 1 of 2`.
    """
    renamed = {chain: chain for chain in chains}
    for depth in range(max(map(len, renamed), default=0)):
        siblings: dict[tuple[Chain, str], set[int]] = {}
        for chain in renamed.values():
            if depth < len(chain) and (numbered := _numbered(chain[depth], automatic)):
                siblings.setdefault((chain[:depth], numbered[0]), set()).add(numbered[1])
        for original, chain in renamed.items():
            if depth < len(chain) and (numbered := _numbered(chain[depth], automatic)):
                numbers = sorted(siblings[chain[:depth], numbered[0]])
                label = f"{numbered[0]} {numbers.index(numbered[1])} of {len(numbers)}"
                renamed[original] = (*chain[:depth], label, *chain[depth + 1 :])
    return renamed


def _numbered(name: str, automatic: set[str]) -> tuple[str, int] | None:
    match = _NUMBER.fullmatch(name)
    return (match[1], int(match[2] or 0)) if match and match[1] in automatic else None


def _snake_case(name: str) -> str:
    """Return the name that Keras gives to the first layer of a class."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
