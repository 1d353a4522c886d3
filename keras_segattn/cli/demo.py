"""`segattn demo`: the main job, end to end."""

from pathlib import Path
from typing import Annotated

import typer

from keras_segattn.cli.output import results


def demo(
    destination: Annotated[Path, typer.Option("--output", "-o", help="Directory for everything.")] = Path("out/demo"),
    epochs: Annotated[int, typer.Option(help="Passes over the training longitudes.")] = 16,
) -> None:
    """Train FCN-8s on NASA's Blue Marble, export it to SavedModel and TFLite, verify both, write a report."""
    from keras_segattn.demo import run

    run(destination, epochs=epochs, console=results)
