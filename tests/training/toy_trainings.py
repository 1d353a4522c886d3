"""A small training run for each trainer, and a program that runs one twice: interrupted and resumed, and in one piece.

    python toy_trainings.py REQUEST.json

The request holds the name of the `trainer`, a `folder` and whether its steps run `eagerly`.
"""

import contextlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parent))  # needed if this file is run by its path
import training_toys

from keras_segattn import model_card, training
from keras_segattn.attention import ShowAttendTell, co_localiser
from keras_segattn.data import CaptionBatches, InstanceBatches, SequenceBatches
from keras_segattn.generation import DCGANDiscriminator, DCGANGenerator

# Number of epochs: training is killed in the second, so there are finished epochs before and steps after that.
EPOCHS = 3
CHOICE = training.RegionChoice(
    anchors=8, anchor_positives=4, proposals=6, proposals_before_nms=8, regions=6, region_positives=3
)


class ByEpoch:
    """Batches of arrays in an order that is a function of the epoch."""

    def __init__(self, *arrays, batch=2):
        self.arrays, self.batch = arrays, batch

    def __len__(self):
        return len(self.arrays[0]) // self.batch

    def __call__(self, epoch):
        count = tf.range(len(self.arrays[0]))
        order = tf.random.experimental.stateless_shuffle(count, seed=tf.stack([7, tf.cast(epoch, tf.int32)]))
        batches = tf.data.Dataset.from_tensor_slices(order).batch(self.batch)
        return batches.map(lambda index: tuple(tf.gather(array, index) for array in self.arrays))


def random_images(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")


def segment(**run):
    model, batches = training_toys.toy_model(), training_toys.ToyBatches()
    training.train_segmenter(model, batches, training_toys.ToyBatches(images=4), learning_rate=0.05, **run)
    return model


def classify(**run):
    image = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, activation="relu")(image))
    x = keras.layers.Dropout(0.3)(keras.layers.Flatten()(x))
    model = keras.Model(image, keras.layers.Dense(3, name="predictions")(x))
    batches = ByEpoch(random_images(8, 8, 8, 3), np.arange(8) % 3)
    training.train_classifier(model, batches, batches, **run)
    return model


def detect(name, trainer, **run):
    model = model_card(name).builder(**model_card(name).tiny)
    height, width = 64, 96
    examples = []
    for number in range(4):
        mask = np.zeros((1, height, width), "uint8")
        mask[0, 10 + number : 40, 20:60] = 1
        objects = {
            "bbox": np.array([[20, 10 + number, 60, 40]], "float32"),
            "label": np.array([1], "int32"),
            "is_crowd": np.array([False]),
            "mask": mask,
        }
        examples.append({"image": 255 * mask[0, ..., None].repeat(3, axis=-1), "objects": objects})
    batches = InstanceBatches(examples, batch_size=2, size=(height, width), slots=2, flip=True, shuffle=True)
    training.train_instances(trainer(model, CHOICE), batches, **run)
    return model


def regions(**run):
    return detect("MaskRCNN", training.InstanceTrainer, **run)


def cascade(**run):
    return detect("MNC", training.CascadeTrainer, **run)


def write(**run):
    source, target = (keras.Input((None,), dtype="int32", name=name) for name in ("source", "target"))
    state = keras.layers.GRU(8)(keras.layers.Embedding(11, 6)(source))
    x = keras.layers.GRU(8, return_sequences=True)(keras.layers.Embedding(9, 6)(target), initial_state=state)
    model = keras.Model({"source": source, "target": target}, {"logits": keras.layers.Dense(9, name="logits")(x)})
    pairs = [([4 + i % 3, 5, 6][: 1 + i % 3], [7, 8][: 1 + i % 2]) for i in range(8)]
    training.train_sequences(model, SequenceBatches(pairs, batch_size=2, shuffle=True), **run)
    return model


def write_hard(**run):
    model = ShowAttendTell(9, backbone=None, input_shape=(4, 6), units=8, embedding=5, attention="hard")
    pictures = random_images(8, 4, 6)
    captions = [[[4, 5, 6][: 1 + i % 3]] for i in range(8)]
    batches = CaptionBatches(captions, pictures.__getitem__, batch_size=2, name="annotations", shuffle=True)
    training.train_sequences(model, batches, **run)
    return model


def generate(**run):
    generator = DCGANGenerator(latent=4, image_shape=(16, 16, 1), filters=2)
    discriminator = DCGANDiscriminator(input_shape=(16, 16, 1), filters=2)
    training.train_gan(generator, discriminator, ByEpoch(random_images(8, 16, 16, 1)), recipe="dcgan-mnist", **run)
    return generator


def co_localise(**run):
    image = keras.Input((8, 8, 1))
    encoder = keras.Model(image, keras.layers.AveragePooling2D(3)(keras.layers.Conv2D(4, 3)(image)))
    localiser = co_localiser((32, 32, 1), 8)
    trainer = training.CoLocalisationTrainer(localiser, encoder)
    training.train_co_localiser(trainer, ByEpoch(random_images(8, 32, 32, 1)), **run)
    return localiser


TRAINERS = {
    one.__name__: one for one in (segment, classify, regions, cascade, write, write_hard, generate, co_localise)
}
# Steps between checkpoints within an epoch, for trainers whose data are a function of the epoch.
STEPS = {"segment": 2, "classify": 2, "generate": 2, "co_localise": 2}


class Kill(keras.callbacks.Callback):
    """Kill the process without any cleaning up, after the last step but one of the second epoch."""

    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        if self.epoch == 1 and batch == self.params["steps"] - 2:
            os.kill(os.getpid(), signal.SIGKILL)


def in_child(name, run_dir, seed, callbacks=()):
    """Train in a fork of this process, and return its exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        tf.config.experimental.enable_op_determinism()
        keras.utils.set_random_seed(seed)
        steps = {"checkpoint_steps": STEPS[name]} if name in STEPS else {}
        TRAINERS[name](run_dir=run_dir, epochs=EPOCHS, callbacks=callbacks, progress=False, **steps)
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main(name, folder, eagerly):
    with training_toys.eager_steps() if eagerly else contextlib.nullcontext():
        killed_and_whole(name, folder)


def killed_and_whole(name, folder):
    assert in_child(name, folder / "resumed", 0, [Kill()]) == -signal.SIGKILL
    assert (folder / "resumed" / "checkpoint.npz").exists()
    assert not (folder / "resumed" / "model.keras").exists()
    assert in_child(name, folder / "resumed", 1) == 0  # other weights and seeds, so all comes from the checkpoint
    assert in_child(name, folder / "whole", 0) == 0


def on_replicas(name, strategy):
    """Return how far the weights of two replicas are apart after a training, or why the trainer refuses them."""
    with strategy.scope():
        keras.utils.set_random_seed(0)
        try:
            model = TRAINERS[name](epochs=1, progress=False)
        except ValueError as error:
            return {"refused": str(error)}
        kernels = [variable for variable in model.trainable_variables if len(variable.shape) > 1]
        copies = [[copy.numpy() for copy in strategy.experimental_local_results(one.value)] for one in kernels]
    return {
        "finite": all(bool(np.isfinite(one).all()) for pair in copies for one in pair),
        "apart": max(float(np.abs(one - other).max()) for one, other in copies),
    }


def replicas():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    print(json.dumps({name: on_replicas(name, strategy) for name in TRAINERS}))  # noqa: T201


if __name__ == "__main__" and sys.argv[1] == "replicas":
    replicas()
elif __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_text())
    main(request["trainer"], Path(request["folder"]), request["eagerly"])
