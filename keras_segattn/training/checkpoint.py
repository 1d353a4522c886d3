"""Checkpoints: the state of a training run in one file, which is written completely or not at all."""

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
# Number of changed settings that an error message names.
SHOWN = 3
# Name of the setting that may change between calls if no other setting depends on it: with a constant learning rate, a
# later call may ask for more or fewer epochs.
EPOCHS = "epochs"


class CheckpointError(ValueError):
    """A checkpoint is damaged, or belongs to another model or other settings."""


class Stateful(Protocol):
    """An optimizer, or an object that holds several optimizers."""

    @property
    def variables(self) -> Any:
        """Return all state variables, in an order that is the same in every process."""


@dataclass(frozen=True)
class Progress:
    """Progress of a training run.

    Args:
        epoch: number of finished epochs.
        step: number of finished steps of the epoch that is under way.
        history: one mapping of logged values for every finished epoch.
        best: best value of the monitored metric so far; `None` before the first.
        settings: plain JSON values that must not change between the parts of an interrupted training run.
    """

    epoch: int = 0
    step: int = 0
    history: tuple[dict[str, float], ...] = ()
    best: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(path: Path, model: keras.Model, optimizer: Stateful, progress: Progress) -> None:
    """Write the whole state of a training run: weights, optimizer, random seeds and progress.

    Args:
        path: path of the file, a NumPy `.npz` archive without pickled objects, with a checksum for each array.
        model: model whose `variables` include the random seeds of its dropout layers.
        optimizer: built optimizer, or an object that holds several.
        progress: progress of the training run.
    """
    variables = named_variables(model, optimizer)
    header = asdict(progress) | {"format": FORMAT, "variables": signature(variables)}
    arrays = {f"{i:05d}": keras.ops.convert_to_numpy(variable) for i, (_, variable) in enumerate(variables)}
    with replaced(path) as temporary:
        np.savez(temporary, header=np.array(json.dumps(header)), **arrays)


def load_checkpoint(path: Path, model: keras.Model, optimizer: Stateful, settings: dict[str, Any]) -> Progress:
    """Restore the state that `save_checkpoint` wrote; nothing is changed unless the whole file is valid.

    Args:
        path: path of the file.
        model: model with the same layers and shapes as the saved one.
        optimizer: built optimizer of the same kind.
        settings: settings of this call, which must equal those in the file; only `epochs` may differ.

    Returns:
        Progress of the training run when the file was written.

    Raises:
        CheckpointError: if the file is truncated or corrupt, belongs to another model or optimizer, or was written with
            other settings.
    """
    variables = named_variables(model, optimizer)
    header, arrays = read_archive(path)
    before, now = leaves(header["settings"]), leaves(settings)
    planned, epochs = before.pop(EPOCHS, None), now.pop(EPOCHS, None)
    # Settings that the user gave by name come first, then the parts of optimizers and augmentations.
    differing = {name for name in {*before, *now} if before.get(name) != now.get(name)}
    names = sorted(differing, key=lambda name: (name.count("."), name))
    changed = [f"{name}: {before.get(name)!r} in the file, {now.get(name)!r} now" for name in names]
    if planned != epochs and only_schedule(names):
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


def only_schedule(names: Sequence[str]) -> bool:
    """Return whether the settings are parts of learning-rate schedules, and among them numbers of steps."""
    schedule = all("learning_rate." in name for name in names)
    return schedule and any(name.endswith(("steps", "boundaries")) for name in names)


def read_archive(path: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Read the header and the arrays of a checkpoint.

    Raises:
        CheckpointError: if the file is truncated, corrupt, or not a checkpoint of this format.
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
    """Return all state variables of a training run, with names that are the same in every process."""
    # Keras numbers seed generators and optimizers as they are created in a process, so the numbers in their names do
    # not depend on the model alone.
    state = [
        (variable.name if variable.name == "seed_generator_state" else variable.path, variable)
        for variable in model.variables
    ]
    return state + [(f"optimizer/{variable.name}", variable) for variable in optimizer.variables]


def signature(variables: Sequence[tuple[str, keras.Variable]]) -> list[str]:
    """Describe every variable by its name, shape and dtype."""
    return [f"{name} {tuple(variable.shape)} {variable.dtype}" for name, variable in variables]


def leaves(settings: Any, path: str = "") -> dict[str, Any]:
    """Return the values of nested settings by the dotted paths of their names."""
    if not isinstance(settings, dict):
        return {path: settings}
    nested = (leaves(value, f"{path}.{name}" if path else name) for name, value in settings.items())
    return {name: value for part in nested for name, value in part.items()}


def pad(names: list[str], length: int) -> list[str]:
    """Append empty names to `names` up to a `length`."""
    return names + [""] * (length - len(names))
