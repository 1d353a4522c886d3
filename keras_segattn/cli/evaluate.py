"""`segattn evaluate`: the scores of a trained model on data."""

from pathlib import Path
from typing import Annotated

import typer

from keras_segattn.cli.output import Json, print_json, print_rows
from keras_segattn.cli.parsing import Labels, parse_labels, parse_picture_size


def evaluate(
    model: Annotated[Path, typer.Argument(help="A trained model (.keras).", exists=True, dir_okay=False)],
    data: Annotated[str, typer.Option(help="Data to evaluate on.")],
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Size of the pictures, such as 256x320.")] = None,
    batch_size: int = 1,
    labels: Labels = None,
    as_json: Json = False,
) -> None:
    """Print the scores of a trained model: IoU and accuracy of pixels, errors of classes, precision of objects."""
    from keras_segattn.training import workflows

    scores = workflows.evaluate(
        model, data, size=parse_picture_size(size), batch_size=batch_size, labels=parse_labels(labels)
    )
    if as_json:
        print_json(scores)
    else:
        print_rows(str(model), [("score", "value"), *((name, f"{value:.4f}") for name, value in scores.items())])
