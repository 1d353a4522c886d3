"""Engine of every trainer: it manages files of a run, resumption, progress bar, precision and replicas.

A trainer checks its model and its data, compiles a model that Keras can train, and passes it to `fit` of this module.
"""

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_segattn.arguments import check_choice, check_positive_integer
from keras_segattn.facts import Facts
from keras_segattn.files import locked
from keras_segattn.training.checkpoint import EPOCHS, Stateful
from keras_segattn.training.distribution import (
    AverageStatistics,
    ReplicatedLossScaleOptimizer,
    check_scope,
    is_chief,
    replica_count,
    strategy_of,
    strategy_scope,
)
from keras_segattn.training.precision import dtype_policies, resolve_policy
from keras_segattn.training.recorder import Recorder, prepare
from keras_segattn.training.source import Source

# Attributes of batches on which their order depends.
ORDER = ("batch_size", "shuffle", "seed")


@dataclass(frozen=True, kw_only=True)
class Run:
    """Arguments of one call of a trainer that mean the same for all trainers.

    Args:
        epochs: number of epochs in all, those before an interruption included.
        run_dir: directory for the files, made if missing; `None` writes nothing.
        resume: whether to go on from the run directory's checkpoint.
        checkpoint_steps: number of steps after which a checkpoint is written within an epoch; `None` writes one after
            every epoch only.
        monitor: logged value whose best epoch is kept as `best.keras`; `None` keeps none.
        mixed_precision: `True` for `"mixed_float16"`, or the name of a mixed policy.
        callbacks: further Keras callbacks.
        progress: whether to show Keras' progress bar.
        facts: Facts that are stored with the model; `None` stores what `facts_of` finds.

    Raises:
        ValueError: if an argument is wrong.
    """

    epochs: int
    run_dir: str | PathLike[str] | None = None
    resume: bool = True
    checkpoint_steps: int | None = None
    monitor: str | None = "val_loss"
    mixed_precision: bool | str = False
    callbacks: Sequence[keras.callbacks.Callback] = ()
    progress: bool = True
    facts: Facts | None = None

    def __post_init__(self) -> None:
        """Reject arguments of a wrong kind or value."""
        check_positive_integer("epochs", self.epochs)
        check_choice("resume", self.resume, (True, False))
        if self.checkpoint_steps is not None:
            check_positive_integer("checkpoint_steps", self.checkpoint_steps)
        resolve_policy(self.mixed_precision)
        if any(isinstance(one, keras.callbacks.BackupAndRestore) for one in self.callbacks):
            raise ValueError(
                "expected callbacks without BackupAndRestore, which would restore another state than the checkpoint of "
                "run_dir: give run_dir, and the same call goes on after an interruption"
            )

    @property
    def policy(self) -> str | None:
        """Return the name of the dtype policy while the model trains; `None` keeps the model's own policies."""
        return resolve_policy(self.mixed_precision)

    @property
    def directory(self) -> Path | None:
        """Return the run directory as a path."""
        return None if self.run_dir is None else Path(self.run_dir)

    @contextmanager
    def scope(self, model: keras.Model, *, replicas: bool = True) -> Iterator[None]:
        """Enter the scope of the strategy under which the model was built; the trainer is compiled in it.

        Args:
            model: functional model.
            replicas: whether the trainer can split a batch over several devices.

        Raises:
            ValueError: if the model was built in another scope, or on more devices than the trainer can use.
        """
        strategy = strategy_of(model)
        check_scope(model, strategy)
        if replica_count(strategy) > 1 and not replicas:
            raise ValueError(f"expected {model.name!r} on one device, received {type(strategy).__name__}")
        with strategy_scope(strategy):
            yield

    def scaled(self, optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
        """Return the optimizer, with loss scaling if gradients are float16 and would otherwise vanish."""
        return ReplicatedLossScaleOptimizer(optimizer) if self.policy == "mixed_float16" else optimizer


def fit(
    trainer: keras.Model,
    models: Sequence[keras.Model],
    train: Source,
    validation: Source | None,
    run: Run,
    *,
    settings: Mapping[str, Any],
    optimizer: Stateful | None = None,
    watchers: Sequence[keras.callbacks.Callback] = (),
) -> keras.callbacks.History:
    """Fit a compiled trainer and write a run directory; go on where an earlier call was interrupted.

    Args:
        trainer: compiled model. Its variables and those of the optimizer are the state of the training run.
        models: functional models whose layers compute in the run's precision. The first is written at the end.
        train: batches to train on.
        validation: batches that are evaluated after every epoch.
        run: arguments that the caller gave to the trainer.
        settings: values that must not change between the parts of an interrupted training run, besides optimizer,
            precision and number of steps.
        optimizer: object that holds the trainer's optimizers, if there are several; `None` is `trainer.optimizer`.
        watchers: callbacks of the trainer itself.

    Returns:
        Keras' history of all epochs, those before an interruption included.

    Raises:
        ValueError: if checkpoints within an epoch are requested, but the data are not a function of the epoch.
        FolderInUseError: if another process trains in the run directory.
        CheckpointError: if the checkpoint is damaged, or belongs to another model or other settings.
        TrainingDivergedError: if a loss or a weight becomes NaN or infinite.
    """
    if run.checkpoint_steps and not train.by_epoch:
        raise ValueError("checkpoint_steps needs train_data that are a function of the epoch")
    check_saving(trainer, run.callbacks)
    strategy = strategy_of(models[0])
    chief = is_chief(strategy)
    known = {name: getattr(train.data, name, None) for name in ORDER}  # a `tf.data.Dataset` has methods of these names
    order = {name: int(value) for name, value in known.items() if isinstance(value, int | np.integer)}
    fixed = {
        **settings,
        "mixed_precision": run.policy,
        "steps_per_epoch": train.steps,
        "train_data": order,
        EPOCHS: run.epochs,
    }
    state = optimizer
    if state is None:
        state = trainer.optimizer
        with strategy_scope(strategy):
            trainer.optimizer.build(trainer.trainable_variables)
        fixed["optimizer"] = plain(keras.saving.serialize_keras_object(trainer.optimizer))
    with ExitStack() as stack:
        directory = run.directory
        if directory is not None and chief:
            directory.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(directory))
        recorder = Recorder(
            trainer,
            models[0],
            state,
            fixed,
            directory,
            writes=chief,
            monitor=run.monitor,
            checkpoint_steps=run.checkpoint_steps,
            policy="float32" if run.policy else None,
            facts=run.facts,
        )
        if run.resume:
            recorder.restore()
        before: list[keras.callbacks.Callback] = []
        if replica_count(strategy) > 1:
            before.append(AverageStatistics(strategy))
        if recorder.averages:
            before.append(keras.callbacks.SwapEMAWeights())
        after: list[keras.callbacks.Callback] = [recorder, *watchers]
        if directory is not None and chief:
            prepare(directory, fixed)
            if optimizer is None and importlib.util.find_spec("tensorboard"):
                after.append(keras.callbacks.TensorBoard(directory / "tensorboard", write_graph=False))
        if isinstance(train.data, keras.utils.PyDataset) and hasattr(train.data, "epoch"):
            before.append(OrderOfEpoch(train.data))
        held_out = None if validation is None else validation.epochs(0, 1)[0]
        for model in models:
            stack.enter_context(dtype_policies(model, run.policy))
        progress = recorder.progress
        for first, last, data, steps in train.remaining(progress.epoch, progress.step, run.epochs):
            trainer.fit(
                data,
                initial_epoch=first,
                epochs=last,
                steps_per_epoch=steps,
                validation_data=held_out,
                callbacks=[*before, *run.callbacks, *after],
                shuffle=False,  # the data already have the intended order
                verbose=1 if run.progress and chief else 0,
            )
            if trainer.stop_training:
                break
            if recorder.averages and last < run.epochs:
                recorder.restore()  # `fit` ends with the averages in place of the parameters
        if recorder.averages:  # also if training was finished before this call, which then does not `fit`
            trainer.optimizer.finalize_variable_values(trainer.trainable_variables)
        recorder.save_model("model.keras")
    return recorder.result()


def check_saving(trainer: keras.Model, callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Raise `ValueError` if a `ModelCheckpoint` is to save a whole trainer that can only save its weights."""
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.ModelCheckpoint) and not callback.save_weights_only:
            try:
                trainer.get_config()
            except NotImplementedError as error:
                raise ValueError(
                    f"ModelCheckpoint cannot save a whole {type(trainer).__name__}: pass save_weights_only=True, or "
                    "give run_dir, which keeps the trained networks"
                ) from error


class OrderOfEpoch(keras.callbacks.Callback):
    """Callback that gives batches the order of the epoch that begins, whatever number they have counted themselves.

    Args:
        batches: batches whose order is a function of their attribute `epoch`.
    """

    def __init__(self, batches: Any) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Set the epoch of the batches."""
        self.batches.epoch = epoch


def plain(config: Any) -> Any:
    """Return a serialised Keras object as JSON values, without its names, which Keras numbers in each process."""
    if isinstance(config, dict):
        return {key: plain(value) for key, value in config.items() if key != "name"}
    if isinstance(config, list | tuple):
        return [plain(value) for value in config]
    return config
