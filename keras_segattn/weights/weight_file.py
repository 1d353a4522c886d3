"""The common form into which every reader turns its file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keras_segattn.weights.report import WeightsError

Layout = Literal["keras", "torch", "caffe"]


@dataclass(frozen=True)
class WeightFile:
    """The tensors of a weight file, under their own names and in their own layout.

    Args:
        path: path of the file.
        format: format of the file, in words.
        layout: `"keras"`: kernels (height, width, in, out) and (in, out), flattened as height, width, channels;
            `"torch"` and `"caffe"`: kernels (out, in, height, width) and (out, in), flattened as channels,
            height, width. Caffe's old files write (out, in) as (1, 1, out, in).
        tensors: `"layer.leaf"` → array of any numeric dtype; the leaf follows the last dot.
        ignored: names of entries that are no weights.
        place: place of the tensors in the file, such as `"'state_dict'"`; empty for the whole file.
        others: further sets of tensors in the file, which may fit a model better.
        layers: names of all layers of the file's network in order, those without weights included, if the file lists
            them.
        settings: layer name → settings of the layer, if the file describes the network.
        background: whether classifiers have an additional first class, "background", as TF-slim's have.
    """

    path: Path
    format: str
    layout: Layout
    tensors: Mapping[str, np.ndarray]
    ignored: tuple[str, ...] = ()
    place: str = ""
    others: tuple["WeightFile", ...] = ()
    layers: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    background: bool = False

    def __post_init__(self) -> None:
        """Reject a file without weights."""
        if not self.tensors:
            raise unreadable(self.path, f"a {self.format} that holds tensors", "no tensor at all")


def unreadable(path: Path, expected: str, found: object) -> WeightsError:
    """Make the error of every reader, which says which file it is, what was expected there and what was found."""
    return WeightsError(f"{path}: expected {expected}, found {found}")
