"""Text in one Unicode form, and the lines of text files.

All text of the package is in Unicode's normal form C (NFC): the same sentence gives the same tokens, whether the letter
`é` is written as one character or as `e` and an accent.
"""

import gzip
import unicodedata
import zlib
from os import PathLike
from pathlib import Path


def normalized(text: str, *, lower: bool = False) -> str:
    r"""Return a text in Unicode's normal form C (NFC).

    Args:
        text: any text.
        lower: whether the text is turned to lower case, too.

    Example:
        >>> normalized("Cafe\u0301", lower=True)
        'café'
    """
    text = unicodedata.normalize("NFC", text)
    return unicodedata.normalize("NFC", text.lower()) if lower else text


def read_lines(path: str | PathLike[str], expected: str) -> list[str]:
    r"""Read the lines of a text file in UTF-8, gzipped if its name ends in `.gz`.

    Only `\n` and `\r\n` end a line; U+2028, form feeds and the like are part of it. A byte order mark is left out.

    Args:
        path: path of the file.
        expected: description of the file, for messages.

    Returns:
        Lines without their ends.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not UTF-8, holds the character U+0000, as UTF-16 does, or is no intact gzip file; the
            message names the file and the line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected {expected}, found {'a folder' if path.is_dir() else 'nothing'}")
    lines: list[str] = []
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                text = line.decode("utf-8" if lines else "utf-8-sig")
                if "\0" in text:
                    raise ValueError(f"{path}, line {len(lines) + 1}: expected UTF-8, found the character U+0000")
                lines.append(text.removesuffix("\n").removesuffix("\r"))
            if path.suffix == ".gz" and not path.stat().st_size:  # Python reads no bytes as a compressed empty text
                raise EOFError("found no bytes")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}, line {len(lines) + 1}: expected UTF-8: {error}") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}, line {len(lines) + 1}: expected an intact gzip file: {error}") from error
    return lines


def without_blank_end(lines: list[str]) -> list[str]:
    """Return lines without the blank ones at the end, which editors and `cat` append."""
    count = len(lines)
    while count and not lines[count - 1].strip():
        count -= 1
    return lines[:count]
