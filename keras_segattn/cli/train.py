"""`segattn train`: any model whose task has a trainer."""

from pathlib import Path
from typing import Annotated

import typer

from keras_segattn.cli.parsing import DATA, Arguments, Labels, parse_arguments, parse_labels, parse_picture_size


def train(
    model: Annotated[str, typer.Argument(help="A builder of `segattn list`.")],
    data: Annotated[str, typer.Option(help=DATA)],
    run_dir: Annotated[Path, typer.Option(help="Directory for checkpoint, curves and the trained model.")],
    validation: Annotated[str | None, typer.Option(help="Data to evaluate after each epoch, as --data.")] = None,
    argument: Arguments = None,
    epochs: int = 20,
    batch_size: int = 8,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Size of the pictures, such as 256x320.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Training recipe; default: the first of the task.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate instead of the recipe's.")] = None,
    mixed_precision: Annotated[bool, typer.Option(help="Compute in 16 bits.")] = False,
    seed: int = 0,
    labels: Labels = None,
) -> None:
    """Train a model, with progress bar and checkpoints; the same call again resumes after an interruption."""
    from keras_segattn.training import workflows

    path = workflows.train(
        model,
        data,
        run_dir,
        validation=validation,
        arguments=parse_arguments(argument),
        epochs=epochs,
        batch_size=batch_size,
        size=parse_picture_size(size),
        recipe=recipe,
        learning_rate=learning_rate,
        mixed_precision=mixed_precision,
        seed=seed,
        labels=parse_labels(labels),
    )
    typer.echo(f"trained model: {path}")
