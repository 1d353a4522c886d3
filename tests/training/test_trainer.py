"""What Keras' `fit` and callbacks offer works with every trainer, or is refused by name before anything is trained."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from harness import tiny_model
from test_hard_attention_trainer import FOLLOWING, TARGET, annotations, hard
from test_instance_trainers import CHOICE, SIZE, batch_of

from keras_segattn import model_card
from keras_segattn.attention import co_localiser
from keras_segattn.data import InstanceBatches
from keras_segattn.generation import DCGANDiscriminator, DCGANGenerator
from keras_segattn.training import CascadeTrainer, CoLocalisationTrainer, HardAttentionTrainer, InstanceTrainer
from keras_segattn.training.engine import Run, check_saving
from keras_segattn.training.gan_recipes import GAN_RECIPES
from keras_segattn.training.gan_trainer import GANTrainer, Optimizers


def hard_attention():
    target = np.repeat(TARGET, 4, axis=0)
    return (
        HardAttentionTrainer(hard(dropout=0.0)),
        {"annotations": annotations(4), "target": target},
        {"logits": np.repeat(FOLLOWING, 4, axis=0)},
    )


def co_localisation():
    encoder = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    trainer = CoLocalisationTrainer(co_localiser((21, 21, 1), 8), encoder, margin=2.0)
    return trainer, np.random.default_rng(0).random((4, 21, 21, 1), "float32"), None


def gan():
    generator = DCGANGenerator(image_shape=(8, 8, 1), filters=2, first=2, latent=3)
    discriminator = DCGANDiscriminator(input_shape=(8, 8, 1), filters=2, first=2)
    recipe = GAN_RECIPES["dcgan"]
    trainer = GANTrainer(generator, discriminator, recipe, Optimizers(*recipe.make_optimizers(2, 2)))
    return trainer, np.random.default_rng(0).random((4, 8, 8, 1), "float32"), None


def detection(name, kind):
    def make():
        return kind(tiny_model(model_card(name)), CHOICE), batch_of(), None

    return make


CHEAP = {"HardAttentionTrainer": hard_attention, "CoLocalisationTrainer": co_localisation}
MAKERS = CHEAP | {
    "InstanceTrainer": detection("MaskRCNN", InstanceTrainer),
    "CascadeTrainer": detection("MNC", CascadeTrainer),
    "GANTrainer": gan,
}


@pytest.fixture(scope="module", params=MAKERS)
def case(request):
    trainer, x, y = MAKERS[request.param]()
    if request.param != "GANTrainer":
        trainer.compile("sgd", jit_compile=False)
    return request.param, trainer, x, y


def test_weights_are_honoured_or_refused_by_name(case):
    name, trainer, x, y = case
    before = [weight.numpy() for weight in trainer.weights]
    with pytest.raises(ValueError, match=f"^{name} takes no class_weight"):
        trainer.fit(x, y, class_weight={0: 1.0, 1: 2.0}, verbose=0)
    count = len(next(iter(x.values())) if isinstance(x, dict) else x)
    if trainer.weighted:
        with pytest.raises(ValueError, match=f"^{name} expects sample weights"):
            trainer.evaluate(x, y, sample_weight={key: np.ones((count, 5)) for key in y}, verbose=0)
    else:
        with pytest.raises(ValueError, match=f"^{name} takes no sample_weight"):
            trainer.fit(x, y, sample_weight=np.ones(count), verbose=0)
        step = trainer.train_step if name == "GANTrainer" else lambda data: trainer.compute_loss(*data[:2], {}, data[2])
        with pytest.raises(ValueError, match=f"^{name} takes no sample_weight"):
            step((x, y, np.ones(count)))
    for weight, value in zip(trainer.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_losses_and_metrics_work_or_are_refused_by_name(case):
    name, trainer, _, _ = case
    with pytest.raises(ValueError, match=f"^{name} computes its own loss"):
        trainer.compile("sgd", loss="mse")
    for argument in ("metrics", "weighted_metrics"):
        if not trainer.measured:
            with pytest.raises(ValueError, match=f"^{name} has no targets that metrics could compare"):
                trainer.compile("sgd", **{argument: ["accuracy"]})


class Read(list):
    """Examples whose reader names the labels, and that count how often one is read."""

    def __init__(self, examples, class_names):
        super().__init__(examples)
        self.class_names, self.reads = class_names, 0

    def __getitem__(self, place):
        self.reads += 1
        return super().__getitem__(place)


# Errors of a label out of range: in batches of other kinds, and in data sets.
ERRORS = (ValueError, tf.errors.InvalidArgumentError)


def example_of(name, *labels):
    masks = np.zeros((len(labels), *SIZE), np.uint8)
    masks[:, 5:40, 5:60] = 1
    objects = {
        "bbox": np.array([[5, 5, 60, 40]] * len(labels), "float32").reshape(-1, 4),
        "label": np.array(labels, "int32"),
        "is_crowd": np.zeros(len(labels), bool),
        "mask": masks,
    }
    return {"image": np.zeros((*SIZE, 3), np.uint8), "image/id": 1, "image/filename": name, "objects": objects}


@pytest.mark.parametrize("case", ["InstanceTrainer", "CascadeTrainer"], indirect=True)
def test_labels_beyond_the_classes_are_refused_with_the_picture(case):
    _, trainer, x, _ = case
    classes = trainer.classes
    good, bad = [example_of("a.png", 1), example_of("b.png")], example_of("c.png", 1, classes)

    def batches(examples):
        return InstanceBatches(examples, batch_size=1, size=SIZE, slots=2)

    expected = rf"^example 2 \(c\.png\) has label {classes}, but the detector has {classes} classes.* build it with"
    for arguments in ({"x": batches([*good, bad])}, {"x": batches(good), "validation_data": batches([*good, bad])}):
        with pytest.raises(ValueError, match=expected):
            trainer.fit(**arguments, verbose=0)
    with pytest.raises(ValueError, match=expected):
        trainer.evaluate(batches([*good, bad]), verbose=0)
    wrong = x | {"classes": np.where(np.arange(2)[:, None] > 0, classes + 1, x["classes"])}
    for data in (wrong, tf.data.Dataset.from_tensors(wrong)):
        with pytest.raises(ValueError, match=rf"^picture 1 of x has label {classes + 1}, .*classes={classes + 2}"):
            trainer.fit(data, verbose=0)
    # A data set and an iterator are checked when they are read, batch by batch.
    later = tf.data.Dataset.from_tensors(x).concatenate(tf.data.Dataset.from_tensors(wrong))
    for data in (later, iter([x, wrong])):
        call = inspect.signature(keras.Model.fit).bind(trainer, data, epochs=2)
        arguments = trainer.with_checked_labels(call)
        assert arguments["epochs"] == 2
        read = iter(arguments["x"])
        next(read)
        with pytest.raises(ERRORS, match=rf"(?s)batch.{{1,3}}1.{{1,3}}of x holds label.*{classes + 1}"):
            next(read)
    named = Read(good, dict.fromkeys(range(1, classes), "thing"))
    batches(named).check_classes(classes)
    assert named.reads == 0
    doubtful = batches(Read(good, {classes: "other"}))
    for _ in range(2):
        doubtful.check_classes(classes)
    assert doubtful.examples.reads == len(good)


def test_checkpoints_hold_everything(case, tmp_path):
    name, trainer, _, _ = case
    if name == "GANTrainer":
        with pytest.raises(
            ValueError, match=r"^ModelCheckpoint cannot save a whole GANTrainer: pass save_weights_only"
        ):
            check_saving(trainer, [keras.callbacks.ModelCheckpoint(tmp_path / "whole.keras")])
        check_saving(trainer, [keras.callbacks.ModelCheckpoint(tmp_path / "x.weights.h5", save_weights_only=True)])
    else:
        trainer.compile(keras.optimizers.Adam(0.5), jit_compile=False)
        trainer.optimizer.build(trainer.trainable_variables)
        trainer.save(tmp_path / "whole.keras")
        again = keras.saving.load_model(tmp_path / "whole.keras")
        assert type(again) is type(trainer)
        settings = {key for key in trainer.get_config() if key not in ("model", "detector", "localiser", "encoder")}
        assert all(again.get_config()[key] == trainer.get_config()[key] for key in settings)
        for one, other in zip(again.variables, trainer.variables, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=one.path)
    keras.random.uniform((3,), seed=trainer.seeds)  # moves on
    file = tmp_path / "state.weights.h5"
    trainer.save_weights(file)
    states = [
        *trainer.variables,
        *(trainer.optimizers.variables if name == "GANTrainer" else trainer.optimizer.variables),
    ]
    kept = [state.numpy() for state in states if "dropout" not in state.path]
    for state in states:
        state.assign(keras.ops.ones_like(state))
    trainer.load_weights(file)
    for state, value in zip((state for state in states if "dropout" not in state.path), kept, strict=True):
        np.testing.assert_array_equal(state, value, err_msg=state.path)


@pytest.mark.parametrize("shape", [(4,), (4, 2)])
def test_weights_of_hard_attention_weigh_captions_and_words(shape):
    trainer, x, y = hard_attention()
    found = trainer.captioner(x)
    found = found | {"choices": found["attention"]}  # nothing is drawn, so losses of captions add up

    def loss(weights, part=slice(None)):
        targets, outputs = ({key: value[part] for key, value in one.items()} for one in (y, found))
        return float(trainer.compute_loss(y=targets, y_pred=outputs, sample_weight=weights, training=False))

    ones, half = np.ones(shape, "float32"), np.ones(shape, "float32")
    half[2:] = 0
    assert loss(ones) == pytest.approx(loss(None), rel=1e-6)
    assert loss({"logits": 3 * ones}) == pytest.approx(3 * loss(None), rel=1e-6)
    assert loss(0 * ones) == 0
    assert loss(half) + loss(ones - half) == pytest.approx(loss(ones), rel=1e-6)


def test_captions_of_weight_0_do_not_move_the_baseline():
    trainer, x, y = hard_attention()
    found = trainer(x)
    for weights, moved in (([0.0] * 4, False), ([0.0, 0.0, 0.0, 1.0], True)):
        trainer.compute_loss(y=y, y_pred=found, sample_weight=np.array(weights, "float32"))
        assert (float(trainer.baseline) != 0) == moved
    alone = float(trainer.baseline)
    trainer.baseline.assign(0.0)
    last = slice(3, None)
    trainer.compute_loss(y={"logits": y["logits"][last]}, y_pred={key: value[last] for key, value in found.items()})
    assert float(trainer.baseline) == pytest.approx(alone, rel=1e-6)


def test_a_second_way_to_resume_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^expected callbacks without BackupAndRestore"):
        Run(epochs=1, callbacks=[keras.callbacks.BackupAndRestore(tmp_path)])


def test_metrics_of_hard_attention_need_targets():
    trainer, x, y = hard_attention()
    trainer.compile("sgd", metrics={"logits": "sparse_categorical_accuracy"}, run_eagerly=True)
    history = trainer.fit(x, y, verbose=0).history
    assert "logits_sparse_categorical_accuracy" in history
    trainer.compile("sgd", metrics={"choices": "mse"}, run_eagerly=True)
    with pytest.raises(ValueError, match=r"outputs that have targets, \['logits'\], received some of \['choices'\]"):
        trainer.fit(x, y, verbose=0)
