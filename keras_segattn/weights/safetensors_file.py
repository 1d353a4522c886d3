"""`.safetensors` files: foreign ones are in PyTorch's layout, our own, marked in the metadata, in Keras's."""

from pathlib import Path

import safetensors

from keras_segattn.weights.restricted import corrupt_as
from keras_segattn.weights.weight_file import Layout, WeightFile, unreadable

FORMAT = "safetensors file"
LAYOUT_KEY = "keras_segattn.layout"
# Types that NumPy has, and bfloat16. Tensors of others, such as 8-bit floats, count as ignored.
DTYPES = frozenset({"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "BF16", "F32", "F64"})


def read(path: Path) -> WeightFile:
    """Read a safetensors file.

    Args:
        path: path of the file; its layout is PyTorch's unless its metadata name one.

    Raises:
        WeightsError: if the file is corrupt or its metadata name an unknown layout.
    """
    try:
        file = safetensors.safe_open(path, framework="numpy")
    except safetensors.SafetensorError as error:
        raise unreadable(path, f"an intact {FORMAT}", error) from error
    with file, corrupt_as(path, f"a {FORMAT}"):
        named = (file.metadata() or {}).get(LAYOUT_KEY, "torch")
        if named not in ("keras", "torch"):
            raise unreadable(path, f"layout 'keras' or 'torch' under {LAYOUT_KEY!r}", repr(named))
        layout: Layout = "keras" if named == "keras" else "torch"
        names = list(file.keys())
        known = [name for name in names if file.get_slice(name).get_dtype() in DTYPES]
        tensors = {name: file.get_tensor(name) for name in known}
    return WeightFile(path, FORMAT, layout, tensors, tuple(name for name in names if name not in tensors))
