"""Sentences and their translations, line by line."""

import gzip
from os import PathLike
from pathlib import Path

Pair = tuple[list[str], list[str]]


def parallel_text(source: str | PathLike[str], target: str | PathLike[str]) -> list[Pair]:
    """Read pairs of tokenised sentences from two files with equal numbers of lines.

    Args:
        source: path of a UTF-8 text, plain or `.gz`, with one sentence per line and tokens separated by white space.
        target: path of the text in the other language, in the same form.

    Returns:
        A pair of lists of tokens for each line; an empty line gives an empty list.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is not UTF-8, or the numbers of lines differ.

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
