"""Models that write sentences at work: from a text to its translations, from a picture to its captions."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from keras_segattn.data.vocabulary import EOS, SPECIAL, UNK, Vocabulary
from keras_segattn.decoding.beam_search import IMPOSSIBLE
from keras_segattn.exported_signature import open_signature


class Written(NamedTuple):
    """A sentence that a model wrote.

    Attributes:
        tokens: the sentence, without its end.
        score: what hypotheses are ordered by.
        attention: float32 `(T, L)`, a row for every token, and one for the end if it was written.
    """

    tokens: list[str]
    score: float
    attention: np.ndarray

    @property
    def words(self) -> list[str]:
        """A token for every row of attention: the sentence, and its end if it was written."""
        return [*self.tokens, SPECIAL[EOS]][: len(self.attention)]


class Writer(NamedTuple):
    """A translator or captioner, as it was exported.

    Attributes:
        run: a batch of its input → its outputs.
        target: vocabulary of what it writes.
        source: vocabulary of what it reads; `None` if it looks at pictures.
        size: (height, width) of the picture; `None` if it reads text.
    """

    run: Callable[[np.ndarray], dict[str, np.ndarray]]
    target: Vocabulary
    source: Vocabulary | None
    size: tuple[int, int] | None

    def split(self, text: str) -> list[str]:
        """The tokens of a text, its end last: signs if the vocabulary has nothing longer, else words.

        In lower case if the vocabulary has no other.

        Raises:
            ValueError: if the model looks at pictures, or the text is empty.
        """
        if self.source is None:
            raise ValueError("this model describes pictures, it reads no text")
        own = self.source.tokens[UNK + 1 :]
        text = text.lower() if all(token == token.lower() for token in own) else text
        tokens = text.split() if any(len(token) > 1 for token in own) else list("".join(text.split()))
        if not tokens:
            raise ValueError(f"expected a text, received {text!r}")
        return [*tokens, SPECIAL[EOS]]

    def translate(self, text: str) -> list[Written]:
        """Translations of a text, best first.

        Raises:
            ValueError: if the model looks at pictures, or the text is empty.

        Example:
            >>> load_writer(Path("savedmodels/g2p/1")).translate("attention")[0].tokens
            ['AH', 'T', 'EH', 'N', 'SH', 'AH', 'N']
        """
        tokens = self.split(text)
        return self._written(np.array([self.source.encode(tokens)], "int32"))  # type: ignore[union-attr]

    def describe(self, picture: np.ndarray) -> list[Written]:
        """Captions of a picture, best first.

        Args:
            picture: uint8 `(height, width, 3)` RGB of any size; it is scaled to the model's.

        Raises:
            ValueError: if the model reads text.
        """
        if self.size is None:
            raise ValueError("this model translates text, it looks at no pictures")
        scaled = Image.fromarray(picture).resize(self.size[::-1], Image.Resampling.BILINEAR)
        return self._written(np.asarray(scaled)[None])

    def grid(self, locations: int) -> tuple[int, int]:
        """Rows and columns of a picture's locations: of the grids of so many, that with the squarest cells."""
        height, width = self.size  # type: ignore[misc]
        rows = [n for n in range(1, locations + 1) if locations % n == 0]
        best = min(rows, key=lambda n: abs(math.log((height / n) / (width * n / locations))))
        return best, locations // best

    def _written(self, inputs: np.ndarray) -> list[Written]:
        found = self.run(inputs)
        if not found["scores"][0, 0] > IMPOSSIBLE:  # nor of NaN
            raise ValueError(f"the model gave scores {found['scores'][0].tolist()}: it found no sentence")
        hypotheses = zip(*(found[name][0] for name in ("tokens", "scores", "attention", "lengths")), strict=True)
        return [
            Written(self.target.decode(ids), float(score), attention[:length])
            for ids, score, attention, length in hypotheses
        ]


def load_writer(path: Path) -> Writer:
    """A translator or captioner that `export.saved_sequences` wrote.

    Args:
        path: its version directory.

    Raises:
        ValueError: if it is another model, or lacks a vocabulary.

    Example:
        >>> load_writer(Path("savedmodels/captions_tux/1")).describe(picture)[0].tokens
    """
    try:
        signature = open_signature(path, "decode_beam")
    except ValueError as error:
        raise ValueError(f"{path} writes no sentences: {error}") from error
    ((name, shape),) = signature.inputs.items()
    words = {side: path / "assets.extra" / f"{side}.txt" for side in ("source", "target")}
    needed: Sequence[str] = ("source", "target") if name == "source" else ("target",)
    for side in needed:
        if not words[side].is_file():
            raise ValueError(f"{path}: expected a vocabulary {words[side].name} in assets.extra, found none")
    if name == "annotations":
        raise ValueError(f"{path} describes what a trunk makes of pictures; export the model with its trunk")

    def run(inputs: np.ndarray) -> dict[str, np.ndarray]:
        return signature.run({name: inputs})

    target = Vocabulary.load(words["target"])
    if name == "source":
        return Writer(run, target, Vocabulary.load(words["source"]), None)
    _, height, width, _ = shape
    if height is None or width is None:
        raise ValueError(f"{path} takes pictures of any size; export the model with one")
    return Writer(run, target, None, (height, width))
