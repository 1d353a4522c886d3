"""`segattn verify`: check an exported file in runtimes that did not write it."""

from pathlib import Path
from typing import Annotated

import typer

from keras_segattn.cli.output import Json, report


def verify(
    file: Annotated[Path, typer.Argument(help="A .tflite file or a SavedModel directory.")], as_json: Json = False
) -> None:
    """Run an exported file in independent runtimes and print the checks; the exit code is 1 if one fails."""
    from keras_segattn import export

    found = export.verify(file)
    report(found, as_json)
    found.raise_if_failed()
