"""Writing: sentences such as translations of a text or captions of a picture."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from keras_segattn.data.vocabulary import SPECIAL, Vocabulary
from keras_segattn.decoding.beam_search import IMPOSSIBLE
from keras_segattn.facts import Facts
from keras_segattn.fields import BOS, EOS, PAD, UNK, Tokens
from keras_segattn.tasks import closeness
from keras_segattn.tasks.closeness import Arrays, Check
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
        """Compare the outputs; rounded weights may lose some sentences of a search, and are compared by the others.

        Where two sentences score nearly alike, rounding decides which one the search goes on with. A lost sentence has
        nothing in common with the one that takes its place.
        """
        if precision == "float32":
            return super().compare(outputs, expected, precision)
        aligned, again, number = {}, 0, 0
        for name, wanted in expected.items():
            aligned[name] = outputs[name]
            if "tokens" in wanted:
                aligned[name], kept = _of_equal_sentences(outputs[name], wanted)
                again, number = again + int(kept.sum()), number + kept.size
        found = super().compare(aligned, expected, precision)
        if not number:
            return found
        floor, share = closeness.MIN_FOUND_AGAIN[precision], again / number
        check = Check("sentences", share >= floor, f"{again} of {number} written again", f">= {floor:.0%}")
        return replace(found, further=(check,))


def _of_equal_sentences(got: Arrays, wanted: Arrays) -> tuple[Arrays, np.ndarray]:
    """Give each expected sentence the outputs of the equal one that was found, and tell which sentences have one.

    Returns:
        `got` in the order of `wanted`, with the expected outputs where no sentence is equal, and bool
        `(samples, batch, …)`, true where one is.
    """
    count = min(len(got["tokens"]), len(wanted["tokens"]))
    shape = wanted["tokens"][:count].shape[:-1]  # (samples, batch) or (samples, batch, beams)
    beams = shape[2:] or (1,)

    def lists(array: np.ndarray) -> np.ndarray:
        return array[:count].reshape(-1, *beams, *array.shape[len(shape) :])

    equal = (lists(wanted["tokens"])[:, :, None] == lists(got["tokens"])[:, None]).all(axis=-1)
    kept, place = equal.any(axis=-1), equal.argmax(axis=-1)
    examples = np.arange(len(place))[:, None]
    aligned = {}
    for name, array in wanted.items():
        theirs = lists(array)
        where = kept.reshape(*kept.shape, *[1] * (theirs.ndim - kept.ndim))
        aligned[name] = np.where(where, lists(got[name])[examples, place], theirs).reshape(array[:count].shape)
    return aligned, kept.reshape(shape)


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
