"""Facts about a model, such as its task, inputs and labels: one JSON, stored with the model in every form.

A SavedModel has it in its version directory as `assets.extra/facts.json`. A `.keras` file is a zip archive and holds it
as `facts.json`; in a `.tflite` file such an archive follows the flatbuffer. Interpreters read a flatbuffer from its
start and ignore what follows, and zip readers look for their directory at the end, so the facts can be read without
this package: `unzip -p model.tflite facts.json`. `docs/facts.md` describes the keys.
"""

import hashlib
import importlib.metadata
import json
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

import keras

from keras_segattn import graph
from keras_segattn.endpoints import Endpoint, endpoint_layer, scores_of, whole_model
from keras_segattn.fields import UNK, Field, Picture, Tokens, Vectors, field_from
from keras_segattn.inputs import Stamp
from keras_segattn.registry import is_registered, model_card, scored_classes

FACTS_FILE = "facts.json"
# Version of the JSON's format; a reader refuses any other.
FORMAT = 1
# The earliest time a zip can hold, so that the bytes do not depend on the time of writing.
EPOCH = (1980, 1, 1, 0, 0, 0)


class FactsError(ValueError):
    """A stored model has no facts, or they cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts that are stored with a model.

    Args:
        card: name of the builder; `None` for a foreign model.
        task: key of `keras_segattn.tasks.TASKS`, which says what the outputs mean; `None` if it is unknown.
        inputs: input name → kind of the input.
        labels: names of the classes, in order; for a detector without the background. `None` if unknown.
        vocabularies: name of a vocabulary → its tokens, special tokens first.
        options: values needed to interpret the outputs: rules of the search, the final activation, and the options of
            the card.
        training: sentence about the data that the weights come from.
        licence: terms of the weights.
        version: version of this package that wrote the model.
        quantization: precision of a `.tflite`: `"float32"`, `"float16"`, `"dynamic"` or `"int8"`.
        files: sentence about the picture files that the signature `encoded` of a SavedModel takes and refuses.
    """

    card: str | None = None
    task: str | None = None
    inputs: Mapping[str, Field] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    vocabularies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    training: str | None = None
    licence: str | None = None
    version: str | None = None
    quantization: str | None = None
    files: str | None = None

    @property
    def given(self) -> dict[str, Field]:
        """The inputs that a user gives, in order."""
        return {name: kind for name, kind in self.inputs.items() if kind.given}

    def to_json(self) -> str:
        """Return the facts as JSON."""
        plain = vars(self) | {"inputs": {name: kind.describe() for name, kind in self.inputs.items()}}
        plain |= {"digests": {name: _digest(tokens) for name, tokens in self.vocabularies.items()}}
        return json.dumps({"format": FORMAT} | plain, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Facts":
        """Read the facts that `to_json` wrote.

        Raises:
            FactsError: if the text is anything else.
        """
        try:
            plain = json.loads(text)
            plain.pop("model", None)  # `read_facts` compares it with the model
            form = plain.pop("format", None)
            if form != FORMAT:
                raise FactsError(f"expected facts of format {FORMAT}, found {form!r}; a newer keras_segattn wrote them")
            labels = plain["labels"]
            for name, digest in plain.pop("digests", {}).items():
                if digest != _digest(plain["vocabularies"].get(name, ())):
                    raise FactsError(
                        f"the vocabulary {name!r} is not the one that was stored with the model: its tokens, which "
                        "must fit the model's table row by row, were changed, moved or lost"
                    )
            return cls(
                **plain
                | {
                    "inputs": {name: field_from(kind) for name, kind in plain["inputs"].items()},
                    "labels": None if labels is None else _texts("labels", labels),
                    "vocabularies": {name: _texts(name, tokens) for name, tokens in plain["vocabularies"].items()},
                    "options": dict(plain["options"]),
                }
            )
        except FactsError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FactsError(f"the facts of a model are damaged: {type(error).__name__}: {error}") from error


def facts_of(
    model: keras.Model,
    *,
    card: str | None = None,
    task: str | None = None,
    inputs: Mapping[str, Field] | None = None,
    labels: Sequence[str] | None = None,
    vocabularies: Mapping[str, Sequence[str]] | None = None,
    options: Any = None,
    training: str | None = None,
    licence: str | None = None,
) -> Facts:
    """Collect the facts about a live model, from the stamps in it and from the arguments.

    Args:
        model: any functional model, or a `Sequential` that begins with `keras.Input`; one that a builder of this
            package made needs no more arguments.
        card: name of the builder, for a model that was stored before models had stamps.
        task: key of `keras_segattn.tasks.TASKS`, for a foreign model.
        inputs: input name → kind of the input, if it is unknown or differs from the builder's.
        labels: names of the classes, in order; for a detector without the background.
        vocabularies: name of an input of tokens → its tokens, special tokens first, or a `data.Vocabulary`.
        options: further options by name, or a dataclass of them, such as `decoding.BeamRules(beams=12)`.
        training: sentence about the data that the weights come from.
        licence: terms of the weights.

    Returns:
        The facts. Inputs of unknown kind are `Vectors`.

    Raises:
        TypeError: if the model is a subclassed one, whose inputs are unknown.
        ValueError: if an argument does not fit the model.

    Example:
        >>> facts = facts_of(FCN8s(classes=3), labels=["sea", "land", "lake"])
    """
    model = graph.functional(model)
    stamps = {tensor.name: _stamps(model, tensor) for tensor in model.inputs}
    deciding = endpoint_layer(model)
    name = card or next((found[0].card for found in stamps.values() if found and deciding is None), None)
    if card is not None:
        name = model_card(card).name
    known = model_card(name) if name is not None and is_registered(name) else None
    kinds: dict[str, Field] = {} if deciding is None else deciding.kinds(model)
    for tensor in model.inputs:
        published = known.inputs.get(tensor.name) if known else None
        if tensor.name not in kinds:
            kinds[tensor.name] = _kind(model, tensor, stamps[tensor.name], published, unstamped=card is not None)
    given = dict(inputs or {})
    if strange := set(given) - set(kinds):
        raise ValueError(f"{model.name!r} has the inputs {sorted(kinds)}, received kinds of {sorted(strange)}")
    words = _words_of(vocabularies)
    kinds = {name: _spelt(kind, words) for name, kind in (kinds | given).items()}
    if known:  # in the order in which a user gives them
        kinds = {name: kinds[name] for name in sorted(kinds, key=lambda n: _place(n, known.inputs))}
    final = graph.final_activation(scores_of(model)) if model.outputs else None
    facts = Facts(
        card=name,
        task=task or (known.task if known else None) or (deciding.task if deciding else None),
        inputs=kinds,
        labels=None if labels is None else tuple(labels),
        vocabularies=words,
        options=_plain({"activation": final, **(known.options if known else {})}) | _plain(options),
        training=training,
        licence=licence,
        version=importlib.metadata.version("keras-segattn"),
    )
    check_labels_of(labels, model, facts.card)
    _check_vocabularies(facts)
    return facts


def preprocessing_of(model: keras.Model) -> Picture:
    """Return the normalisation of the picture that a model built here takes, also after `keras.models.load_model`.

    Raises:
        ValueError: if nothing is known of the model's inputs, or not exactly one of them is a picture.

    Example:
        >>> outputs = model(preprocessing_of(model)(images))
    """
    pictures = [kind for kind in facts_of(model).inputs.values() if isinstance(kind, Picture)]
    if len(pictures) != 1:
        raise ValueError(
            f"model {model.name!r} holds no registered architecture that takes one picture, so its preprocessing is "
            "unknown; pass a keras_segattn.Picture, or None to feed it normalised pixels"
        )
    return pictures[0]


def endpoints_of(model: keras.Model, facts: Facts) -> Mapping[str, Endpoint]:
    """Return the functions that the stored forms of a model offer, the default one first."""
    if facts.card and is_registered(facts.card):
        return model_card(facts.card).endpoints(model, facts.options)
    deciding = endpoint_layer(model)
    return whole_model(model, facts.options) if deciding is None else deciding.endpoints(model, facts.options)


def write_facts(path: Path, facts: Facts) -> None:
    """Store facts in a model's version directory, or in a `.keras` or `.tflite` file that has none yet."""
    plain = json.loads(facts.to_json()) | {"model": _digest_of_model(path)}
    text = json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
    if path.is_dir():
        file = path / "assets.extra" / FACTS_FILE
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(FACTS_FILE, EPOCH), text)


