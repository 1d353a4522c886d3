"""Lists of entries with ids, the form that all of COCO's JSON files share."""

import json
from pathlib import Path
from typing import Any


def read_json(path: Path, what: str) -> Any:
    """Read the content of a JSON file.

    Raises:
        FileNotFoundError: if the file is missing; the message says what was expected.
        ValueError: if the file is no JSON.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected {what}, found nothing")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # neither JSON nor UTF-8
        raise ValueError(f"{path}: not a JSON file: {error}") from error


def by_id(path: Path, content: Any, section: str, fields: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the entries of a section by their ids, and check that each has the fields.

    Raises:
        ValueError: if the section or an entry has another form; the message names it.
    """
    entries = content.get(section) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ValueError(f"{path}: expected a COCO file with a list {section!r}")
    found: dict[int, dict[str, Any]] = {}
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), int):
            raise ValueError(f"{path}: {section}[{place}] has no integer id")
        for field, kind in fields.items():
            if not isinstance(entry.get(field), kind):
                raise ValueError(
                    f"{path}: {section} {entry['id']}: missing or wrong {field}: {entry.get(field)!r:.100}"
                )
        if entry["id"] in found:
            raise ValueError(f"{path}: {section} has the id {entry['id']} twice")
        found[entry["id"]] = entry
    return found
