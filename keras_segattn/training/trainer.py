"""Base of the models that compute their own losses: arguments of Keras that would have no effect are refused."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import keras

# Name of the seeds' state in a file of weights, beside the numbers by which Keras names the other variables.
SEEDS = "seeds"


class Trainer(keras.Model):
    """Model that trains the networks that it holds by losses of its own; compile it with an optimizer and call `fit`.

    Keras' `BackupAndRestore` and `ModelCheckpoint` store the networks, the optimizer and the state of the trainer's
    random draws. (Keras does not store the state of dropout.)

    Attributes:
        seeds: seeds of the random draws; every subclass makes them.
        weighted: whether the losses take sample weights.
        measured: whether metrics can be compiled.
        measured_outputs: names of the outputs for which metrics were compiled by name.
    """

    seeds: keras.random.SeedGenerator
    measured_outputs: Sequence[str] = ()
    weighted: ClassVar[bool] = False
    measured: ClassVar[bool] = False

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Set the optimizer; the arguments are those of `keras.Model.compile`.

        Raises:
            ValueError: if a loss is given, or metrics of outputs that have no targets.
        """
        kind = type(self).__name__
        if loss is not None or loss_weights is not None:
            raise ValueError(f"{kind} computes its own loss: compile it without loss and loss_weights")
        if (metrics or weighted_metrics) and not self.measured:
            raise ValueError(
                f"{kind} has no targets that metrics could compare its outputs with: compile it without metrics and "
                "weighted_metrics, and score the trained network instead"
            )
        self.measured_outputs = [name for one in (metrics, weighted_metrics) if isinstance(one, dict) for name in one]
        super().compile(
            optimizer,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
            auto_scale_loss=auto_scale_loss,
        )

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile a trainer that was read from a file, whose optimizer's state is read next."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def fit(self, *arguments: Any, **named: Any) -> Any:
        """Train; the arguments are those of `keras.Model.fit`.

        Raises:
            ValueError: if weights are given that the losses do not take.
        """
        given = inspect.signature(keras.Model.fit).bind(self, *arguments, **named).arguments
        if given.get("class_weight") is not None:
            raise ValueError(
                f"{type(self).__name__} takes no class_weight: its losses are not of one class per example"
            )
        self.check_weights(given.get("sample_weight"))
        return super().fit(*arguments, **named)

    def check_weights(self, sample_weight: Any) -> None:
        """Raise `ValueError` if there are sample weights, but the losses take none."""
        if sample_weight is not None and not self.weighted:
            raise ValueError(
                f"{type(self).__name__} takes no sample_weight: its losses are not sums over examples. Leave examples "
                "out of the data instead"
            )

    def save_own_variables(self, store: Any) -> None:
        """Store the trainer's own variables, and the state of its random draws."""
        super().save_own_variables(store)
        store[SEEDS] = keras.ops.convert_to_numpy(self.seeds.state)

    def load_own_variables(self, store: Any) -> None:
        """Restore what `save_own_variables` stored."""
        super().load_own_variables({key: store[key] for key in store.keys() if key != SEEDS})  # noqa: SIM118
        self.seeds.state.assign(store[SEEDS])
