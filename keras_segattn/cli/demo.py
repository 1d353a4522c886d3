"""`segattn demo`: train a model, export it and verify the files."""

from pathlib import Path
from typing import Annotated

import typer

from keras_segattn.cli.output import results


def demo(
    destination: Annotated[
        Path, typer.Option("--output", "-o", help="Directory for the models, pictures and the report.")
    ] = Path("out/demo"),
    epochs: Annotated[int, typer.Option(help="Passes over the training part of the map.")] = 16,
) -> None:
    """Train FCN-8s on NASA's Blue Marble image, export it to SavedModel and TFLite, verify both and write a report."""
    from keras_segattn.demo import run

    run(destination, epochs=epochs, console=results)
