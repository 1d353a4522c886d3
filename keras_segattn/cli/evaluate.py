"""`segattn evaluate`: score a trained model on labelled data."""

import contextlib
import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from keras_segattn.cli.output import Json, print_json, print_rows
from keras_segattn.cli.parsing import DATA, Labels, parse_labels, parse_picture_size


def evaluate(
    model: Annotated[Path, typer.Argument(help="Trained model, a .keras file.", exists=True, dir_okay=False)],
    data: Annotated[str, typer.Option(help=DATA)],
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Height and width of the pictures as the network sees them, such as 256x320."),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Number of pictures per forward pass.")] = 1,
    labels: Labels = None,
    as_json: Json = False,
) -> None:
    """Print the scores of a trained model on labelled data, such as IoU, classification error or average precision."""
    from keras_segattn.training import workflows

    # Progress bars go to standard error: standard output is for the scores.
    with contextlib.redirect_stdout(sys.stderr):
        scores = workflows.evaluate(
            model, data, size=parse_picture_size(size), batch_size=batch_size, labels=parse_labels(labels)
        )
    # A score is NaN if there is nothing to score, such as the IoU of a class that never occurs.
    known = {name: value if math.isfinite(value) else None for name, value in scores.items()}
    if as_json:
        print_json(known)
    else:
        cells = (("nothing to score" if value is None else f"{value:.4f}") for value in known.values())
        print_rows(str(model), [("score", "value"), *zip(known, cells, strict=True)])
