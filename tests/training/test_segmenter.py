import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_toys import ToyBatches, ToySequence, toy_model

from keras_segattn.losses import PixelCrossEntropy
from keras_segattn.training import CheckpointError, TrainingDivergedError, train_segmenter

FAST = {"epochs": 1, "progress": False}


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


def test_learns_and_leaves_a_run_directory(tmp_path, capsys):
    model = toy_model(dropout=0, normalization=False)
    history = train_segmenter(
        model, ToyBatches(), ToyBatches(), epochs=8, recipe="adamw-cosine", learning_rate=0.1, run_dir=tmp_path / "run"
    )
    assert "Epoch 8/8" in capsys.readouterr().out
    assert history.epoch == list(range(8))
    assert history.history["loss"][-1] < 0.7 * history.history["loss"][0]
    assert history.history["val_mean_iou"][-1] > 0.5
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "best.keras",
        "checkpoint.npz",
        "history.csv",
        "model.keras",
        "settings.json",
        "tensorboard",
    }
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert rows[0].startswith("epoch,")
    assert [row.split(",")[0] for row in rows[1:]] == list("12345678")
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["steps_per_epoch"] == 6
    final = keras.models.load_model(tmp_path / "run" / "model.keras")
    for a, b in zip(final.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("eagerly")
def test_more_epochs_continue_a_finished_run(tmp_path):
    first = train_segmenter(toy_model(), ToyBatches(), run_dir=tmp_path, **FAST)
    (tmp_path / ".partial.1.checkpoint.npz").touch()  # left by a process that was killed while it wrote
    model = toy_model()
    again = train_segmenter(model, ToyBatches(), run_dir=tmp_path, **FAST)  # training is finished already
    assert again.history == first.history
    assert not list(tmp_path.glob(".partial.*"))
    longer = train_segmenter(toy_model(), ToyBatches(), run_dir=tmp_path, epochs=2, progress=False)
    assert longer.history["loss"][:1] == first.history["loss"]
    assert len(longer.history["loss"]) == 2
    with pytest.raises(CheckpointError, match=r"other settings .*optimizer"):
        train_segmenter(toy_model(), ToyBatches(), run_dir=tmp_path, learning_rate=0.5, **FAST)
    fresh = train_segmenter(toy_model(), ToyBatches(), run_dir=tmp_path, learning_rate=0.5, resume=False, **FAST)
    assert len(fresh.history["loss"]) == 1


class NanIn(ToyBatches):
    """Batches with a NaN pixel from epoch `epoch` on."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def __call__(self, epoch):
        def spoil(image, mask):
            return tf.where(tf.cast(epoch, tf.int32) >= self.epoch, np.float32("nan"), 1.0) * image, mask

        return super().__call__(epoch).map(spoil)


@pytest.mark.usefixtures("eagerly")
def test_nan_stops_before_the_checkpoint_is_overwritten(tmp_path):
    train_segmenter(toy_model(), NanIn(1), run_dir=tmp_path, **FAST)
    good = {name: (tmp_path / name).read_bytes() for name in ("checkpoint.npz", "history.csv", "model.keras")}
    with pytest.raises(TrainingDivergedError, match=r"(conv1/kernel|loss) .* at epoch 2, step 1.*last good checkpoint"):
        train_segmenter(toy_model(), NanIn(1), run_dir=tmp_path, epochs=3, checkpoint_steps=1, progress=False)
    for name, content in good.items():
        assert (tmp_path / name).read_bytes() == content
    with pytest.raises(ValueError, match="images of train_data must be finite"):
        train_segmenter(toy_model(), NanIn(0), **FAST)


@pytest.mark.usefixtures("eagerly")
def test_diverging_loss_is_an_error():
    with pytest.raises(TrainingDivergedError, match=r"loss became (nan|inf) at epoch 1, step \d+: lower the learning"):
        train_segmenter(toy_model(normalization=False), ToyBatches(), learning_rate=1e20, **FAST)


@pytest.mark.usefixtures("eagerly")
def test_kinds_of_data():
    batches = ToyBatches()
    known = tf.data.Dataset.from_tensor_slices((batches.image, batches.mask)).batch(2)
    unknown = known.filter(lambda *_: True)
    assert unknown.cardinality() == tf.data.UNKNOWN_CARDINALITY
    losses = [
        train_segmenter(model, data, data, **FAST).history["val_loss"][0]
        for data in (known, unknown, ToySequence(batches))
        for model in [toy_model(dropout=0, normalization=False)]
        if not model.set_weights([np.full(w.shape, 0.1) for w in model.get_weights()])
    ]
    assert losses[1:] == pytest.approx(losses[:1] * 2, rel=1e-6)  # the same batches in the same order


@pytest.mark.usefixtures("eagerly")
@pytest.mark.thorough
def test_mixed_precision_keeps_a_float32_model(tmp_path):
    for policy in (True, "mixed_bfloat16"):
        model = toy_model()
        history = train_segmenter(
            model,
            ToyBatches(),
            ToyBatches(),
            mixed_precision=policy,
            learning_rate=0.05,
            epochs=3,
            run_dir=tmp_path / str(policy),
            progress=False,
        )
        assert np.isfinite(history.history["loss"]).all()
        assert history.history["loss"][-1] < history.history["loss"][0]
        best = keras.models.load_model(tmp_path / str(policy) / "best.keras")
        for one in (model, best):
            assert {layer.dtype_policy.name for layer in one.layers} == {"float32"}
            assert {variable.dtype for variable in one.trainable_variables} == {"float32"}
            assert one(np.zeros((1, 8, 8, 3), "float32")).dtype == "float32"


def with_labels(*labels, dtype="int32"):
    mask = np.zeros((2, 8, 8), dtype)
    mask.flat[: len(labels)] = labels
    return tf.data.Dataset.from_tensors((np.zeros((2, 8, 8, 3), "float32"), mask))


EMPTY = ToyBatches().__call__(0).take(0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (with_labels(0, 3), r"labels of train_data must be 0\.\.2 or the ignore label 255, received 3"),
        (with_labels(-1), "received -1"),
        (with_labels(0, dtype="float32"), "must be integers, received float32"),
        (EMPTY, "train_data is empty"),
        (EMPTY.filter(lambda *_: True), "train_data is empty"),
        (EMPTY.repeat().concatenate(with_labels().repeat()), "never ends"),
        (with_labels().map(lambda image, mask: (image, mask[..., None])), r"masks \(batch, height, width\)"),
        (with_labels().map(lambda image, mask: (image[..., :2], mask)), r"images \(2, 8, 8, 2\), 'toy' expects"),
        (with_labels().map(lambda image, _: image), r"must give \(image, mask\) batches"),
    ],
)
def test_bad_data(data, message):
    with pytest.raises(ValueError, match=message):
        train_segmenter(toy_model(), data, **FAST)


def test_bad_arguments():
    batches = ToyBatches()
    with pytest.raises(TypeError, match="received list"):
        train_segmenter(toy_model(), [1, 2], **FAST)
    with pytest.raises(ValueError, match="unknown recipe 'sota'; expected one of fcn, "):
        train_segmenter(toy_model(), batches, recipe="sota", **FAST)
    with pytest.raises(ValueError, match="epochs must be a positive integer"):
        train_segmenter(toy_model(), batches, epochs=0)
    with pytest.raises(ValueError, match="an optimizer or learning_rate, not both"):
        train_segmenter(toy_model(), batches, optimizer=keras.optimizers.SGD(), learning_rate=0.1, **FAST)
    with pytest.raises(ValueError, match="checkpoint_steps needs"):
        train_segmenter(toy_model(), batches(0), checkpoint_steps=1, **FAST)
    with pytest.raises(ValueError, match=r"monitor must be one of 'loss', .*'val_mean_iou'.*, received 'val_miou'"):
        train_segmenter(toy_model(), batches, monitor="val_miou", **FAST)
    with pytest.raises(ValueError, match="mixed_precision must be one of"):
        train_segmenter(toy_model(), batches, mixed_precision="float16", **FAST)
    softmax = keras.layers.Activation("softmax")
    probabilities = keras.Model((image := keras.Input((None, None, 3))), softmax(toy_model()(image)))
    with pytest.raises(ValueError, match="classifier_activation=None"):
        train_segmenter(probabilities, batches, **FAST)
    image = keras.Input((None, None, 3))
    classifier = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image))
    with pytest.raises(ValueError, match="expected one output"):
        train_segmenter(classifier, batches, **FAST)


@pytest.mark.usefixtures("eagerly")
def test_own_optimizer_loss_and_callback():
    class Count(keras.callbacks.Callback):
        steps = 0

        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
            self.steps += 1

    count = Count()
    history = train_segmenter(
        toy_model(),
        ToyBatches(),
        optimizer=keras.optimizers.Adam(0.01),
        loss=PixelCrossEntropy(normalization="sum"),
        callbacks=[count],
        **FAST,
    )
    assert count.steps == 6
    assert history.history["loss"][0] > 10  # a sum over pixels


@pytest.mark.usefixtures("eagerly")
def test_interrupt_leaves_the_model_in_float32_and_training_goes_on(tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
            if batch == 3:
                raise KeyboardInterrupt

    model = toy_model()
    arguments = {"run_dir": tmp_path, "mixed_precision": True, "checkpoint_steps": 2, **FAST}
    with pytest.raises(KeyboardInterrupt):
        train_segmenter(model, ToyBatches(), callbacks=[Interrupt()], **arguments)
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert not (tmp_path / "model.keras").exists()
    assert len(train_segmenter(model, ToyBatches(), **arguments).history["loss"]) == FAST["epochs"]
    assert (tmp_path / "model.keras").exists()
    assert not list(tmp_path.glob(".partial.*"))
