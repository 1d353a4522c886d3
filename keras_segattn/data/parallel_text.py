"""Sentences and their translations, line by line."""

from os import PathLike

from keras_segattn.data.text import normalized, read_lines

Pair = tuple[list[str], list[str]]


def parallel_text(source: str | PathLike[str], target: str | PathLike[str]) -> list[Pair]:
    r"""Read pairs of tokenised sentences from two files with equal numbers of lines.

    Args:
        source: path of a UTF-8 text, plain or `.gz`, with one sentence per line and tokens separated by white space.
            Tokens are in NFC. Only `\n` and `\r\n` end a line.
        target: path of the text in the other language, in the same form.

    Returns:
        A pair of lists of tokens for each line; an empty line gives an empty list. Lines at the end that are blank in
        both files are left out.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is not UTF-8 or no intact gzip file, or the numbers of lines differ; the message names
            the file and, if there is one, the line.

    Example:
        >>> train = parallel_text("multi30k/train.en", "multi30k/train.de")
    """
    sides = [[normalized(line).split() for line in read_lines(path, "a text file")] for path in (source, target)]
    if len(sides[0]) != len(sides[1]):
        raise ValueError(f"expected as many lines, found {len(sides[0])} in {source} and {len(sides[1])} in {target}")
    pairs = list(zip(*sides, strict=True))
    while pairs and not any(pairs[-1]):
        pairs.pop()
    return pairs
