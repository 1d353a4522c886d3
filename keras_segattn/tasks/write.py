"""Writing: sentences such as translations of a text or captions of a picture."""

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
from keras_segattn.tasks import closeness
from keras_segattn.tasks.closeness import Arrays
from keras_segattn.tasks.task import Example, Result, Rows, Task
from keras_segattn.visualize.attention import alignment, attended_words

OUTPUTS = ("tokens", "scores", "attention", "lengths")
# A model without attention reports one place, the whole input; this is its name.
EVERYTHING = "everything"
# Smallest attention weight that is printed.
LEAST_SHOWN = 0.1


class Sentence(NamedTuple):
    """A sentence that a model wrote.

    Attributes:
        tokens: the sentence, without its end.
        score: score of the search; the best sentence has the highest.
        attention: float32 `(T, L)`: one row per token, and one for the end of the sentence if it was written.
    """

    tokens: tuple[str, ...]
    score: float
    attention: np.ndarray

    @property
    def words(self) -> list[str]:
        """One token for every row of `attention`: the sentence, and its end if it was written."""
        return [*self.tokens, SPECIAL[EOS]][: len(self.attention)]


@dataclass(frozen=True)
class Written(Result):
    """The sentences that a model wrote for an example.

    Attributes:
        sentences: sentences, best first.
        best: number of sentences to show.
        read: tokens that the model attends to; `None` if it attends to no text.
        picture: uint8 `(height, width, 3)` that the model attends to, or `None`.
        grid: number of rows and columns of the places in the picture; `None` without a picture.
        unknown: tokens of the text that the model does not know.
    """

    sentences: tuple[Sentence, ...]
    best: int = 1
    read: tuple[str, ...] | None = None
    picture: np.ndarray | None = None
    grid: tuple[int, int] | None = None
    unknown: tuple[str, ...] = ()

    def rows(self) -> Rows:
        """Return the best sentences and their scores."""
        shown = self.sentences[: self.best]
        return [("sentence", "score"), *((" ".join(one.tokens), f"{one.score:.3f}") for one in shown)]

    def notes(self) -> list[str]:
        """Return for each word of the best sentence the tokens of the text with an attention of 0.1 or more."""
        if self.read is None:
            return []
        first = self.sentences[0]
        return [
            f"{word}: {'  '.join(f'{self.read[i]} {row[i]:.2f}' for i in order if row[i] >= LEAST_SHOWN)}"
            for word, row in zip(first.words, first.attention, strict=True)
            for order in [(-row).argsort(kind="stable")]
        ]

    def warnings(self) -> list[str]:
        """Return a warning that lists the tokens unknown to the model."""
        return [f"unknown to the model: {' '.join(self.unknown)}"] if self.unknown else []

    def to_json(self) -> dict[str, Any]:
        """Return the best sentences and the unknown tokens, in types that JSON has."""
        shown = [{"tokens": list(one.tokens), "score": one.score} for one in self.sentences[: self.best]]
        return {"sentences": shown, "unknown": list(self.unknown)}

    def draw(self) -> Image.Image | None:
        """Draw the attention of the best sentence: its alignment with the text, or a map over the picture per word."""
        first = self.sentences[0]
        if self.read is not None:
            return alignment(first.attention, self.read, first.words)
        if self.picture is not None:
            return attended_words(self.picture, first.words, first.attention, self.grid)
        return None


