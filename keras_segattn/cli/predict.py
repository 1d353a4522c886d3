"""`segattn predict`: run a model on inputs. `keras_segattn.tasks.options` declares the flags of each task."""

import inspect
import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from keras_segattn.cli.output import Json, messages, print_json, print_rows, results
from keras_segattn.cli.parsing import (
    Arguments,
    Card,
    Labels,
    Model,
    Vocabularies,
    named,
    parse_arguments,
    parse_labels,
    parse_vocabularies,
)
from keras_segattn.tasks.options import OPTIONS, Option

# Longest part of an input text, in characters and in bytes, that becomes part of a file's name.
NAME_LENGTH, NAME_BYTES = 60, 120


def task_flags() -> dict[str, Option]:
    """Return the options of all tasks by name; each help text ends with the task that the option is for."""
    flags: dict[str, Option] = {}
    for task, options in OPTIONS.items():
        for name, option in options.items():
            default = "" if option.default is None else f"; default: {option.default}"
            help_ = f"{option.help} For models that {task}{default}."
            flags[name] = Option(option.type, option.default, help_, option.minimum, option.choices)
    return flags


FLAGS = task_flags()


def _predict(
    model: Model,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="INPUT…", help="Pictures, folders of pictures, or texts. Image generators take none."),
    ] = None,
    destination: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File for a picture of the result; a folder if there are several inputs."),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="PNG file for class or instance numbers as pixels; a folder if there are several inputs."),
    ] = None,
    as_json: Json = False,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--input", metavar="NAME=VALUE", help="Further input of a model with several inputs, such as question=TEXT."
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Largest number of inputs, all of one size, to run at once.")
    ] = 8,
    weights: Annotated[
        str | None, typer.Option(help="Weights for a builder: a file, or a packaged name such as imagenet.")
    ] = None,
    argument: Arguments = None,
    labels: Labels = None,
    vocabulary: Vocabularies = None,
    card: Card = None,
    **options: Any,
) -> None:
    """Run a model on pictures or texts, print the result, and draw it to --output.

    The model is a trained .keras file, an exported SavedModel or .tflite file,
    or a builder with weights. Its task is stored with it: classify a picture,
    segment it, detect objects in it, write sentences, or generate images.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    if masks is not None and masks.suffix not in ("", ".png"):
        raise ValueError(f"--masks: numbers survive in a .png or a folder of them only, received {masks}")
    import keras_segattn
    from keras_segattn.files import folder_for_writing
    from keras_segattn.tasks import task_of

    application = keras_segattn.load(
        model,
        weights=weights,
        arguments=parse_arguments(argument),
        labels=parse_labels(labels),
        vocabularies=parse_vocabularies(vocabulary),
        card=card,
    )
    examples = expanded(application, inputs or [], dict(map(named, given or [])))
    noun = task_of(application.facts.task).drawing
    names = [str(example[0]) if example else "" for example in examples]
    taken = {file_key(name) for name in names}
    pictures, numbers = (targets(place, names, noun, taken) for place in (destination, masks))
    with ExitStack() as stack:
        for path in (*pictures, *numbers):
            if path is not None:
                stack.enter_context(folder_for_writing(path.parent))
        found = application.predict_many(examples, batch_size, **chosen)
        for example, result, picture, number in zip(
            examples, tracked(found, len(examples)), pictures, numbers, strict=True
        ):
            title = " ".join(map(str, example)) or application.name
            for warning in result.warnings():
                messages.print(f"{title}: {warning}", style="yellow", highlight=False, markup=False)
            if as_json:
                written = {"output": picture and str(picture), "masks": number and str(number)}
                asked = {"input": title if example else None, "task": application.facts.task}
                print_json(asked | result.to_json() | written)
            else:
                print_rows(title, result.rows())
                for note in result.notes():
                    results.print(note, highlight=False, markup=False)
            for path, drawn, what in ((picture, result.draw, "picture"), (number, result.masks, "masks")):
                if path is not None:
                    write(path, drawn(), what, application)
                    if not as_json:
                        typer.echo(path)


def predict_signature() -> inspect.Signature:
    """Return the parameters of `_predict` plus one flag for every option of every task."""
    own = inspect.signature(_predict, eval_str=True)
    parameters = [one for one in own.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    for name, option in FLAGS.items():
        kind: Any = Literal[option.choices] if option.choices else option.type
        hint = Annotated[kind | None, typer.Option(help=option.help, min=option.minimum)]
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint))
    return own.replace(parameters=parameters)


def predict(**arguments: Any) -> None:
    """Run a model; its parameters are those of `predict_signature`."""
    _predict(**arguments)


predict.__doc__ = _predict.__doc__
predict.__signature__ = predict_signature()  # type: ignore[attr-defined]
predict.__annotations__ = {name: one.annotation for name, one in predict_signature().parameters.items()}


def expanded(application: Any, inputs: list[str], named_inputs: dict[str, str]) -> list[tuple[Any, ...]]:
    """Return one tuple of inputs per example: folders become their pictures, and `--input` gives the further inputs.

    Raises:
        FileNotFoundError: if a picture does not exist.
        ValueError: if there are too many or too few inputs, or `--input` names one that the model lacks.
    """
    from keras_segattn.arguments import unknown
    from keras_segattn.data.pictures import pictures_in
    from keras_segattn.fields import Picture
    from keras_segattn.tasks import task_of

    asked = task_of(application.facts.task).asks(application.facts, application.shapes)
    for name in named_inputs:
        if name not in asked:
            raise ValueError(unknown("input", name, list(asked)))
    open_ones = [name for name in asked if name not in named_inputs]
    if not asked or (named_inputs and not open_ones):
        if inputs:
            raise ValueError(f"{application.name} takes no further input, received {' '.join(inputs)}")
        return [tuple(named_inputs[name] for name in asked)]
    if len(open_ones) > 1:
        raise ValueError(
            f"{application.name} takes {', '.join(asked)}: give all but one of them as --input NAME=VALUE, "
            f"{', '.join(open_ones)} are missing"
        )
    (first,) = open_ones
    if not inputs:
        raise ValueError(f"expected {first}, a {asked[first].kind.replace('_', ' ')}, behind the model; received none")
    values: list[Any] = []
    for text in inputs:
        if isinstance(asked[first], Picture) and not Path(text).exists():  # before any result is written
            raise FileNotFoundError(f"{text}: expected a picture or a folder of pictures, found nothing")
        folder = Path(text) if isinstance(asked[first], Picture) and Path(text).is_dir() else None
        values += [text] if folder is None else pictures_in(folder)
    return [tuple(value if name == first else named_inputs[name] for name in asked) for value in values]


def targets(place: Path | None, inputs: list[str], noun: str, taken: set[str]) -> list[Path | None]:
    """Return a different file to write for each input: `place` itself for one input, else files in that folder.

    Args:
        place: file or folder, or `None`. A name without a suffix is a folder.
        inputs: paths or texts.
        noun: last word of the names of files in a folder, such as `"overlay"`.
        taken: keys (`file_key`) of files that must not be written, such as the inputs; those returned are added.

    Raises:
        ValueError: if `place` is a file although there are several inputs, is no file for a picture, or is taken.
    """
    if place is None:
        return [None] * len(inputs)
    if len(inputs) == 1 and place.suffix and not place.is_dir():
        check_picture_file(place)
        if file_key(place) in taken:
            raise ValueError(f"{place} is an input or another output: give it another name")
        taken.add(file_key(place))
        return [place]
    if place.is_file() or (place.suffix and not place.is_dir() and is_picture_file(place)):
        raise ValueError(f"{place}: expected a folder for the results of {len(inputs)} inputs, received a file")
    found: list[Path | None] = []
    for text in inputs:
        stem = Path(text).stem if Path(text).suffix else text
        base = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", stem)).strip("._-")[:NAME_LENGTH]
        base = base.encode()[:NAME_BYTES].decode(errors="ignore") or "output"
        path, number = place / f"{base}_{noun}.png", 1
        while file_key(path) in taken or path.is_dir():
            number += 1
            path = place / f"{base}_{number}_{noun}.png"
        taken.add(file_key(path))
        found.append(path)
    return found


def file_key(path: str | Path) -> str:
    """Return a key that two paths share if they may be one file: through links, and whatever the case of letters."""
    try:
        whole = str(Path(path).resolve())
    except (OSError, RuntimeError, ValueError):  # a text that is no path
        whole = str(Path(path).absolute())
    return unicodedata.normalize("NFC", whole).casefold()


def is_picture_file(path: Path) -> bool:
    """Return whether a suffix stands for a format in which pictures are written."""
    try:
        check_picture_file(path)
    except ValueError:
        return False
    return True


def check_picture_file(path: Path) -> None:
    """Raise `ValueError` unless the suffix stands for a format in which pictures are written."""
    from PIL import Image

    from keras_segattn.visualize.figure import format_of

    Image.init()
    format_of(path, Image.SAVE, "an image suffix such as .png")


def write(path: Path, image: Any, what: str, application: Any) -> None:
    """Write a picture of a result.

    Raises:
        ValueError: if `image` is `None`, since the task has no such picture.
    """
    from keras_segattn import visualize

    if image is None:
        raise ValueError(f"{application.name} has no {what} to write: its task is {application.facts.task!r}")
    visualize.save(image, path)


def tracked(found: Iterable[Any], count: int) -> Iterator[Any]:
    """Yield the results, and show a progress bar if there are several."""
    from rich.progress import track

    yield from track(found, "predicting", total=count, console=messages, disable=count == 1, transient=True)
