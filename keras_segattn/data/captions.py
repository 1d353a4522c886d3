"""Readers of pictures with captions: COCO's JSON, the token files of Flickr8k and Flickr30k, Karpathy's splits."""

import re
import unicodedata
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from keras_segattn.data.coco_json import BrokenEntries, BrokenEntryError, by_id, field, read_json, string, whole_number
from keras_segattn.data.text import normalized, read_lines, without_blank_end

# A word in the shape of a text, see `_shape`: it begins with a letter, and goes on with letters, marks, joiners that a
# letter or a mark follows, and apostrophes that a letter follows. Digits and `_` count as letters.
WORD = re.compile(r"\w(?:[\w\u0300]|\u200d(?=[\w\u0300])|'(?=\w))*")
# Signs that stand between the letters of a word, as the apostrophe does: the right quotation mark and the apostrophe of
# full width, Hebrew's geresh and gershayim, Catalan's middle dot, and the hyphenation point (MidLetter and MidNumLet in
# Unicode's annex 29, without those that also end sentences).
APOSTROPHES = frozenset("'\u2019\uff07\u05f3\u05f4\u00b7\u2027")
# Invisible characters (Unicode's category Cf) that are part of what is read: both joiners and the space of no width.
SEEN = frozenset("\u200b\u200c\u200d")


class Captioned(NamedTuple):
    """A picture's file and its captions, lists of tokens."""

    image: Path
    captions: list[list[str]]


def tokenize_caption(text: str) -> list[str]:
    """Split a caption into words in lower case and in NFC, without punctuation.

    Combining marks, such as vowel signs, stay with their letters, and an apostrophe within a word stays. Soft hyphens,
    marks of direction and other invisible characters are left out. Scripts that are written without spaces are not
    split into words.

    Example:
        >>> tokenize_caption("A man's dog, running.")
        ['a', "man's", 'dog', 'running']
    """
    # Without what is invisible first, since it may stand between letters that compose.
    text = normalized("".join(filter(_visible, text)), lower=True)
    return [text[word.start() : word.end()] for word in WORD.finditer("".join(map(_shape, text)))]


def coco_captions(
    annotations: str | PathLike[str], images: str | PathLike[str], *, skip_broken: bool = False
) -> list[Captioned]:
    """Read captions of COCO (Chen et al. 2015, arXiv 1504.00325), from `captions_train2014.json` and the like.

    Args:
        annotations: JSON file of the captions.
        images: folder of the pictures, which are not opened.
        skip_broken: whether broken entries are left out and counted in one warning, rather than an error.

    Returns:
        The pictures that have captions, in the order of the file.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file is no JSON of this form, or a caption has no words or names an unknown picture; the
            message names the file and the annotation.

    Example:
        >>> train = coco_captions("annotations/captions_train2014.json", "train2014")
    """
    path = Path(annotations)
    broken = BrokenEntries(path, skip_broken)
    content = read_json(path, "a COCO captions file")
    pictures = by_id(content, "image", lambda entry: field(entry, "file_name", string), broken)

    def read(entry: dict[str, Any]) -> tuple[int, list[str]]:
        picture = field(entry, "image_id", whole_number)
        if picture not in pictures:
            raise BrokenEntryError("a known image_id", picture)
        return picture, field(entry, "caption", _words)

    found: dict[int, list[list[str]]] = {key: [] for key in pictures}
    for picture, words in by_id(content, "annotation", read, broken).values():
        found[picture].append(words)
    broken.warn()
    return [Captioned(Path(images) / pictures[key], said) for key, said in found.items() if said]


