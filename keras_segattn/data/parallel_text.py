"""Sentences and their translations, line by line."""

import gzip
from os import PathLike
from pathlib import Path

Pair = tuple[list[str], list[str]]


def parallel_text(source: str | PathLike[str], target: str | PathLike[str]) -> list[Pair]:
    """Pairs of tokenised sentences from two files of as many lines.

    Args:
        source: UTF-8 text, plain or `.gz`; one sentence a line, tokens parted by white space.
        target: the same of the other language.

    Returns:
        A pair of lists of tokens a line; of an empty line the list is empty.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is no UTF-8, or the numbers of lines differ.

    Example:
        >>> train = parallel_text("multi30k/train.en", "multi30k/train.de")
    """
    sides = [_sentences(Path(path)) for path in (source, target)]
    if len(sides[0]) != len(sides[1]):
        raise ValueError(f"expected as many lines, found {len(sides[0])} in {source} and {len(sides[1])} in {target}")
    return list(zip(*sides, strict=True))


def _sentences(path: Path) -> list[list[str]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a text file, found nothing")
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = content.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    sentences = []
    for number, line in enumerate(lines, 1):
        try:
            sentences.append(line.decode("utf-8").split())
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}, line {number}: expected UTF-8: {error}") from error
    return sentences
