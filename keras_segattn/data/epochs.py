"""Batches that differ from epoch to epoch, as Keras' `fit` reads them."""

import inspect
from typing import Any, NamedTuple

import keras


class EpochDataset(keras.utils.PyDataset):
    """Batches that are a function of the attribute `epoch`; in `fit` it is the number of the epoch that is trained.

    Keras tells its callbacks which epoch begins, but a `PyDataset` only that one begins. Batches that count by
    themselves would begin with epoch 0 again when `keras.callbacks.BackupAndRestore` or `initial_epoch` goes on with
    another. Therefore the number is looked up in the running call of `fit`. Outside of it, the epochs are counted.

    Args:
        workers: number of threads that make batches ahead.

    Attributes:
        epoch: number of the epoch, from 0.
    """

    def __init__(self, workers: int = 1) -> None:
        super().__init__(workers=workers)
        self.epoch = 0

    def on_epoch_begin(self) -> None:
        """Take over the number of the epoch that `fit` begins.

        Raises:
            RuntimeError: if training was restored to another epoch after threads began to make batches.
        """
        running = running_fit()
        if running is None or running.validates or running.epoch in (None, self.epoch):
            return
        if self.workers > 1:
            raise RuntimeError(
                f"training goes on with epoch {running.epoch}, but {self.workers} workers already make batches of "
                f"epoch {self.epoch}: pass initial_epoch={running.epoch} to fit, or make the batches with workers=1"
            )
        self.epoch = running.epoch

    def on_epoch_end(self) -> None:
        """Go on to the next epoch."""
        running = running_fit()
        if running is None:
            self.epoch += 1
        else:  # Keras ends an epoch before the first one, too
            self.epoch = running.first if running.epoch is None else running.epoch + 1


class RunningFit(NamedTuple):
    """Progress of a call of `fit`.

    Attributes:
        epoch: number of the epoch that is trained; `None` before the first.
        first: number of the first epoch.
        validates: whether the call evaluates its validation data.
    """

    epoch: int | None
    first: int
    validates: bool


def running_fit() -> RunningFit | None:
    """Look up how far Keras' `fit` is in this thread, in its local variables; `None` if it does not run."""
    frame, validates = inspect.currentframe(), False
    while frame is not None:
        called: Any = frame.f_locals
        if isinstance(called.get("self"), keras.Model):
            validates |= frame.f_code.co_name == "evaluate"
            if frame.f_code.co_name == "fit" and "initial_epoch" in called:
                return RunningFit(called.get("epoch"), called["initial_epoch"], validates)
        frame = frame.f_back
    return None
