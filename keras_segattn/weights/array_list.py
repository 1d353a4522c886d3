"""Lists of NumPy arrays without names, one `.npy` file each, as joblib leaves them beside its index `PREFIX`."""

import re
from pathlib import Path

import numpy as np

from keras_segattn.weights.restricted import corrupt_as
from keras_segattn.weights.weight_file import WeightFile, unreadable

FORMAT = "list of NumPy arrays"


def is_array_list(path: Path) -> bool:
    """Whether the path is the prefix of such a list, `PREFIX_01.npy` and so on; the index itself is not needed."""
    return bool(path.name) and path.with_name(f"{path.name}_01.npy").is_file()


def read(path: Path) -> WeightFile:
    """Read the arrays in the order of their numbers; nothing is unpickled.

    Args:
        path: `PREFIX`.

    Returns:
        Tensors named `"01.array"`, `"02.array"`, …, to which only a model's card in the registry can give names.

    Raises:
        WeightsError: if a number is missing, or a file is corrupt or holds objects.
    """
    pattern = re.compile(re.escape(path.name) + r"_(\d+)\.npy")
    found = ((pattern.fullmatch(file.name), file) for file in path.parent.iterdir())
    numbered = {int(name[1]): file for name, file in found if name}
    if sorted(numbered) != list(range(1, len(numbered) + 1)):
        raise unreadable(path, f"a {FORMAT} numbered from 1", f"numbers {sorted(numbered)}")
    tensors = {}
    for number, file in sorted(numbered.items()):
        with corrupt_as(file, "a NumPy array"):
            # Mapped first, as a header may announce more numbers than the file has, and so ask for too much memory.
            tensors[f"{number:02}.array"] = np.array(np.load(file, mmap_mode="r", allow_pickle=False))
    return WeightFile(path, FORMAT, "torch", tensors)
