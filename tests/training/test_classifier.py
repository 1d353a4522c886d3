import contextlib
import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_segattn.registry import model_card
from keras_segattn.training import (
    CLASSIFIER_RECIPES,
    CheckpointError,
    ClassifierRecipe,
    InceptionRMSprop,
    TrainingDivergedError,
    train_classifier,
)
from keras_segattn.training.classifier import ClassifierTrainer
from keras_segattn.training.classifier_checks import check_classifier_model

# float32 against a float64 computation of the same few numbers.
TOLERANCE = 1e-5
# Keras swaps weights and averages by adding and subtracting them, which rounds.
SWAP_TOLERANCE = 1e-6
CLASSES = 3
SMALL = ClassifierRecipe(learning_rate=0.3, ema_momentum=0.9)


def examples(count=24, classes=CLASSES, seed=0):
    image = np.random.default_rng(seed).normal(size=(count, 6, 6, 2)).astype("float32")
    label = (image[:, :3].mean(axis=(1, 2, 3)) > 0).astype("int64") + (image[..., 0].mean(axis=(1, 2)) > 0)
    return image, np.minimum(label, classes - 1)


def batches(count=24, batch=8, **options):
    return tf.data.Dataset.from_tensor_slices(examples(count, **options)).batch(batch)


class ByEpoch:
    def __len__(self):
        return 3

    def __call__(self, epoch):  # noqa: ARG002
        return batches()


