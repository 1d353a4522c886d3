"""Readers of pictures with captions: COCO's JSON, the token files of Flickr8k and Flickr30k, Karpathy's splits."""

import re
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from keras_segattn.data.coco_json import by_id, read_json


class Captioned(NamedTuple):
    """A picture's file and its captions, lists of tokens."""

    image: Path
    captions: list[list[str]]


def tokenize_caption(text: str) -> list[str]:
    """Split a caption into words in lower case, without punctuation; an apostrophe within a word stays.

    Example:
        >>> tokenize_caption("A man's dog, running.")
        ['a', "man's", 'dog', 'running']
    """
    return re.findall(r"\w+(?:['\u2019]\w+)*", text.lower())


def coco_captions(annotations: str | PathLike[str], images: str | PathLike[str]) -> list[Captioned]:
    """Read captions of COCO (Chen et al. 2015, arXiv 1504.00325), from `captions_train2014.json` and the like.

    Args:
        annotations: JSON file of the captions.
        images: folder of the pictures, which are not opened.

    Returns:
        The pictures that have captions, in the order of the file.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file is no JSON of this form, or a caption has no words or names an unknown picture.

    Example:
        >>> train = coco_captions("annotations/captions_train2014.json", "train2014")
    """
    path = Path(annotations)
    content = read_json(path, "a COCO captions file")
    pictures = by_id(path, content, "images", {"file_name": str})
    found: dict[int, list[list[str]]] = {key: [] for key in pictures}
    for key, entry in by_id(path, content, "annotations", {"image_id": int, "caption": str}).items():
        if entry["image_id"] not in found:
            raise ValueError(f"{path}: annotation {key} has the unknown image_id {entry['image_id']}")
        found[entry["image_id"]].append(_words(entry["caption"], f"{path}: annotation {key}"))
    return [Captioned(Path(images) / pictures[key]["file_name"], said) for key, said in found.items() if said]


def flickr_captions(tokens: str | PathLike[str], images: str | PathLike[str]) -> list[Captioned]:
    """Read captions of `Flickr8k.token.txt` or Flickr30k's `results_20130124.token`: `NAME.jpg#0<TAB>caption`.

    Args:
        tokens: text file of the captions.
        images: folder of the pictures, which are not opened.

    Returns:
        The pictures, in the order of the file.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file is not UTF-8, or a line has another form; the message names the line.

    Example:
        >>> everything = flickr_captions("Flickr8k.token.txt", "Flicker8k_Dataset")
    """
    path = Path(tokens)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a Flickr token file, found nothing")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8: {error}") from error
    found: dict[str, list[list[str]]] = {}
    for number, line in enumerate(lines, 1):
        parts = re.fullmatch(r"([^\t/\\]+)#\d+\t(.*)", line)
        if parts is None:
            raise ValueError(f"{path}, line {number}: expected NAME#NUMBER<TAB>caption, found {line!r:.100}")
        found.setdefault(parts[1], []).append(_words(parts[2], f"{path}, line {number}"))
    return [Captioned(Path(images) / name, captions) for name, captions in found.items()]


def karpathy_captions(dataset: str | PathLike[str], images: str | PathLike[str], split: str) -> list[Captioned]:
    """Read one split of a caption set in the JSON of Karpathy & Fei-Fei (2015).

    The file is `dataset_coco.json`, `dataset_flickr8k.json` or `dataset_flickr30k.json`.

    Args:
        dataset: JSON file of captions, which are tokenised already.
        images: folder of the pictures, or of the folders that the file names; pictures are not opened.
        split: name of the split, such as `"train"`, `"restval"`, `"val"` or `"test"`.

    Returns:
        The split's pictures, in the order of the file.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file is no JSON of this form, or has no picture of the split.

    Example:
        >>> test = karpathy_captions("dataset_flickr8k.json", "Flicker8k_Dataset", "test")
    """
    path = Path(dataset)
    content = read_json(path, "one of Karpathy's caption files")
    entries = content.get("images") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ValueError(f"{path}: expected one of Karpathy's caption files with a list 'images'")
    splits: dict[str, list[Captioned]] = {}
    for place, entry in enumerate(entries):
        try:
            image = Path(images) / entry.get("filepath", "") / entry["filename"]
            said = [[str(token) for token in sentence["tokens"]] for sentence in entry["sentences"]]
            splits.setdefault(entry["split"], []).append(Captioned(image, said))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path}: images[{place}]: expected filename, split and sentences with tokens, found {entry!r:.200}"
            ) from error
    if split not in splits:
        raise ValueError(f"{path}: expected split to be one of {sorted(splits)}, received {split!r}")
    return splits[split]


def _words(text: Any, name: str) -> list[str]:
    words = tokenize_caption(text)
    if not words:
        raise ValueError(f"{name}: expected a caption with words, found {text!r:.100}")
    return words
