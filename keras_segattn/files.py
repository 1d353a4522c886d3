"""Files appear whole or not at all."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary sibling to write, which takes the place of `path` when the block ends without an error.

    Args:
        path: the file to write; an old one stays as it is until the new one is whole.

    Yields:
        Path in the same folder, with the same suffix (libraries look at it).

    Raises:
        FileNotFoundError: if the folder does not exist.
        OSError: if it cannot be written to.

    Example:
        >>> with replaced("scores.json") as temporary:
        ...     temporary.write_text("{}")
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: expected a folder to write into, {path.parent} is none")
    # Random, not the process number: containers give the same to every run, threads share one.
    temporary = path.with_name(f".partial.{secrets.token_hex(4)}.{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_for_writing(folder: Path) -> Iterator[None]:
    """Make a folder and its parents; if the block fails, those that were made and are still empty vanish again.

    Raises:
        OSError: if the folder cannot be made.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for one in missing:
            with contextlib.suppress(OSError):  # not empty: somebody else writes there
                one.rmdir()
        raise
