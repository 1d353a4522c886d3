"""The output of commands: results go to standard output, everything else to standard error."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

# A console looks up `sys.stdout` or `sys.stderr` whenever it writes, so streams may be replaced later.
results = Console()
messages = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON objects, one per line, instead of tables.")]


def print_version(wanted: bool) -> None:
    """Print the version and end the process, if the version was asked for."""
    if wanted:
        import keras_segattn

        results.print(f"segattn {keras_segattn.__version__}", highlight=False)
        raise typer.Exit


def version(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors, and TensorFlow's log.")] = False,
) -> None:
    """Declare the options that stand before the command; `cli.errors.run` reads `--debug` itself."""


def print_json(value: Any) -> None:
    """Print one JSON object as a line of standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False, default=str) + "\n")


def print_rows(title: str, rows: list[tuple[str, ...]]) -> None:
    """Print a title and below it a table; the first row holds the headings."""
    # Text objects, so that brackets in names and paths are not read as markup.
    headings, *body = rows
    table = Table(*(Column(Text(heading)) for heading in headings))
    for row in body:
        table.add_row(*map(Text, row))
    # Printed separately: a table would wrap its own title at its width.
    results.print(Text(title, style="italic"), soft_wrap=True)
    results.print(table)


def report(done: Any, as_json: bool) -> None:
    """Print the report of an export or a verification."""
    if as_json:
        print_json(json.loads(done.to_json()))
    else:
        results.print(done.table())
