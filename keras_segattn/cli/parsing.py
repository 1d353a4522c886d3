"""Options that several commands share, and the parsing of their texts."""

import ast
from pathlib import Path
from typing import Annotated, Any

import typer

# The forms of `keras_segattn.data.sources`; a test checks that none is missing.
DATA = (
    "Data, written as KIND:PLACES. Segmentation: folder:IMAGES,MASKS, voc:ROOT, tfds:NAME, blue_marble; masks hold "
    "class indices, 255 is ignored. Classification: folder:ROOT with a folder per class, mnist:SOURCE, "
    "fashion_mnist:FOLDER. Detection: coco:ANNOTATIONS.json,IMAGES, instances:IMAGES,INSTANCES. Translation: "
    "text:SOURCE,TARGET, cmudict:FILE. Captions: coco:CAPTIONS.json,IMAGES, flickr:TOKENS,IMAGES, "
    "karpathy:DATASET.json,IMAGES. Generation: folder:ROOT, mnist:SOURCE, fashion_mnist:FOLDER. "
    "Data with several splits take :SPLIT at the end, such as voc:ROOT:val. Before it, ,raw keeps pictures as they are "
    "stored, whatever their EXIF orientation says, and ,skip_broken leaves out broken entries of a COCO file."
)
Model = Annotated[
    str,
    typer.Argument(
        help="A .keras or .tflite file, a SavedModel folder, a name in savedmodels/, or a builder (see `segattn list`)."
    ),
]
Arguments = Annotated[
    list[str] | None,
    typer.Option(
        "--argument", "-a", help="Argument for the builder as NAME=VALUE, such as classes=3; may be repeated."
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        help="Names of the classes: a,b,c, a text file with one per line, or imagenet. "
        "Default: the names stored with the model or the data."
    ),
]
Card = Annotated[str | None, typer.Option(help="Name of the builder that made the model, if the file does not say it.")]
Sizes = Annotated[
    list[str] | None,
    typer.Option(
        "--size", help="Size of an input: HxW or NAME=HxW for a picture, NAME=LENGTH for a sentence; may be repeated."
    ),
]
Vocabularies = Annotated[
    list[str] | None,
    typer.Option("--vocabulary", help="Vocabulary as NAME=FILE with one token per line; may be repeated."),
]


def parse_arguments(texts: list[str] | None) -> dict[str, Any]:
    """Turn `["classes=3", "variant=detectron2"]` into `{"classes": 3, "variant": "detectron2"}`."""
    arguments = {}
    for name, value in map(named, texts or []):
        try:
            arguments[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            arguments[name] = value
    return arguments


def named(text: str) -> tuple[str, str]:
    """Split `"NAME=VALUE"` into name and value."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"expected NAME=VALUE, received {text!r}")
    return name, value


def parse_size(text: str) -> tuple[int, ...]:
    """Turn `"256x320"` into (256, 320), and `"50"` into (50,)."""
    numbers = text.split("x")
    if len(numbers) > 2 or not all(number.isdecimal() and int(number) for number in numbers):
        raise ValueError(f"expected a size such as 256x320, or a length such as 50, received {text!r}")
    return tuple(map(int, numbers))


def parse_picture_size(text: str | None) -> tuple[int, int] | None:
    """Turn `"256x320"` into (256, 320), and `"256"` into (256, 256)."""
    if text is None:
        return None
    size = parse_size(text)
    return size[0], size[-1]


def parse_sizes(texts: list[str] | None, pictures: list[str]) -> dict[str, tuple[int, ...]]:
    """Return input → size. A size without a name belongs to the only picture.

    Args:
        texts: values of `--size`.
        pictures: names of the inputs that are pictures.
    """
    sizes = {}
    for text in texts or []:
        if "=" in text:
            name, value = named(text)
        elif len(pictures) == 1:
            name, value = pictures[0], text
        else:
            raise ValueError(f"--size {text}: the model takes {len(pictures)} pictures; give NAME=HxW")
        size = parse_size(value)
        sizes[name] = (size[0], size[0]) if name in pictures and len(size) == 1 else size
    return sizes


def parse_labels(text: str | None) -> list[str] | None:
    """Return class names from `a,b,c`, from a file with one name per line, or ImageNet's 1000 for `imagenet`."""
    if text is None:
        return None
    if text == "imagenet":
        from keras_segattn.classification.imagenet import imagenet_names

        return list(imagenet_names())
    # A text with commas is a list, not a path; `is_file` would fail on a long one.
    path = None if "," in text else Path(text)
    if path and path.is_file():
        from keras_segattn.data.text import read_lines

        names = read_lines(path, "class names")
    else:
        names = text.split(",")
    return [name.strip() for name in names if name.strip()]


def parse_vocabularies(texts: list[str] | None) -> dict[str, Any] | None:
    """Return name → vocabulary, read from the files that the texts name."""
    if not texts:
        return None
    from keras_segattn.data import Vocabulary

    return {name: Vocabulary.load(path) for name, path in map(named, texts)}