class Sequence(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return tuple(part[8 * index : 8 * index + 8] for part in examples())


def toy(classes=CLASSES, aux=(), activation=None, dropout=0.2, normalization=True):
    image = keras.Input((6, 6, 2), name="image")
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    if normalization:
        x = keras.layers.BatchNormalization(momentum=0.8, name="bn")(x)
    x = keras.layers.Flatten(name="flatten")(keras.layers.ReLU(name="relu")(x))
    side = {key: keras.layers.Dense(classes, name=key)(x) for key in aux}
    logits = keras.layers.Dense(classes, activation=activation, name="predictions")(
        keras.layers.Dropout(dropout, name="dropout")(x)
    )
    return keras.Model(image, {"logits": logits} | side if aux else logits, name="toy")


def accuracy(model, image, label):
    return (model.predict(image, verbose=0).argmax(axis=-1) == label).mean()


@pytest.mark.thorough
def test_learns_and_leaves_a_run_directory(tmp_path, capsys):
    model = toy()
    history = train_classifier(model, batches(), batches(), epochs=8, recipe=SMALL, run_dir=tmp_path)
    assert "Epoch 8/8" in capsys.readouterr().out
    assert list(history.history) == [
        "accuracy", "cross_entropy", "loss", "val_accuracy", "val_cross_entropy", "val_loss"
    ]  # fmt: skip
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert history.history["val_accuracy"][-1] > 0.8
    assert {path.name for path in tmp_path.iterdir()} == {
        "best.keras", "checkpoint.npz", "history.csv", "model.keras", "settings.json"
    }  # fmt: skip
    with (tmp_path / "history.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == list("12345678")
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert (settings["steps_per_epoch"], settings["epochs"], settings["label_smoothing"]) == (3, 8, 0.1)


@pytest.mark.thorough
def test_the_evaluated_and_saved_model_is_the_average(tmp_path):
    class Weights(keras.callbacks.Callback):
        """Record the trained parameters and their averages at the end of every epoch."""

        def __init__(self):
            super().__init__()
            self.raw, self.averages = [], []

        def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
            self.raw.append([v.numpy() for v in self.model.trainable_variables])
            self.averages.append([v.numpy() for v in self.model.optimizer._model_variables_moving_average])

    model, weights = toy(), Weights()
    held_out = examples(seed=1)
    data = tf.data.Dataset.from_tensor_slices(held_out).batch(8)
    history = train_classifier(
        model, batches(), data, epochs=4, recipe=SMALL, run_dir=tmp_path, callbacks=[weights], progress=False
    )
    assert not np.allclose(weights.raw[-1][0], weights.averages[-1][0], atol=1e-3)  # else the test could not tell
    best = int(np.argmax(history.history["val_accuracy"]))
    final = keras.models.load_model(tmp_path / "model.keras")
    best_model = keras.models.load_model(tmp_path / "best.keras")
    for found, epoch in ((model, -1), (final, -1), (best_model, best)):
        for have, want in zip(found.trainable_variables, weights.averages[epoch], strict=True):
            np.testing.assert_allclose(have.numpy(), want, atol=SWAP_TOLERANCE)
    # The last epoch was validated with the averages, too.
    assert history.history["val_accuracy"][-1] == pytest.approx(accuracy(final, *held_out))
    # Training resumes from the checkpoint with the raw weights, not with the averages.
    other = toy()
    again = train_classifier(other, batches(), data, epochs=4, recipe=SMALL, run_dir=tmp_path, progress=False)
    assert again.history == history.history
    # A call that finds training finished leaves the averages in the model, too.
    for have, want in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(have, want, atol=SWAP_TOLERANCE)
    with np.load(tmp_path / "checkpoint.npz") as archive:
        names = json.loads(str(archive["header"]))["variables"]
        kernel = archive[f"{[name.split('/')[-1].startswith('kernel') for name in names].index(True):05d}"]
    np.testing.assert_allclose(kernel, weights.raw[-1][0], atol=SWAP_TOLERANCE)


def test_the_lowest_cross_entropy_is_the_best(tmp_path):
    data = {"epochs": 3, "recipe": replace(SMALL, learning_rate=0.5), "monitor": "val_cross_entropy"}
    history = train_classifier(toy(), batches(), batches(), run_dir=tmp_path, progress=False, **data)
    values = history.history["val_cross_entropy"]
    assert len(set(values)) == 3
    with np.load(tmp_path / "checkpoint.npz") as archive:
        assert json.loads(str(archive["header"]))["best"] == min(values)


def test_other_settings_do_not_continue(tmp_path):
    train_classifier(toy(), batches(), epochs=1, recipe=SMALL, run_dir=tmp_path, progress=False)
    for other in ({"learning_rate": 0.1}, {"label_smoothing": 0.0}, {"ema_momentum": None}):
        with pytest.raises(CheckpointError, match=r"label_smoothing|optimizer"):
            train_classifier(toy(), batches(), epochs=2, recipe=replace(SMALL, **other), run_dir=tmp_path)
    model = toy()
    train_classifier(model, batches(), epochs=1, recipe="inception", run_dir=tmp_path, resume=False, progress=False)
    assert "0.045" in (tmp_path / "settings.json").read_text()


@pytest.mark.parametrize("aux", [("aux_logits",), ("aux1_logits", "aux2_logits")])
def test_side_classifiers_count_their_share(aux):
    model = toy(aux=aux)
    trainer = ClassifierTrainer(inputs=model.input, outputs=model.output)
    trainer.smoothed = CLASSIFIER_RECIPES["inception"].make_loss()
    rng = np.random.default_rng(0)
    label = np.array([0, 2, 1, 1])
    outputs = {name: rng.normal(size=(4, CLASSES)).astype("float32") for name in ("logits", *aux)}

    def cross_entropy(logits):
        log = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        target = 0.9 * np.eye(CLASSES)[label] + 0.1 / CLASSES
        return -(target * log).sum(axis=-1).mean()

    share = 0.4 if len(aux) == 1 else 0.3
    expected = cross_entropy(outputs["logits"]) + share * sum(cross_entropy(outputs[name]) for name in aux)
    assert float(trainer.compute_loss(y=ops.convert_to_tensor(label), y_pred=outputs)) == pytest.approx(
        expected, rel=TOLERANCE
    )
    before = model.get_layer(aux[0]).get_weights()[0]
    history = train_classifier(model, batches(), batches(), epochs=1, recipe=SMALL, progress=False)
    assert "val_accuracy" in history.history
    assert not np.array_equal(before, model.get_layer(aux[0]).get_weights()[0])


@pytest.mark.parametrize("kind", [Sequence, ByEpoch])
def test_kinds_of_data(kind):
    history = train_classifier(toy(), kind(), kind(), epochs=2, recipe=SMALL, progress=False)
    assert len(history.history["val_loss"]) == 2


def test_top5_of_many_classes():
    data = batches(classes=7)
    history = train_classifier(toy(classes=7), data, epochs=1, progress=False)
    assert "top5_accuracy" in history.history


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: batches().map(lambda x, y: (x, y + 2)), r"labels of train_data must be 0\.\.2, received 3, 4"),
        (lambda: batches().map(lambda x, y: (x, y - 1)), "received -1"),
        (lambda: batches().map(lambda x, y: (x, tf.one_hot(y, 3))), r"labels \(batch,\), received .* and \(8, 3\)"),
        (lambda: batches().map(lambda x, y: (x, tf.cast(y, tf.float32))), "must be integers, received float32"),
        (lambda: batches().map(lambda x, y: (x[:, :5], y)), r"gives images \(8, 5, 6, 2\), 'toy' expects"),
        (lambda: batches().map(lambda x, y: (tf.cast(x, tf.uint8), y)), "finite floating point"),
        (lambda: batches().map(lambda x, y: (x / 0.0, y)), "finite floating point"),
        (lambda: batches().map(lambda x, y: {"image": x, "label": y}), r"\(image, label\) batches, received dict"),
        (lambda: batches().repeat(), "never ends"),
    ],
)
def test_bad_data(data, message):
    with pytest.raises(ValueError, match=message):
        train_classifier(toy(), data(), epochs=1)