def _digest_of_model(path: Path) -> str | None:
    """Return a checksum of the stored model without its facts; `None` for a version directory without variables."""
    if path.is_dir():
        index = path / "variables" / "variables.index"  # which holds a checksum of every variable
        content = index.read_bytes() if index.is_file() else None
    elif path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            members = [(one.filename, one.CRC) for one in archive.infolist() if one.filename != FACTS_FILE]
        content = json.dumps(sorted(members)).encode()
    else:
        content = path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                content = content[: min(one.header_offset for one in archive.infolist())]
    return None if content is None else hashlib.sha256(content).hexdigest()[:16]


def holds_facts(path: Path) -> bool:
    """Whether a stored model holds facts."""
    if path.is_dir():
        return ((newest_version(path) or path) / "assets.extra" / FACTS_FILE).is_file()
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return FACTS_FILE in archive.namelist()


def newest_version(folder: Path) -> Path | None:
    """Return the version directory of a SavedModel: `folder` itself or the highest one in it; `None` without one."""
    if (folder / "saved_model.pb").is_file():
        return folder
    versions = [one for one in folder.glob("[0-9]*") if one.name.isdecimal() and (one / "saved_model.pb").is_file()]
    return max(versions, key=lambda one: int(one.name), default=None)


def read_facts(path: str | Path) -> Facts:
    """Read the facts that are stored with a model.

    Args:
        path: version directory of a SavedModel, the folder of its versions, of which the highest is read, or a
            `.keras` or `.tflite` file.

    Raises:
        FactsError: if there are no facts, they cannot be read, or they belong to another model.

    Example:
        >>> read_facts("fcn8s.tflite").labels
        ('sea', 'land', 'lake')
    """
    path = Path(path)
    try:
        if path.is_dir():
            path = newest_version(path) or path
            text = (path / "assets.extra" / FACTS_FILE).read_bytes()
        else:
            with zipfile.ZipFile(path) as archive:
                text = archive.read(FACTS_FILE)
        facts = Facts.from_json(text)
        expected = json.loads(text).get("model")
        if expected is not None and expected != _digest_of_model(path):
            raise FactsError("the facts are of another model, or the model was changed after they were stored")
        return facts
    except FactsError as error:
        raise FactsError(f"{path}: {error}") from error
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise FactsError(f"{path} holds no {FACTS_FILE} written by keras_segattn: {error}") from error


