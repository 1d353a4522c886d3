"""A small model and data set, and programs that tests start as separate processes."""

import contextlib
import json
import math
import os
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_segattn import training
from keras_segattn.losses import PixelCrossEntropy

CLASSES = 3
IGNORE = 255


@contextlib.contextmanager
def eager_steps():
    """Train without compiling the steps: that takes seconds, and a few steps of a toy take a fraction of one."""
    # Keras does not compile a model that it loads if the class of the model overrides this method.
    base = next(one for one in keras.Model.__mro__ if "compile" in vars(one))
    compile_ = base.compile

    def eager(model, *arguments, **named):
        compile_(model, *arguments, **named | {"run_eagerly": True, "jit_compile": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "compile", eager)
        yield


class ToyBatches:
    """Images of noise whose channels decide the class, in an order that is a function of the epoch."""

    def __init__(self, images: int = 12, batch: int = 2) -> None:
        self.image = np.random.default_rng(0).normal(size=(images, 8, 8, 3)).astype("float32")
        self.mask = (self.image[..., 0] > 0).astype("int32") + (self.image[..., 1] > 0.7)
        self.mask[: images // 2, :3] = IGNORE  # so that batches differ in the number of ignored pixels
        self.batch = batch

    def __len__(self) -> int:
        return math.ceil(len(self.image) / self.batch)

    def __call__(self, epoch: object) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(len(self.image)), seed=tf.stack([7, tf.cast(epoch, tf.int32)])
        )
        return (
            tf.data.Dataset.from_tensor_slices(order)
            .batch(self.batch)
            .map(lambda index: (tf.gather(self.image, index), tf.gather(self.mask, index)))
        )


class ToySequence(keras.utils.PyDataset):
    """The same batches in a fixed order, as a PyDataset."""

    def __init__(self, batches: ToyBatches) -> None:
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(index * self.batches.batch, (index + 1) * self.batches.batch)
        return self.batches.image[part], self.batches.mask[part]


def toy_model(dropout: float = 0.5, normalization: bool = True, classes: int = CLASSES) -> keras.Model:
    image = keras.Input((None, None, 3), name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="conv1")(image)
    if normalization:
        x = keras.layers.BatchNormalization(name="bn1")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="drop1")(x)
    return keras.Model(image, keras.layers.Conv2D(classes, 1, name="score")(x), name="toy")


def distributed_and_single(strategy: tf.distribute.Strategy, run_dir: Path) -> tuple[dict, dict]:
    """Return history and final weights of the same training on a strategy's replicas and on one device."""
    results = []
    start = toy_model(dropout=0, normalization=False)
    for scope in (strategy.scope(), None):
        if scope is None:
            model = start
        else:
            with scope:
                model = toy_model(dropout=0, normalization=False)
            model.set_weights(start.get_weights())
        history = training.train_segmenter(
            model,
            ToyBatches(images=14, batch=3),  # odd batches, of which the last is smaller
            ToyBatches(images=8, batch=3),
            epochs=2,
            learning_rate=0.1,
            loss=PixelCrossEntropy(class_weights=[1.0, 1.0, 3.0]),
            run_dir=run_dir / ("single" if scope is None else "distributed"),
            progress=False,
        )
        weights = np.concatenate([weight.ravel() for weight in model.get_weights()])
        results.append({"history": history.history, "weights": weights.tolist()})
    return results[0], results[1]


def overflow_on_one_replica(strategy: tf.distribute.Strategy) -> list[list[float]]:
    """Return the final weights of every local replica if float16 gradients overflow on the last replica only."""
    with strategy.scope():
        model = toy_model(dropout=0)
    batches = ToyBatches(images=4, batch=4)
    batches.image[3] *= 300.0  # activations fit into float16, scaled gradients do not
    training.train_segmenter(model, batches, epochs=2, learning_rate=1e-3, mixed_precision=True, progress=False)
    values = [strategy.experimental_local_results(variable.value) for variable in model.weights]
    return [np.concatenate([np.ravel(value) for value in replica]).tolist() for replica in zip(*values, strict=True)]


def report(directory: Path, name: str, strategy: tf.distribute.Strategy) -> None:
    distributed, single = distributed_and_single(strategy, directory / name)
    facts = {"distributed": distributed, "single": single, "replicas": overflow_on_one_replica(strategy)}
    (directory / f"{name}.json").write_text(json.dumps(facts))


def mirrored(directory: Path) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    keras.utils.set_random_seed(0)
    report(directory, "mirrored", tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))


def worker(directory: Path) -> None:
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # this must precede all other uses of TensorFlow
    keras.utils.set_random_seed(0)
    report(directory, f"worker{index}", strategy)


PROGRAMS = {"mirrored": mirrored, "worker": worker}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](Path(sys.argv[2]))