def test_bad_models():
    with pytest.raises(TypeError, match="functional"):
        train_classifier(keras.layers.Dense(3), batches(), epochs=1)
    with pytest.raises(ValueError, match=r"softmax.*classifier_activation=None"):
        train_classifier(toy(activation="softmax"), batches(), epochs=1)
    image = keras.Input((6, 6, 2))
    with pytest.raises(ValueError, match=r"'logits'.*received \['boxes'\]"):
        train_classifier(keras.Model(image, {"boxes": keras.layers.Flatten()(image)}), batches(), epochs=1)
    with pytest.raises(ValueError, match=r"logits \(batch, at least 2 classes\)"):
        train_classifier(keras.Model(image, keras.layers.Conv2D(3, 1)(image)), batches(), epochs=1)
    vector = keras.Input((6,))
    with pytest.raises(ValueError, match="one input"):
        train_classifier(keras.Model(vector, keras.layers.Dense(3)(vector)), batches(), epochs=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "epochs must be a positive integer"),
        ({"recipe": "adam"}, "unknown recipe 'adam'; expected one of adamw-cosine, inception"),
        ({"monitor": "val_mean_iou"}, "monitor must be one of"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        train_classifier(toy(), batches(), **({"epochs": 1} | arguments))


def test_divergence_is_an_error_and_keeps_the_files(tmp_path):
    train_classifier(toy(), batches(), epochs=1, recipe=SMALL, run_dir=tmp_path, progress=False)
    before = (tmp_path / "checkpoint.npz").read_bytes()
    image, label = examples()
    image[20] = np.inf  # in a later batch, since the first one is checked
    broken = tf.data.Dataset.from_tensor_slices((image, label)).batch(8)
    with pytest.raises(TrainingDivergedError, match="epoch 2"):
        train_classifier(toy(), broken, epochs=2, recipe=SMALL, run_dir=tmp_path, progress=False)
    assert (tmp_path / "checkpoint.npz").read_bytes() == before


def test_a_label_out_of_range_in_a_later_batch_is_an_error():
    image, label = examples()
    label[20] = CLASSES
    data = tf.data.Dataset.from_tensor_slices((image, label)).batch(8)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"train_data holds label\] \[3\] \[expected 0\.\.2"):
        train_classifier(toy(), data, epochs=1, recipe=SMALL, progress=False)


def test_optimizer_of_the_recipe_follows_the_paper():
    optimizer = CLASSIFIER_RECIPES["inception"].make_optimizer(steps_per_epoch=100, epochs=1)
    assert isinstance(optimizer, InceptionRMSprop)
    rate = optimizer._learning_rate
    assert [float(rate(step)) for step in (0, 199, 200, 399, 400)] == pytest.approx(
        [0.045, 0.045, 0.045 * 0.94, 0.045 * 0.94, 0.045 * 0.94**2]
    )
    config = optimizer.get_config()
    settings = {key: value for key, value in config.items() if key not in ("learning_rate", "name")}
    assert settings == {
        "rho": 0.9,
        "momentum": 0.0,
        "epsilon": 1.0,
        "global_clipnorm": 2.0,
        "weight_decay": 4e-5,
        "ema_momentum": 0.9999,
    }


def train_on_two_replicas_and_one():
    """Print as JSON the history and final weights of the same training on two replicas and on one device."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    results = []
    keras.utils.set_random_seed(0)
    start = toy(aux=("aux_logits",), dropout=0.0, normalization=False).get_weights()
    for scope in (tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope(), contextlib.nullcontext()):
        with scope:
            model = toy(aux=("aux_logits",), dropout=0.0, normalization=False)
        model.set_weights(start)
        recipe = replace(SMALL, clip_norm=None)  # Keras clips the gradients of each replica separately
        history = train_classifier(model, batches(), batches(), epochs=2, recipe=recipe, progress=False)
        weights = np.concatenate([weight.ravel() for weight in model.get_weights()])
        results.append({"history": history.history, "weights": weights.tolist()})
    print(json.dumps(results))  # noqa: T201


@pytest.mark.thorough
def test_two_replicas_train_like_one_device():
    code = "import test_classifier; test_classifier.train_on_two_replicas_and_one()"
    folder = Path(__file__).parent
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    distributed, single = json.loads(run.stdout.splitlines()[-1])
    for name, values in single["history"].items():
        assert distributed["history"][name] == pytest.approx(values, rel=TOLERANCE), name
    np.testing.assert_allclose(distributed["weights"], single["weights"], atol=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "aux"), [("InceptionResNetV2", {"aux_logits"}), ("GoogLeNet", {"aux1_logits", "aux2_logits"})]
)
def test_side_classifiers_of_the_architectures_are_known(name, aux):
    card = model_card(name)
    model = card.builder(**card.tiny, aux_logits=True)
    assert set(model.output) == {"logits", *aux}
    assert check_classifier_model(model) == card.tiny["classes"]
