"""Configurations of initialisers that several layers use."""

from typing import Any


def normal(stddev: float, mean: float = 0.0) -> dict[str, Any]:
    """Return the configuration of a normal initialiser.

    Every layer makes its own initialiser from it, as one shared object would draw the same numbers for all layers.
    """
    return {"class_name": "RandomNormal", "config": {"mean": mean, "stddev": stddev}}