def flickr_captions(
    tokens: str | PathLike[str], images: str | PathLike[str], *, skip_broken: bool = False
) -> list[Captioned]:
    r"""Read captions of `Flickr8k.token.txt` or Flickr30k's `results_20130124.token`: `NAME.jpg#0<TAB>caption`.

    Args:
        tokens: text file of the captions.
        images: folder of the pictures, which are not opened.
        skip_broken: whether broken lines are left out and counted in one warning, rather than an error.

    Returns:
        The pictures, in the order of the file.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file is not UTF-8, or a line has another form; the message names the line. Only `\n` and
            `\r\n` end a line.

    Example:
        >>> everything = flickr_captions("Flickr8k.token.txt", "Flicker8k_Dataset")
    """
    broken = BrokenEntries(Path(tokens), skip_broken)
    found: dict[str, list[list[str]]] = {}
    for number, line in enumerate(without_blank_end(read_lines(tokens, "a Flickr token file")), 1):
        try:
            parts = re.fullmatch(r"([^\t/\\]+)#\d+\t(.*)", line)
            if parts is None:
                raise BrokenEntryError("NAME#NUMBER<TAB>caption", line)
            found.setdefault(parts[1], []).append(_words(parts[2]))
        except BrokenEntryError as error:
            broken.take(f"line {number}", error)
    broken.warn()
    return [Captioned(Path(images) / name, captions) for name, captions in found.items()]


def karpathy_captions(
    dataset: str | PathLike[str], images: str | PathLike[str], split: str, *, skip_broken: bool = False
) -> list[Captioned]:
    """Read one split of a caption set in the JSON of Karpathy & Fei-Fei (2015).

    The file is `dataset_coco.json`, `dataset_flickr8k.json` or `dataset_flickr30k.json`.

    Args:
        dataset: JSON file of captions, which are tokenised already.
        images: folder of the pictures, or of the folders that the file names; pictures are not opened.
        split: name of the split, such as `"train"`, `"restval"`, `"val"` or `"test"`.
        skip_broken: whether pictures whose entry is broken are left out and counted in one warning, rather than an
            error.

    Returns:
        The split's pictures, in the order of the file.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file is no JSON of this form, an entry is broken, or there is no picture of the split; the
            message names the file and the entry.

    Example:
        >>> test = karpathy_captions("dataset_flickr8k.json", "Flicker8k_Dataset", "test")
    """
    path = Path(dataset)
    broken = BrokenEntries(path, skip_broken)
    content = read_json(path, "one of Karpathy's caption files")
    entries = content.get("images") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ValueError(f"{path}: expected one of Karpathy's caption files with a list 'images'")
    splits: dict[str, list[Captioned]] = {}
    for place, entry in enumerate(entries):
        try:
            image = field(entry, "filename", string)
            if "filepath" in entry:
                image = f"{field(entry, 'filepath', string)}/{image}"
            captioned = Captioned(Path(images) / image, field(entry, "sentences", _sentences))
            splits.setdefault(field(entry, "split", string), []).append(captioned)
        except BrokenEntryError as error:
            broken.take(f"images[{place}]", error)
    broken.warn()
    if split not in splits:
        raise ValueError(f"{path}: expected split to be one of {sorted(splits)}, received {split!r}")
    return splits[split]


def _visible(character: str) -> bool:
    """Return whether a character is part of what is read, unlike soft hyphens, marks of direction and the like."""
    return character in SEEN or unicodedata.category(character) != "Cf"


def _shape(character: str) -> str:
    """Return U+0300 for any combining mark, U+200D for both joiners, ' for what stands in a word like an apostrophe."""
    if unicodedata.category(character).startswith("M"):
        return "\u0300"
    if character in APOSTROPHES:
        return "'"
    return "\u200d" if character == "\u200c" else character


def _words(caption: Any) -> list[str]:
    words = tokenize_caption(string(caption))
    if not words:
        raise BrokenEntryError("a caption with words", caption)
    return words


def _sentences(value: Any) -> list[list[str]]:
    if not isinstance(value, list):
        raise BrokenEntryError("a list of sentences", value)
    return [field(sentence, "tokens", _tokens) for sentence in value]


def _tokens(value: Any) -> list[str]:
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(one, str) and one.split() == [one] for one in value)
    ):
        raise BrokenEntryError("a list of words", value)
    return [normalized(token) for token in value]
