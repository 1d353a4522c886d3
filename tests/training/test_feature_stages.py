"""Training of features with a linear classifier, then of a classifier on the frozen features."""

import keras
import numpy as np
import pytest
from training_toys import ToyBatches

from keras_segattn import MultiScaleConvNet
from keras_segattn.losses import PixelCrossEntropy
from keras_segattn.training import train_features_then_classifier, train_segmenter

TINY = {"classes": 3, "alpha": 0.0625, "scales": 2}


def models(**arguments):
    keras.utils.set_random_seed(0)
    return MultiScaleConvNet(hidden=None, **TINY), MultiScaleConvNet(hidden=8, **{**TINY, **arguments})


@pytest.mark.usefixtures("eagerly")
def test_the_classifier_is_trained_on_the_features_of_the_first_step(tmp_path):
    batches = ToyBatches(images=4)
    linear, classifier = models()
    classifier.get_layer("conv2").trainable = False
    before = linear.get_layer("conv3").get_weights()[0].copy()
    arguments = {
        "epochs": (2, 1),
        "loss": PixelCrossEntropy(class_weights=[1.0, 2.0, 2.0]),
        "run_dir": tmp_path,
        "progress": False,
    }
    first, second = train_features_then_classifier(linear, classifier, batches, **arguments)
    assert [len(history.history["loss"]) for history in (first, second)] == [2, 1]
    features = ("conv1_y", "conv1_uv", "conv2", "conv3")
    assert np.abs(linear.get_layer("conv3").get_weights()[0] - before).max() > 0
    for name in features:
        for a, b in zip(linear.get_layer(name).get_weights(), classifier.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert [classifier.get_layer(name).trainable for name in features] == [True, True, False, True]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1-features", "2-classifier"]

    # Finished steps are loaded, not trained again.
    again = models()
    train_features_then_classifier(*again, batches, **arguments)
    for a, b in zip(again[1].get_weights(), classifier.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("eagerly")
def test_a_class_that_never_occurs_and_pictures_without_labels():
    batches = ToyBatches(images=4)
    batches.mask = np.where(batches.mask == 2, 1, batches.mask)
    batches.mask[0] = 255
    linear, _ = models()
    history = train_segmenter(linear, batches, epochs=1, recipe="adamw-cosine", progress=False)
    assert np.isfinite(history.history["loss"]).all()
    assert all(np.isfinite(weight).all() for weight in linear.get_weights())


def test_a_mask_of_another_size_is_refused():
    batches = ToyBatches(images=4)
    batches.mask = batches.mask[:, :-1]
    with pytest.raises(ValueError, match="mask"):
        train_features_then_classifier(*models(), batches, epochs=1)


@pytest.mark.parametrize(
    ("changes", "epochs", "message"),
    [
        ({}, (1, 2, 3), "expected one number of epochs per step, received 3 for 2 steps"),
        ({"alpha": 0.125}, 1, "layer 'conv2' has shapes"),
        ({"hidden": None}, 1, "of 5 layers of 'multi_scale_conv_net' with weights, 5 are in"),
    ],
)
def test_bad_arguments(changes, epochs, message):
    keras.utils.set_random_seed(0)
    other = MultiScaleConvNet(**{**TINY, "hidden": 8, **changes})
    with pytest.raises(ValueError, match=message):
        train_features_then_classifier(models()[0], other, ToyBatches(), epochs=epochs)
