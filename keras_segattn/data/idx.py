"""Arrays of bytes from IDX files, the format of MNIST and its relatives."""

import gzip
import math
import zlib
from os import PathLike
from pathlib import Path

import numpy as np


def read_idx(path: str | PathLike[str]) -> np.ndarray:
    """Read an array of bytes from an IDX file, the format of MNIST and its relatives.

    Args:
        path: path of the file, which is gzipped if its name ends in `.gz`.

    Returns:
        uint8 array of the shape in the file's header.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, no IDX file, or holds other numbers than unsigned bytes.

    Example:
        >>> read_idx("train-images-idx3-ubyte.gz").shape
        (60000, 28, 28)
    """
    return parse_idx(read_content(path), str(path))


def read_content(path: str | PathLike[str]) -> bytes:
    """Read the bytes of a file, and unpack them if its name ends in `.gz`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file cannot be unpacked.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected an IDX file, found {'a folder' if path.is_dir() else 'nothing'}")
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: truncated or corrupt ({error})") from error


def parse_idx(content: bytes, name: str) -> np.ndarray:
    """Return the array in the bytes of an IDX file.

    Args:
        content: content of the file, unpacked.
        name: name of the file, for messages.

    Returns:
        uint8 array of the shape in the header; it shares the memory of `content` and is read-only.

    Raises:
        ValueError: if the bytes are truncated, no IDX file, or hold other numbers than unsigned bytes.
    """
    # Header: two zeros, the type (8: unsigned byte), the rank, then every dimension as four bytes, big-endian.
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError(f"{name}: expected an IDX file of unsigned bytes (00 00 08), found {content[:3].hex(' ')}")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise ValueError(f"{name}: truncated, expected a header of {start} bytes, found {len(content)}")
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    found = len(content) - start
    if found != math.prod(shape):
        truncated = "truncated, " if found < math.prod(shape) else ""
        raise ValueError(f"{name}: {truncated}expected {shape} bytes after the header, found {found}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
