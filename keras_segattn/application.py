"""Models in use, however they are stored: open one, give it pictures or texts, and get results.

This is the only way to open a model for use. The model's facts and its task say how inputs are prepared and how
outputs are interpreted.
"""

import inspect
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from keras_segattn.arguments import check_positive_integer, unknown
from keras_segattn.facts import (
    Facts,
    check_labels_of,
    facts_of,
    holds_facts,
    newest_version,
    read_facts,
    told_facts,
    write_facts,
)
from keras_segattn.fields import Field
from keras_segattn.files import replaced
from keras_segattn.registry import Card, list_models, model_card
from keras_segattn.runtimes import Arrays, Opened, Shapes, check_vocabularies, open_live, open_saved_model, open_tflite
from keras_segattn.tasks import task_of
from keras_segattn.tasks.options import checked_options
from keras_segattn.tasks.task import Result
from keras_segattn.weights import load as load_weights

# Folder, in the working folder or beside the package, whose models are found by their names.
SHELF = "savedmodels"
# Suffixes of models that are stored as one file.
SUFFIXES = (".keras", ".tflite")


@dataclass(frozen=True)
class Application:
    """A model that is open for use.

    Attributes:
        name: path, name of a builder or name of a live model by which it was opened.
        facts: facts about the model.
        shapes: input name → shape without the batch, as this form takes it; `None` where a size is open.
        outputs: output name → shape without the batch.
        call: function from a batch of inputs by name to outputs by name, all NumPy arrays; pictures are uint8.
    """

    name: str
    facts: Facts
    shapes: Shapes = field(repr=False)
    outputs: Shapes = field(repr=False)
    call: Callable[[Arrays], Arrays] = field(repr=False)

    def predict(self, *given: Any, **options: Any) -> Result:
        """Run the model on one example.

        Args:
            *given: paths, arrays or texts, one for each input that a user gives.
            **options: options of the task, see `keras_segattn.tasks.OPTIONS`.

        Returns:
            Result of the task, such as `tasks.segment.Segmented`; it can be drawn, printed and turned into JSON.

        Raises:
            ValueError: if an input cannot be read or does not fit, or an option is unknown.

        Example:
            >>> load("savedmodels/fcn8s").predict("photo.jpg").mask
        """
        return next(self.predict_many([given], **options))

    def predict_many(self, examples: Iterable[Any], batch_size: int = 8, **options: Any) -> Iterator[Result]:
        """Run the model on many examples, in order.

        Consecutive examples whose arrays have equal shapes run as one batch.

        Args:
            examples: tuples of the inputs that `predict` takes; for a model with one input also the inputs themselves.
            batch_size: largest number of examples that run at once.
            **options: options of the task, see `predict`.

        Yields:
            One result per example.

        Raises:
            ValueError: if `batch_size` is not positive, an input cannot be read or does not fit, or an option is
                unknown.
        """
        check_positive_integer("batch_size", batch_size)
        task = task_of(self.facts.task)
        chosen = checked_options(task.name, options)
        waiting: list[Any] = []
        for given in examples:
            example = task.read(self.facts, self.shapes, given if isinstance(given, tuple) else (given,), chosen)
            if waiting and (len(waiting) == batch_size or _shapes(waiting[0]) != _shapes(example)):
                yield from task.run(self.call, waiting, self.facts, chosen)
                waiting = []
            waiting.append(example)
        if waiting:
            yield from task.run(self.call, waiting, self.facts, chosen)

    def draw(self, *given: Any, **options: Any) -> Image.Image | None:
        """Draw the result for one example; return `None` if there is nothing to draw.

        Args:
            *given: inputs of the example, see `predict`.
            **options: options of the task, see `predict`.

        Example:
            >>> load("squeezenet1_1").draw("photo.jpg") is None
            True
        """
        return self.predict(*given, **options).draw()


