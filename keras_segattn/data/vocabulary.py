"""Tokens and their ids."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from os import PathLike

from keras_segattn.arguments import check_positive_integer, is_integer
from keras_segattn.data.text import normalized, read_lines, without_blank_end
from keras_segattn.fields import BOS, EOS, PAD, UNK
from keras_segattn.files import replaced

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")


class Vocabulary:
    """A fixed list of tokens; id 0 is padding, 1 begins and 2 ends a sentence, 3 is every unknown token.

    Tokens are compared in Unicode's normal form C (NFC), in which `Vocabulary.of` keeps them. No token of a sentence is
    encoded as a special one but the unknown token: `<eos>` in a text is an unknown word.

    Args:
        tokens: all tokens except these special ones, in the order of their ids from 4; a text stands for its letters.

    Raises:
        ValueError: if the tokens have no order, or a token is empty, holds white space or occurs twice.

    Example:
        >>> words = Vocabulary(["a", "dog"])
        >>> words.encode(["a", "cat"]), words.decode([4, 5, 2])
        ([4, 3], ['a', 'dog'])
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        if isinstance(tokens, Set | Mapping):  # whose order is not that of the ids
            raise ValueError(f"expected a list of tokens, received {type(tokens).__name__} {tokens!r:.100}")
        self.tokens = (*SPECIAL, *tokens)
        places: dict[str, int] = {}
        for index, token in enumerate(self.tokens):
            if not isinstance(token, str) or token.split() != [token]:
                raise ValueError(f"token {index}: expected a word without white space, received {token!r}")
            if token in places:
                raise ValueError(f"token {index}: {token!r} is token {places[token]} already")
            places[token] = index
        # A stored vocabulary may hold a token in several Unicode forms, of which the first one is used.
        self._ids: dict[str, int] = {}
        for token in self.tokens[len(SPECIAL) :]:
            self._ids.setdefault(normalized(token), places[token])

    @classmethod
    def of(cls, sentences: Iterable[Sequence[str]], size: int | None = None, at_least: int = 1) -> "Vocabulary":
        """Make a vocabulary of the tokens of sentences, most frequent first, equally frequent ones alphabetically.

        Args:
            sentences: lists of tokens, or words whose letters are the tokens.
            size: greatest number of tokens to keep, without the four special ones.
            at_least: least number of times that a token must occur.

        Returns:
            The vocabulary.

        Raises:
            ValueError: if a sentence is a text with white space rather than a list, or a number is out of range.
        """
        if size is not None and (not is_integer(size) or size < 0):
            raise ValueError(f"size must be a number of tokens or None, received {size!r}")
        check_positive_integer("at_least", at_least)
        counts = Counter(token for sentence in sentences for token in _checked(sentence))
        known = (token for token, n in counts.items() if n >= at_least and token not in SPECIAL)
        return cls(sorted(known, key=lambda token: (-counts[token], token))[:size])

    def __len__(self) -> int:
        """Number of tokens, the special ones included."""
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        """Return whether a token of a sentence has an id of its own."""
        return isinstance(token, str) and normalized(token) in self._ids

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Return the ids of tokens; 3 for tokens that are not in the vocabulary, and for all special ones.

        Raises:
            ValueError: if the tokens are a text with white space rather than a list.
        """
        return [self._ids.get(token, UNK) for token in _checked(tokens)]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Return the tokens of ids up to the end of the sentence, without padding and beginning.

        Raises:
            ValueError: if a number is no id of this vocabulary.
        """
        tokens = []
        for index in ids:
            if not is_integer(index) or not 0 <= index < len(self):
                raise ValueError(f"expected ids of tokens in 0..{len(self) - 1}, received {index!r}")
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
            FileNotFoundError: if there is no such file.
            ValueError: if the file is no such vocabulary; the message says where it differs.
        """
        tokens = without_blank_end(read_lines(path, "a vocabulary"))
        if tuple(tokens[: len(SPECIAL)]) != SPECIAL:
            raise ValueError(
                f"{path}: expected {', '.join(SPECIAL)} on the first lines, found {tokens[: len(SPECIAL)]}"
            )
        try:
            return cls(tokens[len(SPECIAL) :])
        except ValueError as error:
            raise ValueError(f"{path}: {error} (line = token + 1)") from error


def _checked(sentence: Iterable[str]) -> list[str]:
    """Return the tokens of a list or the letters of a word in NFC; raise `ValueError` for a text that is not split."""
    if isinstance(sentence, str):
        if any(map(str.isspace, sentence)):
            raise ValueError(f"expected a list of tokens, received the text {sentence!r:.100}")
        return list(normalized(sentence))  # a letter and its accent would be two tokens otherwise
    tokens = list(sentence)
    if not all(isinstance(token, str) for token in tokens):
        raise ValueError(f"expected a list of tokens, received {sentence!r:.100}")
    return [normalized(token) for token in tokens]
