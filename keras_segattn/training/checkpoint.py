"""The state of a training in one file, written whole or not at all."""

import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from keras_segattn.files import replaced

FORMAT = 1
# Changed settings that an error names.
SHOWN = 3
# The setting that may change if nothing depends on it: more epochs, or fewer, at a constant learning rate.
EPOCHS = "epochs"


class CheckpointError(ValueError):
    """A checkpoint is damaged, or belongs to another model or other settings."""


class Stateful(Protocol):
    """An optimizer, or what holds several."""

    @property
    def variables(self) -> Any:
        """All state, in an order that is the same in every process."""


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Args:
        epoch: number of finished epochs.
        step: finished steps of the epoch that is under way.
        history: one mapping of logged values for every finished epoch.
        best: best value of the monitored metric so far; `None` before the first.
        settings: what must stay the same for the training to go on, as plain JSON values.
    """

    epoch: int = 0
    step: int = 0
    history: tuple[dict[str, float], ...] = ()
    best: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(path: Path, model: keras.Model, optimizer: Stateful, progress: Progress) -> None:
    """Write the whole state: weights, optimizer, random seeds and progress.

    Args:
        path: the file; a NumPy `.npz` archive without pickled objects, each array with a checksum.
        model: its `variables` include the seeds of dropout layers.
        optimizer: built optimizer, or several behind one list of variables.
        progress: how far the training has come.
    """
    variables = named_variables(model, optimizer)
    header = asdict(progress) | {"format": FORMAT, "variables": signature(variables)}
    arrays = {f"{i:05d}": keras.ops.convert_to_numpy(variable) for i, (_, variable) in enumerate(variables)}
    with replaced(path) as temporary:
        np.savez(temporary, header=np.array(json.dumps(header)), **arrays)


def load_checkpoint(path: Path, model: keras.Model, optimizer: Stateful, settings: dict[str, Any]) -> Progress:
    """Restore the state that `save_checkpoint` wrote; nothing is changed unless the whole file is right.

    Args:
        path: the file.
        model: model of the same layers and shapes.
        optimizer: built optimizer of the same kind.
        settings: what must be as it was when the file was written.

    Returns:
        How far that training had come.

    Raises:
        CheckpointError: if the file is truncated, corrupt, of another model or optimizer, or was written with other
            settings.
    """
    variables = named_variables(model, optimizer)
    header, arrays = read_archive(path)
    before, now = leaves(header["settings"]), leaves(settings)
    planned, epochs = before.pop(EPOCHS, None), now.pop(EPOCHS, None)
    # What the user gave by name first, then the parts of optimizers and augmentations.
    names = sorted({*before, *now}, key=lambda name: (name.count("."), name))
    changed = [
        f"{name}: {before.get(name)!r} in the file, {now.get(name)!r} now"
        for name in names
        if before.get(name) != now.get(name)
    ]
    if changed and planned != epochs and all("learning_rate" in change.partition(":")[0] for change in changed):
        raise CheckpointError(
            f"epochs: {planned} in {path}, {epochs} now, and its learning rate falls over all epochs: train "
            f"with epochs={planned}, in another run_dir, or from the start (resume=False, --restart)"
        )
    if changed:
        more = [f"{len(changed) - SHOWN} more"] if len(changed) > SHOWN else []
        raise CheckpointError(
            f"{path} was written with other settings ({'; '.join(changed[:SHOWN] + more)}): train with those, in "
            "another run_dir, or from the start (resume=False, --restart)"
        )
    found, expected = header["variables"], signature(variables)
    if found != expected:
        differences = [
            f"{have or 'nothing'} in the file, {want or 'nothing'} here"
            for have, want in zip(pad(found, len(expected)), pad(expected, len(found)), strict=True)
            if have != want
        ]
        raise CheckpointError(
            f"{path} belongs to another model or optimizer: {len(differences)} of {len(expected)} variables differ, "
            f"first {differences[0]}"
        )
    for (_, variable), array in zip(variables, arrays, strict=True):
        variable.assign(array)
    return Progress(header["epoch"], header["step"], tuple(header["history"]), header["best"], settings)


def read_archive(path: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Header and arrays of a checkpoint.

    Raises:
        CheckpointError: if the file is truncated or corrupt, or no checkpoint of this format.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            header = json.loads(str(archive["header"]))
            if header["format"] != FORMAT:
                raise CheckpointError(f"{path} has checkpoint format {header['format']}, expected {FORMAT}")
            return header, [archive[f"{i:05d}"] for i in range(len(header["variables"]))]
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise CheckpointError(
            f"{path} is truncated, corrupt or no checkpoint ({error}); delete it, or train from the "
            "start (resume=False, --restart)"
        ) from error


def named_variables(model: keras.Model, optimizer: Stateful) -> list[tuple[str, keras.Variable]]:
    """All state of a training with names that are the same in every process."""
    # Keras numbers seed generators and optimizers through the process: their numbers say nothing about the model.
    state = [
        (variable.name if variable.name == "seed_generator_state" else variable.path, variable)
        for variable in model.variables
    ]
    return state + [(f"optimizer/{variable.name}", variable) for variable in optimizer.variables]


def signature(variables: Sequence[tuple[str, keras.Variable]]) -> list[str]:
    """Name, shape and dtype of every variable."""
    return [f"{name} {tuple(variable.shape)} {variable.dtype}" for name, variable in variables]


def leaves(settings: Any, path: str = "") -> dict[str, Any]:
    """The values of nested settings by the dotted path of their names."""
    if not isinstance(settings, dict):
        return {path: settings}
    nested = (leaves(value, f"{path}.{name}" if path else name) for name, value in settings.items())
    return {name: value for part in nested for name, value in part.items()}


def pad(names: list[str], length: int) -> list[str]:
    """`names` with empty ones behind, up to `length`."""
    return names + [""] * (length - len(names))