def load(
    what: str | PathLike[str] | keras.Model,
    *,
    weights: str | PathLike[str] | None = None,
    arguments: Mapping[str, Any] | None = None,
    facts: Facts | None = None,
    card: str | None = None,
    task: str | None = None,
    inputs: Mapping[str, Field] | None = None,
    labels: Sequence[str] | None = None,
    vocabularies: Mapping[str, Sequence[str]] | None = None,
    options: Any = None,
) -> Application:
    """Open a model, however it is stored.

    Arguments override what is stored with the model.

    Args:
        what: path of a `.keras` or `.tflite` file; path of a SavedModel, either its version folder or the folder of its
            versions, of which the highest is taken; name of such a file or folder in the working folder, or in
            `savedmodels/` there or beside the package; name of a builder whose weights are packaged or given; or a
            live model.
        weights: weights of a builder: name of packaged weights (default: the first), or path of a weight file.
        arguments: arguments of a builder.
        facts: facts to use instead of those stored with the model.
        card: name of the builder, for a model that was stored without facts.
        task: key of `keras_segattn.tasks.TASKS`, for a model that does not say what its outputs mean.
        inputs: input name → kind of the input.
        labels: names of the classes, in order; for a detector without the background.
        vocabularies: name of a vocabulary → its tokens, special tokens first, or a `data.Vocabulary`.
        options: further options of the facts by name.

    Returns:
        The model, open for use.

    Raises:
        ValueError: if no model or several models have that name, the model cannot be read, or its facts are incomplete
            or do not fit.

    Example:
        >>> load("savedmodels/maskrcnn_tux").predict("photo.jpg", score_threshold=0.7).rows()
        >>> load("efficientnet_lite0").predict("photo.jpg").best.name
        >>> load(model, labels=["sea", "land", "lake"]).draw("photo.jpg")
    """
    told: dict[str, Any] = {
        "card": card,
        "task": task,
        "inputs": inputs,
        "labels": labels,
        "vocabularies": vocabularies,
        "options": options,
    }
    found = what if isinstance(what, keras.Model) else _meant(what, weights is not None or bool(arguments))
    if isinstance(found, Card) or (isinstance(found, Path) and found.suffix == ".keras"):
        model, known = open_model(what, weights=weights, arguments=arguments, facts=facts, **told)
        name = found.name if isinstance(found, Card) else str(found)
        return _live(name, model, known, {})
    if weights is not None or arguments:
        raise ValueError(f"weights and arguments are for builders; {_name(found)} has its own")
    if isinstance(found, keras.Model):
        return _live(found.name, found, facts, told)
    return _of_file(found, facts, told)


def save(model: keras.Model, path: str | PathLike[str], *, facts: Facts | None = None) -> None:
    """Write a model with its facts as one `.keras` file, which appears whole or not at all.

    Keras opens the file like any other; `load` needs no further arguments.

    Args:
        model: functional model.
        path: file to write.
        facts: facts to store; `None` stores those that `facts_of` finds.

    Raises:
        ValueError: if the name does not end in `.keras`.
        OSError: if the file cannot be written.

    Example:
        >>> save(model, "lakes.keras", facts=facts_of(model, labels=["sea", "land", "lake"]))
    """
    if Path(path).suffix != ".keras":
        raise ValueError(f"expected a file name that ends in .keras, received {path}")
    known = facts_of(model) if facts is None else facts
    with replaced(path) as temporary:
        model.save(temporary)
        write_facts(temporary, known)


def open_model(
    what: str | PathLike[str],
    *,
    weights: str | PathLike[str] | None = None,
    arguments: Mapping[str, Any] | None = None,
    facts: Facts | None = None,
    **told: Any,
) -> tuple[keras.Model, Facts]:
    """Open a model that can be exported: return the Keras model of a `.keras` file or of a builder, and its facts.

    Args:
        what: path of a `.keras` file, or name of a builder.
        weights: weights of the builder, see `load`.
        arguments: arguments of the builder.
        facts: facts to use instead of those stored with the model.
        **told: facts that override those of the model, by the keywords of `facts_of`.

    Raises:
        ValueError: if the model is stored in another form, which holds no Keras model, or cannot be read.
    """
    found = _meant(what, weights is not None or bool(arguments))
    if isinstance(found, Card):
        model, labels = _built(found, weights, dict(arguments or {}))
        if told.get("labels") is None and facts is None:
            told = told | {"labels": labels}
    elif found.suffix == ".keras":
        if weights is not None or arguments:
            raise ValueError(f"weights and arguments are for builders; {found} has its own")
        model = _read_keras(found)
        if facts is None and holds_facts(found):
            facts = read_facts(found)
    else:
        raise ValueError(f"expected a .keras file or a builder; {found} is exported already")
    known = facts_of(model, **told) if facts is None else told_facts(facts, **told)
    check_labels_of(known.labels, model, known.card)
    return model, known


def _built(
    card: Card, weights: str | PathLike[str] | None, arguments: dict[str, Any]
) -> tuple[keras.Model, tuple[str, ...] | None]:
    """Build a model with packaged weights or those of a file; return it with the names of its classes, if packaged."""
    chosen = next(iter(card.pretrained), None) if weights is None else weights
    if chosen is None:
        raise ValueError(f"no package ships weights of {card.name}: give weights=, or a trained model")
    parameters = inspect.signature(card.builder).parameters
    for name in arguments:
        if name not in parameters:
            raise ValueError(unknown(f"argument of {card.name}", name, list(parameters)))
    if "weights" in parameters:
        model = card.builder(**arguments, weights=str(chosen))
    else:
        model = card.builder(**arguments)
        load_weights(model, chosen)
    packaged = card.pretrained.get(str(chosen))
    return model, packaged.labels() if packaged and packaged.labels else None


def _live(name: str, model: keras.Model, facts: Facts | None, told: dict[str, Any]) -> Application:
    """Open a Keras model."""
    facts = facts_of(model, **told) if facts is None else told_facts(facts, **told)
    _check_task(name, facts)
    check_labels_of(facts.labels, model, facts.card)
    opened = open_live(model, facts)
    return Application(name, facts, *opened)


