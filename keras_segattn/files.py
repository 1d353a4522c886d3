"""Writing files so that they appear whole or not at all."""

import contextlib
import fnmatch
import glob
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl

# Prefix that turns the name of a temporary file into the name of its lock file.
LOCK = ".lock"
# Age in seconds from which a temporary file counts as left behind, if files cannot be locked.
DAY = 24 * 60 * 60


@contextlib.contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Provide a temporary file to write, which replaces `path` when the block ends without an error.

    Args:
        path: file to write; an old file stays as it is until the new one is complete.

    Yields:
        Path in the same folder, with the same suffix (libraries look at it).

    Raises:
        FileNotFoundError: if the folder does not exist.
        OSError: if the folder cannot be written to.

    Example:
        >>> with replaced("scores.json") as temporary:
        ...     temporary.write_text("{}")
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: expected a folder to write into, {path.parent} is none")
    with temporary_path(path.parent, f".{path.name}") as temporary:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


@contextlib.contextmanager
def temporary_path(folder: Path, ending: str = "") -> Iterator[Path]:
    """Provide a free name in `folder` for a new file or folder, which is removed if the block leaves it there.

    Files that killed processes left under such names are removed, too. A living process is recognised by the lock that
    it holds on a second file beside its temporary file.

    Args:
        folder: existing folder.
        ending: end of the name, after `.partial.` and eight hexadecimal digits.

    Yields:
        Path in `folder` at which there is nothing.

    Raises:
        OSError: if `folder` cannot be written to.

    Example:
        >>> with temporary_path(Path("savedmodels")) as temporary:
        ...     model.export(temporary)
        ...     temporary.rename("savedmodels/1")
    """
    remove_stale(folder, f".partial.{8 * '?'}{glob.escape(ending)}")
    while True:
        # Random, not the process number, which containers repeat in every run and threads share.
        temporary = folder / f".partial.{secrets.token_hex(4)}{ending}"
        lock = _lock_of(temporary)
        with contextlib.ExitStack() as stack:
            stack.callback(lock.unlink, missing_ok=True)
            file = stack.enter_context(lock.open("xb"))
            # Another process may take the file for a stale one and remove it before it is locked.
            if _acquire(file) is False or not lock.exists():
                continue
            stack.callback(_remove, temporary)
            yield temporary
            return


class FolderInUseError(RuntimeError):
    """Another process writes into a folder that only one may write into."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for one writer; the end of the process lets it go. It has no effect where files cannot be locked.

    Args:
        folder: existing folder; it holds a file `.lock` with the number of the process meanwhile.

    Raises:
        FolderInUseError: if somebody else holds it, this process included.
        OSError: if the folder cannot be written to.

    Example:
        >>> with locked(Path("run")):
        ...     train()
    """
    path = folder / LOCK
    while True:
        with path.open("a+b") as file:
            if _acquire(file) is False:
                file.seek(0)
                holder = file.read().decode() or "unknown"
                raise FolderInUseError(
                    f"{folder} is in use by process {holder}: wait until it has ended, or give another folder"
                )
            # The holder before may have removed the file between its opening and its locking.
            if not path.exists() or os.fstat(file.fileno()).st_ino != path.stat().st_ino:
                continue
            file.truncate(0)
            file.write(str(os.getpid()).encode())
            file.flush()
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def remove_stale(folder: Path, pattern: str) -> None:
    """Remove the temporary files and folders of `temporary_path` that no living process writes.

    If files cannot be locked, these are the ones that were begun more than a day ago.

    Args:
        folder: existing folder.
        pattern: shell pattern of the names, such as `".partial.*"`.
    """
    with os.scandir(folder) as entries:
        names = {entry.name.removeprefix(LOCK) for entry in entries}
    for name in fnmatch.filter(names, pattern):
        with contextlib.suppress(OSError):  # another user's files stay
            _remove_if_stale(folder / name)


def _remove_if_stale(temporary: Path) -> None:
    lock = _lock_of(temporary)
    if not lock.exists():
        _remove(temporary)
        return
    old = time.time() - lock.stat().st_mtime > DAY
    with lock.open("rb+") as file:
        acquired = _acquire(file)
        if acquired is None:
            file.close()  # Windows removes no open file
        if acquired or (acquired is None and old):
            _remove(temporary)
            lock.unlink(missing_ok=True)


def _lock_of(temporary: Path) -> Path:
    return temporary.with_name(LOCK + temporary.name)


def _acquire(file: IO[bytes]) -> bool | None:
    """Lock a file until it is closed; return whether that was possible, or `None` if files cannot be locked here."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        return None
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_for_writing(folder: Path) -> Iterator[None]:
    """Make a folder and its parents; if the block fails, remove those that were made and are still empty.

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
