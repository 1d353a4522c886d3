"""The commands of `segattn` that write sentences, and draw what each word attended to."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

output = Console()
errors = Console(stderr=True)


def translate(
    texts: Annotated[list[str], typer.Argument(help="What to translate; quote a sentence.")],
    model: Annotated[str, typer.Option(help="A SavedModel's folder, or a name under savedmodels/, such as g2p.")],
    destination: Annotated[
        Path | None, typer.Option("--output", "-o", help="Alignment to write; a directory for several texts.")
    ] = None,
    best: Annotated[int, typer.Option(min=1, help="How many translations to show.")] = 1,
) -> None:
    """Translate texts, and show which part of the text each word of the translation attended to."""
    from keras_segattn import visualize

    writer = open_writer(model)
    for text in texts:
        tokens = writer.split(text)
        warn_of_unknown(tokens, writer.source)
        first, *_ = found = writer.translate(text)
        print_written(text, found[:best])
        print_attention(first, tokens)
        if destination is not None:
            several = len(texts) > 1 or destination.is_dir()
            target = destination / f"{'_'.join(text.split())}_alignment.png" if several else destination
            target.parent.mkdir(parents=True, exist_ok=True)
            visualize.save(visualize.alignment(first.attention, tokens, first.words), target)
            typer.echo(target)


def caption(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures.", exists=True, dir_okay=False)],
    model: Annotated[str, typer.Option(help="A SavedModel's folder, or a name under savedmodels/.")] = "captions_tux",
    destination: Annotated[
        Path | None, typer.Option("--output", "-o", help="Picture to write; a directory for several pictures.")
    ] = None,
    best: Annotated[int, typer.Option(min=1, help="How many captions to show.")] = 1,
) -> None:
    """Describe pictures, and draw where each word of the description attended to."""
    from keras_segattn import data as datasets
    from keras_segattn import visualize

    writer = open_writer(model)
    for path in pictures:
        image = datasets.read_image(path)
        first, *_ = found = writer.describe(image)
        print_written(str(path), found[:best])
        folder = Path() if destination is None else destination
        several = destination is None or len(pictures) > 1 or folder.is_dir()
        target = folder / f"{path.stem}_caption.png" if several else folder
        target.parent.mkdir(parents=True, exist_ok=True)
        grid = writer.grid(first.attention.shape[1])
        visualize.save(visualize.attended_words(image, first.words, first.attention, grid), target)
        typer.echo(target)


def open_writer(name: str) -> Any:
    """The exported translator or captioner of that name."""
    from keras_segattn.exported import find_exported
    from keras_segattn.exported_sequences import load_writer

    path = find_exported(name)
    if path is None or path.suffix == ".tflite":
        raise ValueError(f"expected --model to be a SavedModel's folder or a name under savedmodels/, received {name}")
    return load_writer(path)


def warn_of_unknown(tokens: list[str], vocabulary: Any) -> None:
    """Say which tokens the model reads as `<unk>`."""
    unknown = [token for token in tokens if token not in vocabulary]
    if unknown:
        errors.print(Text(f"unknown to the model: {' '.join(unknown)}", style="yellow"))


def print_written(title: str, found: Any) -> None:
    """Print sentences and their scores, best first."""
    table = Table(Column(Text(title)), "score")
    for written in found:
        table.add_row(Text(" ".join(written.tokens)), f"{written.score:.3f}")
    output.print(table)


def print_attention(written: Any, tokens: list[str]) -> None:
    """Print what each word of a sentence attended to, down to a tenth."""
    table = Table("word", "attended to")
    for word, weights in zip(written.words, written.attention, strict=True):
        # Without attention there is one annotation, the whole text.
        read = tokens if len(weights) == len(tokens) else ["everything"]
        attended = [f"{read[i]} {weights[i]:.2f}" for i in (-weights).argsort(kind="stable") if weights[i] >= 0.1]
        table.add_row(Text(word), Text("  ".join(attended)))
    output.print(table)
