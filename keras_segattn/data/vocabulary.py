"""Tokens and their ids."""

from collections import Counter
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

from keras_segattn.fields import BOS, EOS, PAD, UNK
from keras_segattn.files import replaced

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")


class Vocabulary:
    """A fixed list of tokens; id 0 is padding, 1 begins and 2 ends a sentence, 3 is every unknown token.

    Args:
        tokens: the others, in the order of their ids from 4.

    Raises:
        ValueError: if a token is empty, holds white space or is there twice.

    Example:
        >>> words = Vocabulary(["a", "dog"])
        >>> words.encode(["a", "cat"]), words.decode([4, 5, 2])
        ([4, 3], ['a', 'dog'])
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self.tokens = (*SPECIAL, *tokens)
        self._ids: dict[str, int] = {}
        for index, token in enumerate(self.tokens):
            if not token or token.split() != [token]:
                raise ValueError(f"token {index}: expected a word without white space, received {token!r}")
            if token in self._ids:
                raise ValueError(f"token {index}: {token!r} is token {self._ids[token]} already")
            self._ids[token] = index

    @classmethod
    def of(cls, sentences: Iterable[Sequence[str]], size: int | None = None, at_least: int = 1) -> "Vocabulary":
        """The tokens of sentences, most frequent first, equally frequent ones in the order of the alphabet.

        Args:
            sentences: lists of tokens.
            size: most tokens to keep, the four special ones not counted.
            at_least: how often a token has to be there.

        Returns:
            The vocabulary.
        """
        counts = Counter(token for sentence in sentences for token in sentence)
        ranked = sorted((token for token, n in counts.items() if n >= at_least), key=lambda t: (-counts[t], t))
        return cls(token for token in ranked[:size] if token not in SPECIAL)

    def __len__(self) -> int:
        """How many tokens, the special ones included."""
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        """Whether a token has an id of its own."""
        return token in self._ids

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Ids of tokens; 3 for those that are not in the vocabulary."""
        return [self._ids.get(token, UNK) for token in tokens]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Tokens of ids up to the end of the sentence, without padding and beginning."""
        tokens = []
        for index in ids:
            if index == EOS:
                break
            if index not in (PAD, BOS):
                tokens.append(self.tokens[index])
        return tokens

    def save(self, path: str | PathLike[str]) -> None:
        """Write the tokens, one a line, UTF-8, the special ones first."""
        with replaced(path) as temporary:
            temporary.write_text("".join(f"{token}\n" for token in self.tokens), encoding="utf-8")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Vocabulary":
        """The vocabulary that `save` wrote.

        Raises:
            ValueError: if the file is no such vocabulary; the message says where.
        """
        try:
            tokens = Path(path).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: expected UTF-8: {error}") from error
        if tuple(tokens[: len(SPECIAL)]) != SPECIAL:
            raise ValueError(
                f"{path}: expected {', '.join(SPECIAL)} on the first lines, found {tokens[: len(SPECIAL)]}"
            )
        try:
            return cls(tokens[len(SPECIAL) :])
        except ValueError as error:
            raise ValueError(f"{path}: {error} (line = token + 1)") from error