def told_facts(
    facts: Facts,
    *,
    card: str | None = None,
    task: str | None = None,
    inputs: Mapping[str, Field] | None = None,
    labels: Sequence[str] | None = None,
    vocabularies: Mapping[str, Sequence[str]] | None = None,
    options: Any = None,
) -> Facts:
    """Override the facts of a stored model by those that the user gives.

    Args:
        facts: facts that are stored with the model.
        card: name of the builder, for a model without facts; its task, inputs and options fill in what is unknown.
        task: key of `keras_segattn.tasks.TASKS`, which says what the outputs mean.
        inputs: input name → kind of the input.
        labels: names of the classes, in order.
        vocabularies: name of a vocabulary → its tokens, special tokens first, or a `data.Vocabulary`.
        options: further options by name, or a dataclass of them.

    Raises:
        ValueError: if an argument is wrong, or does not fit.
    """
    known = None if card is None else model_card(card)
    words = _words_of(vocabularies)
    published = {name: _resized(kind, words) for name, kind in (known.inputs if known else {}).items()}
    kinds = {**published, **facts.inputs, **(inputs or {})}
    told = replace(
        facts,
        card=known.name if known else facts.card,
        task=task or facts.task or (known.task if known else None),
        inputs={name: _spelt(kind, words) for name, kind in kinds.items()},
        labels=facts.labels if labels is None else _checked_lines(labels),
        vocabularies={**facts.vocabularies, **words},
        options={**(known.options if known else {}), **facts.options, **_plain(options)},
    )
    _check_vocabularies(told)
    return told


def _stamps(model: keras.Model, tensor: Any) -> list[Stamp]:
    """Return the stamps behind an input, nearest first."""
    return [layer for layer in graph.downstream(model, tensor) if isinstance(layer, Stamp)]


def _kind(model: keras.Model, tensor: Any, stamps: list[Stamp], published: Field | None, *, unstamped: bool) -> Field:
    """Return the kind of an input by its stamps; an unstamped model of a known builder has the published kinds.

    Without either, ids that an embedding reads are a sentence of its tokens.
    """
    if unstamped and not stamps and published is not None:
        if isinstance(published, Picture):
            return published.of_channels(tensor.shape[-1])
        return published
    if not stamps:
        return _embedded(model, tensor)
    if stamps[0].field is not None:
        return stamps[0].field
    kind = next((stamp.field for stamp in stamps if stamp.field is not None), Vectors())
    if isinstance(kind, Picture):
        # The backbone decides how pixels are normalised, but not the size and the fit of pictures.
        ours = published if isinstance(published, Picture) else Picture()
        return replace(kind, size=ours.size, fit=ours.fit)
    return kind


