"""`segattn train`: train a model from a builder and a description of the data."""

from pathlib import Path
from typing import Annotated

import typer

from keras_segattn.cli.parsing import DATA, Arguments, Labels, parse_arguments, parse_labels, parse_picture_size


def train(
    model: Annotated[str, typer.Argument(help="Name of a builder; see `segattn list`.")],
    data: Annotated[str, typer.Option(help=DATA)],
    run_dir: Annotated[
        Path, typer.Option(help="Directory for the checkpoint, the training curves and the trained model.")
    ],
    validation: Annotated[
        str | None, typer.Option(help="Data to evaluate on after each epoch, written as for --data.")
    ] = None,
    argument: Arguments = None,
    epochs: Annotated[
        int, typer.Option(help="Number of passes over the data in all, those before an interruption included.")
    ] = 20,
    batch_size: Annotated[int, typer.Option(help="Number of examples per update of the weights.")] = 8,
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Height and width of the pictures as the network sees them, such as 256x320."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Name of a training recipe; default: the builder's own, or the first for its task."),
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate; default: the rate of the recipe.")] = None,
    mixed_precision: Annotated[
        bool, typer.Option("--mixed-precision", help="Compute in 16-bit floats; the weights stay 32-bit.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the weights, the order of the examples and the augmentation.")] = 0,
    labels: Labels = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start again and overwrite the training in --run-dir.")
    ] = False,
) -> None:
    """Train a model. After an interruption, the same command resumes from the last checkpoint."""
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
        resume=not restart,
        labels=parse_labels(labels),
    )
    typer.echo(f"trained model: {path}")
