"""Callback that watches a training run and writes the files of its run directory."""

import contextlib
import csv
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
from keras import ops

from keras_segattn.facts import Facts, facts_of, write_facts
from keras_segattn.files import remove_stale, replaced
from keras_segattn.training.checkpoint import Progress, Stateful, load_checkpoint, save_checkpoint
from keras_segattn.training.precision import dtype_policies


def prepare(run_dir: Path, settings: Mapping[str, Any]) -> None:
    """Make a run directory, or remove incomplete files of a killed process from it; write the settings into it."""
    run_dir.mkdir(parents=True, exist_ok=True)
    for folder, _, _ in os.walk(run_dir):
        remove_stale(Path(folder), ".partial.*")
    with replaced(run_dir / "settings.json") as temporary:
        temporary.write_text(json.dumps(settings, indent=2))


def save_with_facts(model: keras.Model, path: Path, facts: Facts | None = None) -> None:
    """Write a model with its facts as one `.keras` file, which appears complete or not at all.

    Args:
        model: functional model.
        path: file to write, in an existing folder.
        facts: Facts that are stored with the model; `None` stores what `facts_of` finds.
    """
    with replaced(path) as temporary:
        model.save(temporary)
        write_facts(temporary, facts_of(model) if facts is None else facts)


@contextlib.contextmanager
def averaged(trainer: keras.Model | None) -> Iterator[None]:
    """Replace the parameters of a trainer by their averages, and restore them at the end; `None` changes nothing."""
    if trainer is None:
        yield
        return
    swap = keras.callbacks.SwapEMAWeights()
    swap.set_model(trainer)
    swap.on_test_begin()
    try:
        yield
    finally:
        swap.on_test_end()


class TrainingDivergedError(ArithmeticError):
    """The loss or a weight became NaN or infinite; files of the last finished epoch are untouched."""


class Recorder(keras.callbacks.Callback):
    """Callback that stops at a loss that is not finite, keeps the history, and writes the files of a run directory.

    Args:
        trainer: compiled model that is trained; its variables go into the checkpoint.
        model: functional model that is written as a file; it is the trainer or a part of it.
        optimizer: built optimizer of the trainer, or an object that holds several.
        settings: values that must not change between the parts of an interrupted training run.
        run_dir: existing directory, or `None` to write nothing.
        writes: whether this process writes; only one of several workers does.
        monitor: logged value whose best epoch is kept as `best.keras`, if it is logged; `None` keeps none.
        checkpoint_steps: number of steps after which a checkpoint is written within an epoch; `None` writes one after
            every epoch only.
        policy: dtype policy of saved models; `None` keeps each layer's own policy.
        facts: Facts that are stored with the model; `None` stores what `facts_of` finds.
    """

    def __init__(
        self,
        trainer: keras.Model,
        model: keras.Model,
        optimizer: Stateful,
        settings: Mapping[str, Any],
        run_dir: Path | None,
        *,
        writes: bool,
        monitor: str | None,
        checkpoint_steps: int | None,
        policy: str | None,
        facts: Facts | None,
    ) -> None:
        super().__init__()
        self.trainer, self.saved, self.optimizer, self.facts = trainer, model, optimizer, facts
        self.progress = Progress(settings=dict(settings))
        self.run_dir = run_dir
        self.writes = writes and run_dir is not None
        self.monitor = monitor
        self.checkpoint_steps = checkpoint_steps
        self.policy = policy
        self.first_step = 0
        self._improves = min if monitor and monitor.endswith(("loss", "cross_entropy")) else max

    @property
    def checkpoint(self) -> Path | None:
        """Return the path of the file from which training resumes."""
        return None if self.run_dir is None else self.run_dir / "checkpoint.npz"

    @property
    def averages(self) -> bool:
        """Return whether the optimizer averages the parameters; if so, models are evaluated and saved with averages."""
        inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)  # inside one that scales the loss
        return bool(getattr(inner, "use_ema", False))

    def restore(self) -> None:
        """Continue from the checkpoint, if there is one.

        Raises:
            CheckpointError: if it is damaged, belongs to another model, or was written with other settings.
        """
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        self.progress = load_checkpoint(self.checkpoint, self.trainer, self.optimizer, self.progress.settings)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Count steps from those that an interrupted call has done in this epoch."""
        self.first_step = self.progress.step

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Stop at a loss that is not finite; write a checkpoint after every `checkpoint_steps` steps."""
        step = self.first_step + batch + 1
        when = f"epoch {self.progress.epoch + 1}, step {step}"
        self._check_losses(logs or {}, when)
        due = self.checkpoint_steps and step % self.checkpoint_steps == 0
        if due and batch + 1 < self.params["steps"]:  # `on_epoch_end` writes it after the last step
            self._check_weights(when)
            self._save(replace(self.progress, step=step))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write checkpoint and history, and the model if this epoch is the best so far."""
        row = {name: float(value) for name, value in (logs or {}).items()}
        when = f"the end of epoch {epoch + 1}"
        self._check_losses(row, when)
        self._check_weights(when)
        value, best = row.get(self.monitor or "", math.nan), self.progress.best
        improved = not math.isnan(value) and (best is None or (value != best and self._improves(value, best) == value))
        self.progress = replace(
            self.progress,
            epoch=epoch + 1,
            step=0,
            history=(*self.progress.history, row),
            best=value if improved else best,
        )
        if improved:
            self.save_model("best.keras")
        self._save(self.progress)
        self._write_history()

    def save_model(self, name: str) -> None:
        """Write the model to the run directory, if this process writes files, with its averages if there are any."""
        if not self.writes or self.run_dir is None:
            return
        with dtype_policies(self.saved, self.policy), averaged(self.trainer if self.averages else None):
            save_with_facts(self.saved, self.run_dir / name, self.facts)

    def _save(self, progress: Progress) -> None:
        if self.writes and self.checkpoint is not None:
            save_checkpoint(self.checkpoint, self.trainer, self.optimizer, progress)

    def _check_losses(self, logs: Mapping[str, float], when: str) -> None:
        for name, value in logs.items():
            if name.endswith("loss") and not math.isfinite(value):
                raise self._diverged(f"{name} became {value} at {when}")

    def _check_weights(self, when: str) -> None:
        # TensorFlow's ReLU turns NaN into 0, so weights can become NaN while the loss stays finite.
        for variable in self.trainer.weights:
            if not ops.all(ops.isfinite(variable)):
                raise self._diverged(f"{variable.path} holds NaN or infinity at {when}")

    def _diverged(self, what: str) -> TrainingDivergedError:
        kept = "" if self.checkpoint is None else f"; {self.run_dir} keeps the last good checkpoint, if one was written"
        return TrainingDivergedError(f"{what}: lower the learning rate, or look for NaN in the images{kept}")

    def _write_history(self) -> None:
        if not self.writes or self.run_dir is None:
            return
        columns = list(dict.fromkeys(name for row in self.progress.history for name in row))
        with replaced(self.run_dir / "history.csv") as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["epoch", *columns])
            writer.writeheader()
            writer.writerows({"epoch": i + 1} | row for i, row in enumerate(self.progress.history))

    def result(self) -> keras.callbacks.History:
        """Return the history of all finished epochs, those before an interruption included."""
        history = keras.callbacks.History()
        history.set_model(self.saved)
        history.epoch = list(range(len(self.progress.history)))
        names = dict.fromkeys(name for row in self.progress.history for name in row)
        history.history = {name: [row.get(name, math.nan) for row in self.progress.history] for name in names}
        return history
