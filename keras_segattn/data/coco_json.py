"""Lists of entries with ids, the form that all of COCO's JSON files share."""

import json
import numbers
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from keras_segattn.arguments import check_choice

Read = TypeVar("Read")
# Kind of an entry → the list of the file that holds the entries of this kind.
SECTIONS = {"image": "images", "category": "categories", "annotation": "annotations"}
# Greatest coordinate, in pixels. pycocotools walks along the whole outline of a polygon, and its integers overflow at
# about 400 times this length.
FARTHEST = 1_000_000
# Greatest size, and greatest label, which examples hold as int32.
LARGEST = 2**31 - 1


class BrokenEntryError(ValueError):
    """An entry of an annotation file, or a part of one, that cannot be read.

    Args:
        expected: description of what was expected, without values of this entry: broken entries are counted by it.
        found: value that was found.
    """

    def __init__(self, expected: str, found: Any) -> None:
        super().__init__(f"expected {expected}, found {found!r:.200}")
        self.expected, self.found = expected, found


class Tally:
    """Entries of a file, counted by what was noticed about them, for one warning.

    Args:
        start: beginning of the warning.
    """

    def __init__(self, start: str) -> None:
        self.start = start
        self.found: dict[str, list[str]] = {}

    def add(self, notice: str, entry: str) -> None:
        """Count an entry."""
        self.found.setdefault(notice, []).append(entry)

    def warn(self) -> None:
        """Warn with the number of entries for each notice and the first of them, if there are any."""
        if self.found:
            parts = (f"{len(entries)} × {notice} (first: {entries[0]})" for notice, entries in self.found.items())
            # The warning is about the call of the reader, which calls this function.
            warnings.warn(f"{self.start}: {'; '.join(parts)}", stacklevel=3)


class BrokenEntries(Tally):
    """The broken entries of a file: the first one is an error, or all are skipped and counted for one warning.

    Args:
        path: file that holds the entries.
        skip: whether broken entries are skipped.

    Raises:
        ValueError: if `skip` is not a bool.
    """

    def __init__(self, path: Path, skip: bool) -> None:
        check_choice("skip_broken", skip, (True, False))
        super().__init__(f"{path}: skipped broken entries")
        self.path, self.skip = path, skip

    def take(self, entry: str, error: BrokenEntryError) -> None:
        """Count a broken entry.

        Raises:
            ValueError: if broken entries are not skipped; the message names the file, the entry and the reason.
        """
        if not self.skip:
            raise ValueError(f"{self.path}: {entry}: {error}; skip_broken=True skips broken entries") from error
        self.add(f"expected {error.expected}", entry)


def read_json(path: Path, what: str) -> Any:
    """Read the content of a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises:
        FileNotFoundError: if the file is missing; the message says what was expected.
        ValueError: if the file is no JSON.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected {what}, found nothing")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # neither JSON nor Unicode, or nested too deeply
        raise ValueError(f"{path}: not a JSON file: {error}") from error


def by_id(content: Any, kind: str, read: Callable[[dict[str, Any]], Read], broken: BrokenEntries) -> dict[int, Read]:
    """Read the entries of one kind.

    Args:
        content: content of the file.
        kind: `"image"`, `"category"` or `"annotation"`.
        read: function from an entry to what is kept of it; it raises `BrokenEntryError` if the entry is broken.
        broken: broken entries of the file, to which those found here are added.

    Returns:
        Dict from id to what was read, in the order of the file.

    Raises:
        ValueError: if the file has no list of such entries, or an entry is broken and `broken` does not skip it.
    """
    entries = content.get(SECTIONS[kind]) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ValueError(f"{broken.path}: expected a COCO file with a list {SECTIONS[kind]!r}")
    found: dict[int, Read] = {}
    for place, entry in enumerate(entries):
        name = f"{SECTIONS[kind]}[{place}]"
        try:
            identity = field(entry, "id", whole_number)
            name = f"{kind} {identity}"
            if identity in found:
                raise BrokenEntryError("an id that occurs once", identity)
            found[identity] = read(entry)
        except BrokenEntryError as error:
            broken.take(name, error)
    return found


def field(entry: Any, name: str, read: Callable[[Any], Read]) -> Read:
    """Read a field of an entry; a missing field is read as `None`.

    Raises:
        BrokenEntryError: if the entry has no fields, or `read` raises it; the message names the field.
    """
    if not isinstance(entry, dict):
        raise BrokenEntryError("an object with fields", entry)
    try:
        return read(entry.get(name))
    except BrokenEntryError as error:
        inner, _, expected = error.expected.rpartition(" to be ")  # of a field inside this one
        raise BrokenEntryError(f"{'.'.join(filter(None, (name, inner)))} to be {expected}", error.found) from error


def whole_number(value: Any) -> int:
    """Return a whole number, which tools write as `1`, `1.0`, `"1"` or `"1.0"`.

    Raises:
        BrokenEntryError: if it is something else, such as `1.5`, `"01"` or `true`.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"(0|-?[1-9][0-9]{0,17})(\.0)?", value):
        return int(value.removesuffix(".0"))
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise BrokenEntryError("a whole number", value)
    return int(value)


def positive_number(value: Any) -> int:
    """Return a whole number of at least 1 that fits into 32 bits.

    Raises:
        BrokenEntryError: if it is something else.
    """
    number = whole_number(value)
    if not 1 <= number <= LARGEST:
        raise BrokenEntryError(f"a whole number in 1..{LARGEST}", value)
    return number


def string(value: Any) -> str:
    """Return a text that is not empty.

    Raises:
        BrokenEntryError: if it is something else.
    """
    if not isinstance(value, str) or not value:
        raise BrokenEntryError("a text", value)
    return value


def flag(value: Any) -> bool:
    """Return a flag, which tools write as `0`, `false`, `0.0`, `"0"` or `"False"`; it is false if it is missing.

    Raises:
        BrokenEntryError: if it is something else.
    """
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    try:
        number = whole_number(value)
    except BrokenEntryError:
        number = -1
    if number not in (0, 1):
        raise BrokenEntryError("0 or 1", value)
    return number == 1


def coordinates(value: Any) -> list[float]:
    """Return a list of coordinates in pixels, finite numbers up to 1,000,000.

    Raises:
        BrokenEntryError: if it is something else.
    """
    if not isinstance(value, list) or not {int, float}.issuperset(map(type, value)):
        raise BrokenEntryError("a list of numbers", value)
    if not all(-FARTHEST <= number <= FARTHEST for number in value):
        raise BrokenEntryError(f"a list of finite numbers up to {FARTHEST:,}", value)
    return value
