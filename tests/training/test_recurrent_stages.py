"""Deep supervision of every instance, and the stages of recurrent networks."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_segattn import RecurrentConvNet
from keras_segattn.losses import PixelCrossEntropy
from keras_segattn.segmentation.recurrent_conv_net import depths
from keras_segattn.training import train_recurrent_stages, train_segmenter

CLASSES, IGNORED = 3, 255
TINY = {"widths": (4, 4), "classes": CLASSES}
# Rounding of float32 sums in another order.
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


def examples(count=4):
    """Return pictures of two halves in random colours and their masks; the last class never occurs."""
    mask = np.random.default_rng(1).integers(0, CLASSES - 1, (count, 12, 2)).repeat(8, axis=-1)
    noise = np.random.default_rng(0).normal(size=(count, 12, 16, 3))
    return (noise + 2 * mask[..., None]).astype("float32"), mask.astype("int32")


def batches(image, mask):
    return tf.data.Dataset.from_tensor_slices((image, mask)).batch(2)


def test_the_loss_is_the_sum_over_all_instances():
    model, (image, mask) = RecurrentConvNet(instances=2, **TINY), examples(2)
    maps = keras.Model(model.input, [model.get_layer("scores_1").output, model.output])
    first, second = map(ops.convert_to_numpy, maps(image))
    margin = (first.shape[1] - 12) // 2
    loss = PixelCrossEntropy()
    terms = [float(loss(mask, logits)) for logits in (first[:, margin:-margin, margin:-margin], second)]
    assert abs(terms[0] - terms[1]) > 100 * TOLERANCE
    options = {"epochs": 1, "recipe": "recurrent-cnn", "progress": False}
    alone = train_segmenter(model, batches(image, mask), learning_rate=1e-12, **options)
    both = train_segmenter(model, batches(image, mask), learning_rate=1e-12, supervised=depths(model), **options)
    assert alone.history["loss"] == pytest.approx(terms[1:], rel=TOLERANCE)
    assert both.history["loss"] == pytest.approx([sum(terms)], rel=TOLERANCE)
    # Scores are those of the last instance.
    assert both.history["mean_iou"] == alone.history["mean_iou"]


@pytest.mark.usefixtures("eagerly")
def test_stages_share_their_weights_and_resume(tmp_path):
    def build(count):
        return RecurrentConvNet(instances=count, patches=True, **TINY)

    def patches(model):
        image, mask = examples()
        side = model.input_shape[1]
        whole = np.pad(image, [(0, 0), (side // 2,) * 2, (side // 2,) * 2, (0, 0)])
        return batches(whole[:, 6 : 6 + side, 8 : 8 + side], mask[:, 6:7, 8:9])

    options = {"instances": (1, 2), "epochs": 1, "learning_rate": 1e-2, "run_dir": tmp_path, "progress": False}
    first, second = train_recurrent_stages(build, patches, **options)
    assert [model.input_shape[1] for model in (first.model, second.model)] == [23, 67]
    assert first.copied == ()
    assert second.copied == ("conv1", "conv2", "score")
    facts = [json.loads((tmp_path / name / "settings.json").read_text()) for name in ("1-instances1", "2-instances2")]
    assert [one.get("supervised") for one in facts] == [None, ["scores_1"]]
    # The second stage moved each weight by little more than rate × gradient, so it did not start from random weights.
    for before, after in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
        assert (before != after).any()
        np.testing.assert_allclose(before, after, atol=0.1)

    again = train_recurrent_stages(build, patches, **options)
    labelling = RecurrentConvNet(instances=2, **TINY)
    labelling.set_weights(again[-1].model.get_weights())
    for one, other in zip(labelling.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.thorough
def test_whole_pictures_are_learnt_also_if_a_class_never_occurs():
    model, (image, mask) = RecurrentConvNet(instances=2, **TINY), examples()
    history = train_segmenter(
        model,
        batches(image, mask),
        epochs=30,
        recipe="adamw-cosine",
        learning_rate=0.01,
        supervised=depths(model),
        progress=False,
    )
    assert history.history["loss"][-1] < 0.3 * history.history["loss"][0]
    predicted = ops.convert_to_numpy(model(image)).argmax(axis=-1)
    assert (predicted == mask).mean() > 0.9
    assert set(np.unique(predicted)) <= {0, 1}


@pytest.mark.usefixtures("eagerly")
def test_pictures_without_labels_change_nothing():
    model, (image, mask) = RecurrentConvNet(instances=2, **TINY), examples(2)
    before = model.get_weights()
    history = train_segmenter(
        model,
        batches(image, np.full_like(mask, IGNORED)),
        epochs=1,
        recipe="recurrent-cnn",
        supervised=depths(model),
        progress=False,
    )
    assert history.history["loss"] == [0.0]
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_masks_of_another_size_and_wrong_layers_are_refused():
    image, mask = examples(2)
    patch_model = RecurrentConvNet(instances=1, patches=True, **TINY)
    patch = np.zeros((2, 23, 23, 3), "float32")
    with pytest.raises(
        ValueError, match=r"gives \(2, 1, 1, 3\) for images \(2, 23, 23, 3\), but the masks are \(2, 23"
    ):
        train_segmenter(patch_model, batches(patch, np.zeros((2, 23, 23), "int32")), epochs=1)
    model = RecurrentConvNet(instances=2, **TINY)
    with pytest.raises(ValueError, match=r"but the masks are \(2, 12, 15\)"):
        train_segmenter(model, batches(image, mask[..., :-1]), epochs=1)
    for name, message in (
        ("scores_3", "has no layer 'scores_3' to supervise"),
        ("conv2", r"expected logits of 3 classes from layer 'conv2', received"),
    ):
        with pytest.raises(ValueError, match=message):
            train_segmenter(model, batches(image, mask), epochs=1, supervised=[name])
    patch_model = RecurrentConvNet(instances=2, patches=True, **TINY)
    with pytest.raises(ValueError, match="received 2 for 1 stages"):
        train_recurrent_stages(lambda _: patch_model, lambda _: batches(image, mask), instances=[1], epochs=[1, 2])


def test_the_margin_is_equal_on_all_sides():
    image = keras.Input((12, 16, 3), name="image")
    narrow = keras.layers.Conv2D(CLASSES, (3, 1), name="narrow")(image)
    model = keras.Model(image, keras.layers.Cropping2D(((1, 1), (2, 2)))(keras.layers.Identity(name="wide")(narrow)))
    with pytest.raises(ValueError, match=r"is not the centre of the output of layer 'wide'"):
        train_segmenter(model, batches(examples()[0], examples()[1][:, :8, :12]), epochs=1, supervised=["wide"])
