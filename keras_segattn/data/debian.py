"""A reader of files in Debian packages, which installs nothing and runs nothing."""

import lzma
import tarfile
from collections.abc import Callable, Iterator
from io import BytesIO
from os import PathLike
from pathlib import Path


def files_of(source: str | PathLike[str], wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of some files of a Debian package, or of a folder.

    Args:
        source: path of a `.deb` file, or of a folder such as one unpacked by `dpkg-deb -x`.
        wanted: function from a file's relative name, with `/`, to whether the file is read.

    Yields:
        Name and content; files of a folder are in the order of their names, those of a package in the package's order.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if it is no Debian package, damaged, or compressed with something else than xz or gzip.

    Example:
        >>> photos = dict(files_of("mate-backgrounds_1.26.0-1_all.deb", lambda name: name.endswith(".jpg")))
    """
    source = Path(source)
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            name = path.relative_to(source).as_posix()
            if wanted(name) and path.is_file():
                yield name, path.read_bytes()
        return
    if not source.is_file():
        raise FileNotFoundError(f"{source}: expected a Debian package or a folder, found nothing")
    try:
        with tarfile.open(fileobj=BytesIO(_data_member(source))) as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if wanted(name) and member.isfile():
                    file = archive.extractfile(member)
                    assert file is not None  # noqa: S101 - it is a file
                    yield name, file.read()
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
        raise ValueError(f"{source}: damaged, or not compressed with xz or gzip ({error})") from error


def _data_member(path: Path) -> bytes:
    """Return the archive `data.tar.*` in a package, which is an `ar` file: 60 bytes of header before every member."""
    content = path.read_bytes()
    if not content.startswith(b"!<arch>\n"):
        raise ValueError(f"{path}: expected a Debian package, found {content[:8]!r}")
    start = 8
    while start + 60 <= len(content):
        name, size = content[start : start + 16].decode("latin-1"), content[start + 48 : start + 58]
        if not size.strip().isdigit():
            break
        end = start + 60 + int(size)
        if name.startswith("data.tar") and end <= len(content):
            return content[start + 60 : end]
        start = end + end % 2  # members begin at even offsets
    raise ValueError(f"{path}: truncated, no data.tar in it")
