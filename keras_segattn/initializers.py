"""Initialisers that several layers are given."""

from typing import Any


def normal(stddev: float, mean: float = 0.0) -> dict[str, Any]:
    """Configuration of a normal initialiser, of which every layer makes its own: one object draws the same for all."""
    return {"class_name": "RandomNormal", "config": {"mean": mean, "stddev": stddev}}
