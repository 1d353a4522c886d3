"""Support for training under a `tf.distribute` strategy, beyond what Keras' `fit` does."""

import contextlib
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_segattn.losses.pixel_loss import PixelLoss


def strategy_of(model: keras.Model) -> tf.distribute.Strategy | None:
    """Return the strategy in whose scope the model was built; `None` on backends other than TensorFlow."""
    return getattr(model, "distribute_strategy", None)


def replica_count(strategy: tf.distribute.Strategy | None) -> int:
    """Return the number of replicas that share each batch under a strategy."""
    return 1 if strategy is None else strategy.num_replicas_in_sync


def replicas() -> int:
    """Return the number of replicas that share the batch being computed; their gradients are added."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def strategy_scope(strategy: tf.distribute.Strategy | None) -> contextlib.AbstractContextManager[Any]:
    """Return the scope in which the variables for training a model are made."""
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def check_scope(model: keras.Model, strategy: tf.distribute.Strategy | None) -> None:
    """Raise `ValueError` if the model was not built in the scope of a strategy with several replicas."""
    if strategy is None or strategy.num_replicas_in_sync == 1:
        return
    if not all(strategy.extended.variable_created_in_scope(variable.value) for variable in model.variables):
        raise ValueError(
            f"{model.name!r} was not built in the scope of {type(strategy).__name__}: "
            "build it under `with strategy.scope():`"
        )


def is_multi_worker(strategy: tf.distribute.Strategy | None) -> bool:
    """Return whether several processes train together."""
    cluster = getattr(strategy, "cluster_resolver", None)
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or cluster is None:
        return False
    tasks = cluster.cluster_spec().as_dict()
    return len(tasks.get("worker", ())) + len(tasks.get("chief", ())) > 1


def is_chief(strategy: tf.distribute.Strategy | None) -> bool:
    """Return whether this process writes the files: a single process does, and one of several workers."""
    if strategy is None or not is_multi_worker(strategy):
        return True
    cluster = strategy.cluster_resolver
    if cluster.task_type == "chief":
        return True
    return "chief" not in cluster.cluster_spec().as_dict() and cluster.task_id == 0


def distributed_loss(loss: keras.losses.Loss, strategy: tf.distribute.Strategy | None) -> keras.losses.Loss:
    """Return `loss` in a form whose gradients, summed over all replicas, are those of the whole batch on one device.

    Keras scales its own losses by the number of replicas, but not losses that return one scalar per batch, as those of
    this package do.
    """
    replicated = strategy is not None and strategy.num_replicas_in_sync > 1
    return ReplicaShare(loss) if replicated and isinstance(loss, PixelLoss) else loss


class ReplicaShare(keras.losses.Loss):
    """Loss of pixels, weighted by this replica's share of all labelled pixels unless it is a sum over pixels.

    If the loss is a mean over pixels, its sum over replicas is then the mean over the whole batch. A mean of the
    replicas' means would instead weight a pixel by the number of ignored pixels that its replica happens to hold.
    Losses that are not a mean over pixels (Dice, Lovász-softmax) score each replica's part of the batch separately.

    Args:
        loss: loss of one replica's part of the batch.

    Call arguments:
        y_true: labels `(batch, height, width)`, integers.
        y_pred: logits `(batch, height, width, classes)`.

    Output:
        Scalar, float32. Its gradient is this replica's part of the gradient of the whole batch. Its value is scaled
        such that Keras' mean over replicas, weighted by their numbers of images, is the loss of the whole batch.
    """

    def __init__(self, loss: PixelLoss) -> None:
        super().__init__(name=loss.name, reduction="sum")
        self.loss = loss

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Compute this replica's part of the sum over replicas."""
        y_true = ops.cast(y_true, "int32")
        value = self.loss(y_true, y_pred, sample_weight)
        ignore, class_weights = self.loss.ignore_label, getattr(self.loss, "class_weights", None)
        counted = ops.ones_like(y_true, "float32") if ignore is None else ops.cast(y_true != ignore, "float32")
        if class_weights is not None:
            labels = ops.where(counted > 0, y_true, 0)
            counted *= ops.take(ops.convert_to_tensor(class_weights, dtype="float32"), labels)
        context = tf.distribute.get_replica_context()
        if context is None:  # Keras infers shapes outside the replicas
            return value
        own = ops.stack([ops.sum(counted), ops.cast(ops.shape(y_true)[0], "float32")])
        pixels, images = ops.unstack(context.all_reduce(tf.distribute.ReduceOp.SUM, own))
        if getattr(self.loss, "normalization", "mean") != "sum":
            value *= own[0] / ops.where(pixels > 0, pixels, 1.0)
        shown = value * images / (context.num_replicas_in_sync * own[1])
        return value + ops.stop_gradient(shown - value)