def _of_file(path: Path, facts: Facts | None, told: dict[str, Any]) -> Application:
    """Open a SavedModel or a `.tflite` file."""
    stored = Facts()
    if facts is None and holds_facts(path):
        facts = stored = read_facts(path)
    if facts is None and told["card"] is None and told["task"] is None:
        raise ValueError(
            f"{path} holds no facts (an older version, or another program, wrote it): name the builder that made it "
            "(card=, one of list_models()) and its classes (labels=['sea', 'land', 'lake']), or give the task and the "
            "inputs (task=, inputs=)"
        )
    facts = told_facts(facts or Facts(), **told)
    _check_task(path, facts)
    signatures = task_of(facts.task).signatures
    opener: Callable[..., Opened] = open_tflite if path.suffix == ".tflite" else open_saved_model
    opened = opener(path, signatures, facts.inputs)
    if strange := sorted(set(stored.given) - set(opened.shapes)):
        raise ValueError(f"{path}: its facts are of a model with the inputs {strange}, it has {sorted(opened.shapes)}")
    if path.is_dir() and facts.vocabularies:
        check_vocabularies(path, facts)
    _check_labels(path, facts, opened.outputs)
    return Application(str(path), facts, *opened)


def _check_labels(path: Path, facts: Facts, outputs: Shapes) -> None:
    """Raise `ValueError` unless a stored model has a name for every class that it scores."""
    scores = next((outputs[name] for name in ("logits", "probabilities") if name in outputs), None)
    if facts.labels is None or not scores or scores[-1] is None:
        return
    classes = max(scores[-1], 2)  # one score tells two classes apart
    if len(facts.labels) != classes:
        raise ValueError(f"{path}: the model has {classes} classes, received {len(facts.labels)} names of them")


def _check_task(name: str | Path, facts: Facts) -> None:
    try:
        task_of(facts.task)
    except ValueError as error:
        nobody = "nobody said what its outputs mean: give task=; " if facts.task is None else ""
        raise ValueError(f"{name}: {nobody}{error}") from error


def _read_keras(path: Path) -> keras.Model:
    """Read a Keras model. Only layers of this package and of Keras are built; no code from the file runs."""
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a readable Keras model: {error}") from error


def _meant(what: str | PathLike[str], built: bool) -> Path | Card:
    """Find the file or builder that a user means.

    A text with a folder or a suffix in it is a path; any other text is a name.

    Args:
        what: path or name.
        built: whether weights or arguments were given, which only builders take.

    Raises:
        ValueError: if there is no such model, or there are several.
    """
    path = Path(what)
    named = isinstance(what, str) and path.name == what and path.suffix not in SUFFIXES
    builder = _builder(what) if named and isinstance(what, str) else None
    if builder is not None and built:
        return builder
    if named:
        # The nearest folder comes last: a model that is found twice is then known by its shorter path.
        places = (Path(__file__).parents[1] / SHELF, Path(SHELF), Path())
        stored = {found.resolve(): found for place in places for found in _stored(place, path.name)}
    else:
        stored = {found.resolve(): found for found in [_version(path)] if found}
    if (stored and builder is not None) or len(stored) > 1:
        meanings = [str(found) for found in stored.values()] + ([f"the builder {builder.name}"] if builder else [])
        raise ValueError(
            f"{what!r} may mean {' or '.join(meanings)}: give the path, such as {next(iter(stored.values()))}"
            + (", or weights for the builder" if builder else "")
        )
    if stored:
        return next(iter(stored.values()))
    if builder is not None:
        return builder
    if named:
        nothing = f"no model is stored as {what} here or in {SHELF}"
        raise ValueError(f"{nothing}, and {unknown('model', what, list_models())}")
    raise ValueError(f"{what} is neither a .keras or .tflite file nor a SavedModel")


def _stored(place: Path, name: str) -> list[Path]:
    """Find the stored models of a name in a folder.

    If none has exactly that name, names that differ in upper and lower case count, as they do for builders.
    """
    names = [one.name for one in place.iterdir()] if place.is_dir() else []
    alike = [name] if name in names else [one for one in names if one.lower() == name.lower()]
    return [found for one in alike if (found := _version(place / one))]


def _version(path: Path) -> Path | None:
    """Return a model's file, or the highest version of a SavedModel; `None` if the path is something else."""
    if path.is_file():
        return path if path.suffix in SUFFIXES else None
    return newest_version(path)


def _builder(name: str) -> Card | None:
    try:
        return model_card(name)
    except ValueError:
        return None


def _name(found: Path | keras.Model) -> str:
    return str(found) if isinstance(found, Path) else repr(found.name)


def _shapes(example: Any) -> dict[str, tuple[int, ...]]:
    return {name: np.shape(values) for name, values in example.arrays.items()}
