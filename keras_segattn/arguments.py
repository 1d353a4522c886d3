"""Checks that every builder makes before it builds anything."""

import difflib
import math
from collections.abc import Collection
from typing import Any

ACTIVATIONS = (None, "softmax", "sigmoid", "linear")


def check_choice(name: str, value: Any, choices: Collection[Any]) -> None:
    """Raise `ValueError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, received {value!r}")


def unknown(what: str, value: object, known: Collection[str]) -> str:
    """Words for an unknown name: what is known, and which of it is near.

    Args:
        what: kind of the name, such as `"model"`.
        value: the name that was given.
        known: the names there are.

    Example:
        >>> unknown("model", "FCN4s", ["FCN8s", "MNC"])
        "unknown model 'FCN4s'; expected one of FCN8s, MNC; did you mean 'FCN8s'?"
    """
    plain = {name.lower(): name for name in known}
    near = difflib.get_close_matches(str(value).lower(), plain, 1)
    hint = f"; did you mean {plain[near[0]]!r}?" if near else ""
    return f"unknown {what} {value!r}; expected one of {', '.join(known) or 'none'}{hint}"


def check_positive_integer(name: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a positive integer, received {value!r}")


def check_blocks(blocks: Any, stages: int, expected: str) -> None:
    """Raise `ValueError` unless `blocks` are as many positive integers as the network has stages.

    Args:
        blocks: the argument.
        stages: how many.
        expected: the same in words, such as `"four numbers of residual blocks"`.
    """
    if not isinstance(blocks, tuple | list) or len(blocks) != stages:
        raise ValueError(f"blocks must be {expected}, received {blocks!r}")
    for count in blocks:
        check_positive_integer("blocks", count)


def check_dropout(dropout: Any) -> None:
    """Raise `ValueError` unless `dropout` is a rate."""
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ValueError(f"dropout must be a rate of at least 0 and less than 1, received {dropout!r}")


def scaled(channels: int, alpha: float) -> int:
    """`channels` times the width multiplier `alpha`, at least 1.

    Raises:
        ValueError: if `alpha` is not a positive finite number.
    """
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < math.inf:
        raise ValueError(f"alpha must be a positive width multiplier, received {alpha!r}")
    return max(1, round(channels * alpha))


def check_classifier(include_top: bool, classes: int, classifier_activation: str | None) -> None:
    """Raise `ValueError` unless the three arguments of a classifying head make sense."""
    check_choice("include_top", include_top, (True, False))
    check_positive_integer("classes", classes)
    check_choice("classifier_activation", classifier_activation, ACTIVATIONS)


def check_fixed_size(image: Any, include_top: bool) -> None:
    """Raise `ValueError` if fully connected layers would see maps of unknown size."""
    if include_top and None in image.shape[1:]:
        raise ValueError(f"the fully connected top needs a fixed image size, received {tuple(image.shape[1:])}")
