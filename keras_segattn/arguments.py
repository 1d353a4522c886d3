"""Checks that every builder makes before it builds anything."""

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import TypeIs

ACTIVATIONS = (None, "softmax", "sigmoid", "linear")
# Largest number of received names that an error message repeats.
MANY = 10


def check_choice(name: str, value: Any, choices: Collection[Any]) -> None:
    """Raise `ValueError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, received {value!r}")


def suggestion(value: object, known: Collection[str]) -> str:
    """Return the end of an error about an unknown name: `"; did you mean 'FCN8s'?"`, or `""` if no name is close.

    Args:
        value: name that was given.
        known: known names; upper and lower case are not distinguished.
    """
    names = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(value.casefold(), names, n=1) if isinstance(value, str) else []
    return f"; did you mean {names[near[0]]!r}?" if near else ""


def unknown(what: str, value: object, known: Collection[str]) -> str:
    """Return the text of an error about an unknown name.

    Args:
        what: kind of thing that has the name, such as `"model"`.
        value: name that was given.
        known: known names.

    Example:
        >>> unknown("model", "FCN4s", ["AlexNet", "FCN8s"])
        "unknown model 'FCN4s'; expected one of AlexNet, FCN8s; did you mean 'FCN8s'?"
    """
    return f"unknown {what} {value!r}; expected one of {', '.join(known)}{suggestion(value, known)}"


def check_labels(labels: Sequence[str], classes: int) -> None:
    """Raise `ValueError` unless there is one name for each of `classes` classes."""
    if isinstance(labels, str):
        raise ValueError(f"expected {classes} names of classes, received the text {labels!r}")
    if isinstance(labels, Mapping) or not hasattr(labels, "__getitem__"):  # a set has no order
        raise ValueError(f"expected a list of {classes} names of classes, received {type(labels).__name__} {labels!r}")
    if len(labels) != classes:
        shown = [*map(str, labels[:MANY]), *(["…"] if len(labels) > MANY else [])]
        raise ValueError(f"expected {classes} names of classes, received {len(labels)}: {', '.join(shown)}")


def is_integer(value: Any) -> "TypeIs[int]":
    """Return whether `value` is an integer of Python or NumPy; truth values are none."""
    return not isinstance(value, bool) and isinstance(value, Integral)


def is_number(value: Any) -> "TypeIs[float]":
    """Return whether `value` is a finite real number of Python or NumPy; truth values are none."""
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def check_number(name: str, value: Any, least: float, most: float = math.inf) -> None:
    """Raise `ValueError` unless `value` is a finite number of at least `least` and at most `most`."""
    if not is_number(value) or not least <= value <= most:
        limits = f"at least {least:g} and finite" if most == math.inf else f"in {least:g}..{most:g}"
        raise ValueError(f"{name} must be {limits}, received {value!r}")


def check_positive_integer(name: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is an integer of at least 1."""
    if not is_integer(value) or value < 1:
        raise ValueError(f"{name} must be a positive integer, received {value!r}")


def check_blocks(blocks: Any, stages: int, expected: str) -> None:
    """Raise `ValueError` unless `blocks` holds one positive integer per stage of the network.

    Args:
        blocks: value of the argument `blocks`.
        stages: number of stages.
        expected: description of a valid value, such as `"four numbers of residual blocks"`.
    """
    if not isinstance(blocks, tuple | list) or len(blocks) != stages:
        raise ValueError(f"blocks must be {expected}, received {blocks!r}")
    for count in blocks:
        check_positive_integer("blocks", count)


def check_dropout(dropout: Any) -> None:
    """Raise `ValueError` unless `dropout` is a rate of at least 0 and less than 1."""
    if not is_number(dropout) or not 0 <= dropout < 1:
        raise ValueError(f"dropout must be a rate of at least 0 and less than 1, received {dropout!r}")


def scaled(channels: int, alpha: float) -> int:
    """Multiply `channels` by the width multiplier `alpha`; round the result, which is at least 1.

    Raises:
        ValueError: if `alpha` is not a positive finite number.
    """
    if not is_number(alpha) or not alpha > 0:
        raise ValueError(f"alpha must be a positive width multiplier, received {alpha!r}")
    return max(1, round(channels * alpha))


def check_classifier(include_top: bool, classes: int, classifier_activation: str | None) -> None:
    """Raise `ValueError` unless the three arguments of a classifying head are valid."""
    check_choice("include_top", include_top, (True, False))
    check_positive_integer("classes", classes)
    check_choice("classifier_activation", classifier_activation, ACTIVATIONS)


def check_fixed_size(image: Any, include_top: bool) -> None:
    """Raise `ValueError` if fully connected layers would see maps of unknown size."""
    if include_top and None in image.shape[1:]:
        raise ValueError(f"the fully connected top needs a fixed image size, received {tuple(image.shape[1:])}")