class AverageStatistics(keras.callbacks.Callback):
    """Callback that gives all replicas the mean of their moving statistics before validation and after every epoch.

    In Keras, batch normalisation keeps separate statistics on every replica. Evaluation and saved files would depend on
    the replica from which the statistics are read.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        super().__init__()
        self.strategy = strategy

    def average(self) -> None:
        """Average the floating-point state that is not trained by gradients."""
        statistics = [v.value for v in self.model.non_trainable_weights if v.dtype.startswith("float")]
        if not statistics:
            return

        def update() -> None:
            own = [variable.read_value() for variable in statistics]
            means = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, own)
            for variable, mean in zip(statistics, means, strict=True):
                variable.assign(mean)

        self.strategy.run(update)

    def on_test_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Average the statistics before validation."""
        self.average()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Average the statistics before the checkpoint is written."""
        self.average()


@keras.saving.register_keras_serializable(package="keras_segattn")
class ReplicatedLossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Loss scaling in which all replicas skip a step when the gradients of any one of them overflow.

    Keras checks on every replica (several workers) or on the first one (one worker) whether its own gradients are
    finite, but sums them only afterwards. Workers could then wait for each other forever, or weights become NaN.
    """

    def check_finite(self, grads: Sequence[Any]) -> Any:
        """Return whether the gradients are finite on every replica."""
        finite = super().check_finite(grads)
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return finite
        overflows = context.all_reduce(tf.distribute.ReduceOp.SUM, 1.0 - ops.cast(finite, "float32"))
        return ops.equal(overflows, 0.0)


# Methods of Keras that `ReplicatedModel` overrides and calls; no public method does the same.
KERAS_INTERNALS = ("_maybe_symbolic_build", "_symbolic_build")


def replicated_model(model: keras.Model, batch: Sequence[Any]) -> "ReplicatedModel":
    """Make a copy of the functional `model`, with the same variables, for `fit` on several replicas.

    Args:
        model: functional model to train.
        batch: images and labels, whose shapes and types are read.

    Raises:
        RuntimeError: if this version of Keras lacks the internal methods that are needed.
    """
    missing = [name for name in KERAS_INTERNALS if not hasattr(keras.Model, name)]
    if missing:
        raise RuntimeError(
            f"training on several replicas needs keras.Model.{missing[0]} of Keras 3.13 to 3.15, which Keras "
            f"{keras.__version__} lacks: install one of those, or train on one device"
        )
    replicated = ReplicatedModel(inputs=model.input, outputs=model.output, name=model.name)
    replicated.symbolic_batch = tuple(keras.KerasTensor(part.shape, part.dtype.name) for part in batch)
    return replicated


class ReplicatedModel(keras.Model):
    """A functional model that `fit` and `evaluate` run on several replicas; `replicated_model` makes it.

    Keras 3 supports `MirroredStrategy` and `MultiWorkerMirroredStrategy` except for two faults (keras#20585), which
    this class avoids. Keras infers shapes from the mean of the replicas' first batches, which need not have the same
    size. With several workers, it averages scalar results along a dimension that scalars lack.
    """

    symbolic_batch: tuple[keras.KerasTensor, ...]

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:  # noqa: ARG002
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=self.symbolic_batch)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Run one update; with several workers, results have shape (1,), which Keras averages."""
        return self._averageable(super().train_step(data))

    def test_step(self, data: Any) -> dict[str, Any]:
        """Run one evaluation step; with several workers, results have shape (1,), which Keras averages."""
        return self._averageable(super().test_step(data))

    def _averageable(self, logs: dict[str, Any]) -> dict[str, Any]:
        if not is_multi_worker(self.distribute_strategy):
            return logs
        return keras.tree.map_structure(lambda value: ops.expand_dims(value, 0), logs)
