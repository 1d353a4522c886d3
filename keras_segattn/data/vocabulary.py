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
        tokens: all tokens except these special ones, in the order of their ids from 4.

    Raises:
        ValueError: if a token is empty, holds white space or occurs twice.

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
        """Make a vocabulary of the tokens of sentences, most frequent first, equally frequent ones alphabetically.

        Args:
            sentences: lists of tokens.
            size: greatest number of tokens to keep, without the four special ones.
            at_least: least number of times that a token must occur.

        Returns:
            The vocabulary.
        """
        counts = Counter(token for sentence in sentences for token in sentence)
        ranked = sorted((token for token, n in counts.items() if n >= at_least), key=lambda t: (-counts[t], t))
        return cls(token for token in ranked[:size] if token not in SPECIAL)

    def __len__(self) -> int:
        """Number of tokens, the special ones included."""
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        """Return whether a token has an id of its own."""
        return token in self._ids

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Return the ids of tokens; 3 for tokens that are not in the vocabulary."""
        return [self._ids.get(token, UNK) for token in tokens]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Return the tokens of ids up to the end of the sentence, without padding and beginning."""
        tokens = []
        for index in ids:
            if index == EOS:
                break
            if index not in (PAD, BOS):
                tokens.append(self.tokens[index])
        return tokens

    def save(self, path: str | PathLike[str]) -> None:
        """Write the tokens in UTF-8, one per line, the special ones first."""
        with replaced(path) as temporary:
            temporary.write_text("".join(f"{token}\n" for token in self.tokens), encoding="utf-8")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Vocabulary":
        """Read a vocabulary that `save` wrote.

        Raises:
            ValueError: if the file is no such vocabulary; the message says where it differs.
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
