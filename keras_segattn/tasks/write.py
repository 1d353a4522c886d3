"""To write sentences: translations of a text, captions of a picture."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from keras_segattn.data.vocabulary import SPECIAL, Vocabulary
from keras_segattn.decoding.beam_search import IMPOSSIBLE
from keras_segattn.facts import Facts
from keras_segattn.fields import BOS, EOS, PAD, UNK, Tokens
from keras_segattn.tasks.task import Example, Result, Rows, Task
from keras_segattn.visualize.attention import alignment, attended_words

OUTPUTS = ("tokens", "scores", "attention", "lengths")
# Without attention, there is one place to attend to.
EVERYTHING = "everything"
# What a word attended to less than this is not printed.
LEAST_SHOWN = 0.1


class Sentence(NamedTuple):
    """A sentence that a model wrote.

    Attributes:
        tokens: the sentence, without its end.
        score: what sentences are ordered by.
        attention: float32 `(T, L)`, a row for every token, and one for the end if it was written.
    """

    tokens: tuple[str, ...]
    score: float
    attention: np.ndarray

    @property
    def words(self) -> list[str]:
        """A token for every row of attention: the sentence, and its end if it was written."""
        return [*self.tokens, SPECIAL[EOS]][: len(self.attention)]


@dataclass(frozen=True)
class Written(Result):
    """What a model wrote about an example.

    Attributes:
        sentences: best first.
        best: how many of them are shown.
        read: tokens that the model read, and can attend to; `None` of a model that reads none.
        picture: uint8 `(height, width, 3)` that it looked at, or `None`.
        grid: rows and columns of the places in the picture.
        unknown: tokens of the text that the model does not know.
    """

    sentences: tuple[Sentence, ...]
    best: int = 1
    read: tuple[str, ...] | None = None
    picture: np.ndarray | None = None
    grid: tuple[int, int] | None = None
    unknown: tuple[str, ...] = ()

    def rows(self) -> Rows:
        """The best sentences and their scores."""
        shown = self.sentences[: self.best]
        return [("sentence", "score"), *((" ".join(one.tokens), f"{one.score:.3f}") for one in shown)]

    def notes(self) -> list[str]:
        """What each word of the best sentence attended to in a text, down to a tenth."""
        if self.read is None:
            return []
        first = self.sentences[0]
        return [
            f"{word}: {'  '.join(f'{self.read[i]} {row[i]:.2f}' for i in order if row[i] >= LEAST_SHOWN)}"
            for word, row in zip(first.words, first.attention, strict=True)
            for order in [(-row).argsort(kind="stable")]
        ]

    def warnings(self) -> list[str]:
        """The tokens that the model reads as unknown."""
        return [f"unknown to the model: {' '.join(self.unknown)}"] if self.unknown else []

    def to_json(self) -> dict[str, Any]:
        """The best sentences, and the unknown tokens."""
        shown = [{"tokens": list(one.tokens), "score": one.score} for one in self.sentences[: self.best]]
        return {"sentences": shown, "unknown": list(self.unknown)}

    def draw(self) -> Image.Image | None:
        """Where the best sentence looked: its alignment with a text, or its words over a picture."""
        first = self.sentences[0]
        if self.read is not None:
            return alignment(first.attention, self.read, first.words)
        if self.picture is not None:
            return attended_words(self.picture, first.words, first.attention, self.grid)
        return None


class Write(Task):
    """Outputs of a search: `tokens` `(beams, T)`, `scores` and `lengths` `(beams,)`, `attention` `(beams, T, L)`."""

    name = "write"
    drawing = "attention"
    signatures = ("decode_beam", "serving_default")

    def interpret(
        self, outputs: Mapping[str, np.ndarray], facts: Facts, example: Example, options: Mapping[str, Any]
    ) -> Written:
        """The sentences that were found."""
        if not set(OUTPUTS) <= outputs.keys():
            expected = ", ".join(OUTPUTS)
            raise ValueError(f"to write, a model must give {expected}; this one gives {', '.join(outputs)}")
        scores = np.asarray(outputs["scores"])
        if not scores[0] > IMPOSSIBLE:  # nor of NaN
            raise ValueError(f"the model gave scores {scores.tolist()}: it found no sentence")
        texts = [name for name, kind in facts.inputs.items() if isinstance(kind, Tokens) and name in example.given]
        tokens = next(iter(example.given[name] for name in texts), None)
        picture = next(iter(example.frames), None)
        places = outputs["attention"].shape[-1]
        read: tuple[str, ...] | None = None
        # Where a model takes both, its attention has as many columns as what it attends to.
        if tokens is not None and (picture is None or places == len(example.arrays[texts[0]])):
            read = (EVERYTHING,) if places == 1 else tuple(tokens)
        columns = places if read is None else len(read)  # padding behind a text is not looked at
        shown = None if read is not None or picture is None else example.given[picture]
        size = None if picture is None else example.arrays[picture].shape[:2]
        hypotheses = zip(*(outputs[name] for name in OUTPUTS), strict=True)
        sentences = tuple(
            Sentence(_words(ids, facts), float(score), attention[:length, :columns])
            for ids, score, attention, length in hypotheses
        )
        grid = None if shown is None or size is None else grid_of_places(places, size)
        return Written(sentences, options["best"], read, shown, grid, _unknown(texts, example))


def grid_of_places(places: int, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of a picture's places: of the grids of so many, that with the squarest cells.

    Args:
        places: how many.
        size: (height, width) of the picture.
    """
    height, width = size
    rows = [n for n in range(1, places + 1) if places % n == 0]
    best = min(rows, key=lambda n: abs(math.log((height / n) / (width * n / places))))
    return best, places // best


def _words(ids: np.ndarray, facts: Facts) -> tuple[str, ...]:
    """The tokens of a sentence; their numbers if the model holds no vocabulary of what it writes."""
    target = next((kind.vocabulary for kind in facts.inputs.values() if isinstance(kind, Tokens) and kind.target), None)
    known = facts.vocabularies.get(target or "target")
    if known is not None:
        return tuple(Vocabulary(known[UNK + 1 :]).decode(ids.tolist()))
    end = np.flatnonzero(ids == EOS)
    return tuple(str(one) for one in ids[: end[0] if len(end) else None].tolist() if one not in (PAD, BOS))


def _unknown(texts: list[str], example: Example) -> tuple[str, ...]:
    """The tokens that were given and became that of unknown words."""
    pairs = (pair for name in texts for pair in zip(example.given[name], example.arrays[name], strict=False))
    return tuple(token for token, number in pairs if number == UNK and token != SPECIAL[UNK])


TASK = Write()
