"""Compressed run lengths of masks, the code of `pycocotools.mask`, which trusts that they fill the mask."""

from collections.abc import Mapping
from typing import Any

import numpy as np

# Greatest number of characters of one number: 35 bits, of which pycocotools keeps 32.
LONGEST_NUMBER = 7


def decode_runs(code: str | bytes) -> np.ndarray:
    """Decode compressed run lengths.

    A character is 48 plus six bits: five of a number in two's complement, the least significant first, and a bit that
    is set if the number goes on. From the fourth number on, a number is the difference to the run before the last one.

    Args:
        code: compressed run lengths, in ASCII.

    Returns:
        int64 `(n,)`, lengths alternately outside and inside the mask. Neither their signs nor their sum are checked.

    Raises:
        ValueError: if the code has a wrong character, ends within a number, or has a number of more than 35 bits.

    Example:
        >>> decode_runs("l04l0")
        array([60,  4, 60])
    """
    content = code.encode("utf-8", "surrogatepass") if isinstance(code, str) else code
    digits = np.frombuffer(content, np.uint8).astype(np.int64) - 48
    if not digits.size or digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        raise ValueError(f"malformed compressed run lengths {code!r:.100}")
    last = np.flatnonzero(digits < 32)
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if lengths.max() > LONGEST_NUMBER:
        raise ValueError(f"compressed run lengths with a number of {lengths.max()} characters: {code!r:.100}")
    places = np.arange(digits.size) - np.repeat(first, lengths)
    runs = np.add.reduceat((digits & 31) << (5 * places), first)
    runs -= np.where(digits[last] & 16, 1 << (5 * lengths), 0)
    for start in (1, 2):
        runs[start::2] = np.cumsum(runs[start::2])
    return runs


def check_run_lengths(mask: Mapping[str, Any], size: tuple[int, int]) -> None:
    """Check the compressed run lengths of a mask in full.

    Args:
        mask: `{"size": (height, width), "counts": …}`.
        size: (height, width) that is expected.

    Raises:
        ValueError: if the mask is of another size, or its runs are malformed or do not fill it.
    """
    if not {"size", "counts"} <= mask.keys() or tuple(mask["size"]) != tuple(size):
        raise ValueError(f"expected masks of {size} (height, width), received {mask!r:.200}")
    if not isinstance(mask["counts"], str | bytes):
        raise ValueError(f"expected compressed run lengths, received {type(mask['counts']).__name__}")
    runs = decode_runs(mask["counts"])
    if runs.min() < 0 or runs.sum() != size[0] * size[1]:
        raise ValueError(f"expected run lengths that sum to {size[0]} × {size[1]}, received the sum {runs.sum()}")