class Write(Task):
    """The task of models that write sentences by beam search.

    Their outputs are `tokens` `(beams, T)`, `scores` and `lengths` `(beams,)` and `attention` `(beams, T, L)`.
    """

    name = "write"
    drawing = "attention"
    signatures = ("decode_beam", "serving_default")

    def interpret(
        self, outputs: Mapping[str, np.ndarray], facts: Facts, example: Example, options: Mapping[str, Any]
    ) -> Written:
        """Return the sentences that the search found, best first."""
        if not set(OUTPUTS) <= outputs.keys():
            expected = ", ".join(OUTPUTS)
            raise ValueError(f"to write, a model must give {expected}; this one gives {', '.join(outputs)}")
        scores = np.asarray(outputs["scores"])
        if not scores[0] > IMPOSSIBLE:  # NaN fails the comparison, too
            raise ValueError(f"the model gave scores {scores.tolist()}: it found no sentence")
        texts = [name for name, kind in facts.inputs.items() if isinstance(kind, Tokens) and name in example.given]
        tokens = next(iter(example.given[name] for name in texts), None)
        picture = next(iter(example.frames), None)
        places = outputs["attention"].shape[-1]
        read: tuple[str, ...] | None = None
        # If a model takes a text and a picture, the number of columns of its attention tells which one it attends to.
        if tokens is not None and (picture is None or places == len(example.arrays[texts[0]])):
            read = (EVERYTHING,) if places == 1 else tuple(tokens)
        columns = places if read is None else len(read)  # without the padding behind a text
        shown = None if read is not None or picture is None else example.given[picture]
        size = None if picture is None else example.arrays[picture].shape[:2]
        hypotheses = zip(*(outputs[name] for name in OUTPUTS), strict=True)
        sentences = tuple(
            Sentence(_words(ids, facts), float(score), attention[:length, :columns])
            for ids, score, attention, length in hypotheses
        )
        grid = None if shown is None or size is None else grid_of_places(places, size)
        return Written(sentences, options["best"], read, shown, grid, _unknown(texts, example))

    def compare(
        self, outputs: Mapping[str, Arrays], expected: Mapping[str, Arrays], precision: str
    ) -> closeness.Comparison:
        """Compare the outputs; of a sentence that rounding made another one, only its score.

        Rounded weights let a search choose otherwise where two sentences score nearly alike. The next sentence in the
        order then has nearly the same score, but nothing else in common with the expected one.
        """
        if precision != "float32":
            outputs = {name: _of_equal_sentences(outputs[name], expected[name]) for name in expected}
        return super().compare(outputs, expected, precision)


def _of_equal_sentences(got: Arrays, wanted: Arrays) -> Arrays:
    """Return outputs in which sentences that differ from the expected ones are those, with their own scores."""
    if "tokens" not in wanted:
        return got
    count = min(len(got["tokens"]), len(wanted["tokens"]))
    differ = np.any(got["tokens"][:count] != wanted["tokens"][:count], axis=-1)
    kept = {}
    for name, array in wanted.items():
        ours, theirs = got[name][:count], array[:count]
        where = differ.reshape(*differ.shape, *[1] * (ours.ndim - differ.ndim))
        kept[name] = ours if name == "scores" else np.where(where, theirs, ours)
    return kept


def grid_of_places(places: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of the grid with this number of places whose cells are closest to squares.

    Args:
        places: number of places.
        size: (height, width) of the picture.
    """
    height, width = size
    rows = [n for n in range(1, places + 1) if places % n == 0]
    best = min(rows, key=lambda n: abs(math.log((height / n) / (width * n / places))))
    return best, places // best


def _words(ids: np.ndarray, facts: Facts) -> tuple[str, ...]:
    """Return the tokens of a sentence, or their numbers if the model holds no vocabulary for its output."""
    target = next((kind.vocabulary for kind in facts.inputs.values() if isinstance(kind, Tokens) and kind.target), None)
    known = facts.vocabularies.get(target or "target")
    if known is not None:
        return tuple(Vocabulary(known[UNK + 1 :]).decode(ids.tolist()))
    end = np.flatnonzero(ids == EOS)
    return tuple(str(one) for one in ids[: end[0] if len(end) else None].tolist() if one not in (PAD, BOS))


def _unknown(texts: list[str], example: Example) -> tuple[str, ...]:
    """Return the given tokens that are not in the vocabulary and were read as the token for unknown words."""
    pairs = (pair for name in texts for pair in zip(example.given[name], example.arrays[name], strict=False))
    return tuple(token for token, number in pairs if number == UNK and token != SPECIAL[UNK])


TASK = Write()
