"""A resumed `fit` reads the epochs that are left in the order in which an uninterrupted one reads them."""

import contextlib
import threading

import keras
import numpy as np
import pytest
from keras import ops

from keras_segattn.data import CaptionBatches, DigitStrings, DistortedDigits, InstanceBatches, SequenceBatches
from keras_segattn.data.epochs import running_fit

EPOCHS, STOP = 3, 1


class Probe(keras.Model):
    """A weight whose course depends on the batches, their order included."""

    def __init__(self):
        super().__init__()
        self.weight = self.add_weight(shape=(), initializer="ones", name="weight")
        self.built = True

    def call(self, inputs):
        values = [ops.cast(part, "float32") for part in keras.tree.flatten(inputs)]
        return self.weight * sum(ops.mean(ops.sin(3.0 * (part + 0.1))) for part in values)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):  # noqa: ARG002
        return ops.square(y_pred - 3.0)


class Stop(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
        if epoch == STOP:
            raise KeyboardInterrupt


def pairs():
    random = np.random.default_rng(0)
    return [tuple(random.integers(4, 20, random.integers(2, 7)).tolist() for _ in range(2)) for _ in range(12)]


def pictures():
    random = np.random.default_rng(0)
    for number in range(6):
        mask = np.zeros((1, 8, 8), np.uint8)
        mask[0, 1:6, 2:7] = 1
        objects = {
            "bbox": np.array([[2, 1, 7, 6]], "float32"),
            "label": np.array([1], "int32"),
            "is_crowd": np.zeros(1, bool),
            "mask": mask,
        }
        image = random.integers(0, 255, (8, 8, 3)).astype("uint8")
        yield {"image": image, "image/id": number, "image/filename": f"{number}.png", "objects": objects}


def digits():
    random = np.random.default_rng(0)
    return random.integers(0, 255, (8, 28, 28)).astype("uint8"), np.arange(8) % 10


KINDS = {
    "sentences": lambda: SequenceBatches(pairs(), 4, shuffle=True),
    "captions": lambda: CaptionBatches(
        [[target] for _, target in pairs()], np.random.default_rng(1).normal(size=(12, 3)).__getitem__, 4, shuffle=True
    ),
    "instances": lambda: InstanceBatches(
        list(pictures()), batch_size=2, size=(8, 8), slots=1, flip=True, scale=(0.5, 1.5), shuffle=True
    ),
    "digits": lambda: DistortedDigits(*digits(), "rotated", 4, shuffle=True),
    "strings": lambda: DigitStrings(*digits(), [np.zeros((32, 32, 3), "uint8")], 2, count=4, size=16, fresh=True),
}


def fit(batches, *callbacks, **changes):
    model = Probe()
    model.compile(keras.optimizers.SGD(0.02, 0.9), run_eagerly=True)
    arguments = {"epochs": EPOCHS, "verbose": 0, "shuffle": False}
    with contextlib.suppress(KeyboardInterrupt):
        model.fit(batches, callbacks=list(callbacks), **arguments | changes)
    return float(model.weight)


@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_training_goes_on_with_the_order_of_its_epoch(kind, tmp_path):
    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)

    whole = fit(KINDS[kind]())
    assert fit(KINDS[kind](), backup(), Stop()) != whole
    assert fit(KINDS[kind](), backup()) == whole


def test_the_epoch_is_that_of_fit():
    batches, seen = KINDS["sentences"](), []
    batches.workers = 2
    read = type(batches).__getitem__

    class Recorded(type(batches)):
        def __getitem__(self, index):
            seen.append((threading.current_thread() is threading.main_thread(), self.epoch))
            return read(self, index)

    batches.__class__ = Recorded
    fit(batches, initial_epoch=1, epochs=3, validation_data=batches)
    assert {epoch for main, epoch in seen if not main} == {1, 2, 3}  # validation reads the next epoch
    assert running_fit() is None
    batches.on_epoch_end()
    assert batches.epoch == 4


def test_workers_that_already_read_another_epoch_are_refused(tmp_path):
    batches = KINDS["sentences"]()
    backup = keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    fit(batches, backup, Stop())
    batches.workers = 2
    with pytest.raises(RuntimeError, match=r"goes on with epoch 1, but 2 workers .* epoch 0: pass initial_epoch=1"):
        fit(batches, backup)
    fit(batches, backup, initial_epoch=STOP)