def _embedded(model: keras.Model, tensor: Any) -> Field:
    """Return tokens for ids `(batch, length)` that an embedding reads, and vectors for any other input."""
    if len(tensor.shape) == 2 and keras.backend.is_int_dtype(tensor.dtype):
        for layer in graph.readers(model, tensor):
            if isinstance(layer, keras.layers.Embedding) and layer.input_dim > UNK:
                return Tokens(tensor.name, layer.input_dim)
    return Vectors()


def _texts(name: str, value: Any) -> tuple[str, ...]:
    """Return a list of texts in JSON as a tuple; raise `TypeError` if it is anything else."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise TypeError(f"{name} must be a list of texts, received {value!r:.100}")
    return tuple(value)


def _digest(tokens: Sequence[str]) -> str:
    """Return a checksum of a vocabulary."""
    return hashlib.sha256("\n".join(tokens).encode()).hexdigest()[:16]


def _words_of(vocabularies: Mapping[str, Any] | None) -> dict[str, tuple[str, ...]]:
    return {name: tuple(getattr(tokens, "tokens", tokens)) for name, tokens in (vocabularies or {}).items()}


def _plain(options: Any) -> dict[str, Any]:
    """Convert options to JSON and back, so that facts are the same before and after they are stored."""
    added = asdict(options) if is_dataclass(options) and not isinstance(options, type) else dict(options or {})
    return dict(json.loads(json.dumps(added)))


def _resized(kind: Field, words: Mapping[str, tuple[str, ...]]) -> Field:
    """Give tokens the size of the user's vocabulary, as a card only knows the size of the published model's."""
    if isinstance(kind, Tokens) and kind.vocabulary in words:
        return replace(kind, size=len(words[kind.vocabulary]))
    return kind


def _checked_lines(labels: Sequence[str]) -> tuple[str, ...]:
    if isinstance(labels, str) or not all(isinstance(x, str) and len(x.splitlines()) == 1 for x in labels):
        raise ValueError(f"labels must be a line of text for each class, received {labels!r}")
    return tuple(labels)


def _spelt(kind: Field, words: Mapping[str, tuple[str, ...]]) -> Field:
    """Read from a vocabulary how texts are split, into letters if no token is longer, their case and Unicode form."""
    if not isinstance(kind, Tokens) or kind.vocabulary not in words:
        return kind
    own = words[kind.vocabulary][UNK + 1 :]
    unit: Literal["word", "letter"] = "word" if any(len(token) > 1 for token in own) else "letter"
    form: Literal["NFC"] | None = "NFC" if all(unicodedata.is_normalized("NFC", token) for token in own) else None
    return replace(kind, unit=unit, lower=all(token == token.lower() for token in own), form=form)


def _place(name: str, order: Mapping[str, Any]) -> int:
    names = list(order)
    return names.index(name) if name in names else len(names)


def check_labels_of(labels: Sequence[str] | None, model: keras.Model, card: str | None) -> None:
    """Raise `ValueError` unless there is one label, of one line, for every class that the card counts in the model."""
    if labels is None:
        return
    known = card is not None and is_registered(card)
    count = (model_card(card).classes if known else scored_classes)(model)  # type: ignore[arg-type]
    lines = not isinstance(labels, str) and all(isinstance(x, str) and len(x.splitlines()) == 1 for x in labels)
    if not lines or len(labels) != count:
        raise ValueError(
            f"labels must name the {count} classes of the model's outputs, a line of text each, received {labels!r}"
        )


def _check_vocabularies(facts: Facts) -> None:
    sizes = {kind.vocabulary: kind.size for kind in facts.inputs.values() if isinstance(kind, Tokens)}
    found = {name: len(tokens) for name, tokens in facts.vocabularies.items()}
    if found and found != sizes:
        raise ValueError(f"vocabularies must have the model's names and sizes {sizes}, received {found}")
    for name, tokens in facts.vocabularies.items():
        if repeated := [token for token, count in Counter(tokens).items() if count > 1]:
            raise ValueError(f"the vocabulary {name!r} holds {', '.join(map(repr, repeated[:5]))} more than once")
