"""The ids that sentence models agree on."""

from dataclasses import replace
from typing import TypeVar

from keras_segattn.arguments import check_positive_integer
from keras_segattn.decoding import BeamRules, SamplingRules

PAD, BOS, EOS = 0, 1, 2
Rules = TypeVar("Rules", BeamRules, SamplingRules)


def check_vocabulary(argument: str, size: int) -> None:
    """Raise a ValueError if so many tokens cannot be a vocabulary."""
    check_positive_integer(argument, size)
    if size <= EOS:
        raise ValueError(f"{argument} must hold padding, begin and end of sentence, received {size} tokens")


def of_words(rules: Rules) -> Rules:
    """Rules by which padding and beginnings of sentences are never written."""
    return replace(rules, forbidden=tuple(sorted({*rules.forbidden, PAD, BOS})))
