"""The Keras metric against the NumPy functions."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn.losses import PixelCrossEntropy
from keras_segattn.metrics import SegmentationScores, confusion_matrix, segmentation_scores

TOLERANCE = 1e-6  # the metric's scores are float32
NAMES = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")


def batch(seed, classes=3, shape=(2, 5, 6)):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, shape)
    y[rng.random(shape) < 0.2] = 255
    return y, rng.normal(size=(*shape, classes)).astype("float32")


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(1, 5))
def test_several_batches_are_one_confusion_matrix(seed, classes):
    metric = SegmentationScores(classes)
    total = np.zeros((classes, classes), int)
    for step in range(2):
        y, scores = batch(seed + step, classes)
        metric.update_state(y, scores)
        total += confusion_matrix(y, scores.argmax(-1), classes)
    np.testing.assert_array_equal(metric.confusion_matrix(), total)
    expected = segmentation_scores(total)
    for name, value in metric.result().items():
        assert float(value) == pytest.approx(expected[name], abs=TOLERANCE)


def test_more_pixels_than_a_float32_counts_exactly():
    metric = SegmentationScores(1)
    side = 2500  # 3 · 2500² > 2^24
    for _ in range(3):
        metric.update_state(np.zeros((1, side, side), "uint8"), np.zeros((1, side, side, 1), "float16"))
    metric.update_state(np.zeros((1, 1, 1), int), np.zeros((1, 1, 1, 1)))
    assert metric.confusion_matrix()[0, 0] == 3 * side**2 + 1


def test_more_pixels_than_an_int32_counts():
    metric = SegmentationScores(1)
    metric._high.assign([[2.0**22]])
    metric._low.assign([[2.0**20 - 1]])
    metric.update_state(np.zeros((1, 1, 3), int), np.zeros((1, 1, 3, 1)))
    assert metric.confusion_matrix()[0, 0] == 2**42 + 2**20 - 1 + 3
    assert float(metric.result()["mean_iou"]) == 1


def test_nothing_labelled_gives_nan():
    metric = SegmentationScores(2)
    metric.update_state(np.full((1, 2, 2), 255), np.zeros((1, 2, 2, 2)))
    assert all(np.isnan(float(value)) for value in metric.result().values())


def test_label_out_of_range_does_not_corrupt_the_matrix():
    metric = SegmentationScores(2)
    metric.update_state(np.array([[[0, 7, -3, 1]]]), np.zeros((1, 1, 4, 2), "float32"))
    np.testing.assert_array_equal(metric.confusion_matrix(), [[1, 0], [1, 0]])


def test_reset():
    metric = SegmentationScores(3)
    metric.update_state(*batch(0))
    metric.reset_state()
    assert metric.confusion_matrix().sum() == 0


def test_fit_and_evaluate_log_the_four_scores():
    image = keras.Input((5, 6, 2))
    model = keras.Model(image, keras.layers.Conv2D(3, 1)(image))
    model.compile("sgd", PixelCrossEntropy(), metrics=[SegmentationScores(3)])
    x = np.random.default_rng(0).normal(size=(4, 5, 6, 2)).astype("float32")
    y = batch(0, shape=(4, 5, 6))[0]
    history = model.fit(x, y, batch_size=2, validation_data=(x, y), verbose=0).history
    assert {*NAMES, *(f"val_{name}" for name in NAMES)} <= set(history)
    logged = model.evaluate(x, y, batch_size=3, verbose=0, return_dict=True)
    expected = segmentation_scores(confusion_matrix(y, model.predict(x, verbose=0).argmax(-1), 3))
    for name in NAMES:
        assert logged[name] == pytest.approx(expected[name], abs=TOLERANCE)


@pytest.mark.one_backend
def test_bad_arguments():
    with pytest.raises(ValueError, match="classes must be a positive integer"):
        SegmentationScores(0)
    with pytest.raises(ValueError, match=r"expects labels .* received \(2, 5, 6\) and \(2, 5, 6, 3\)"):
        SegmentationScores(4).update_state(*batch(0))
    with pytest.raises(ValueError, match="takes no sample weights"):
        SegmentationScores(3).update_state(*batch(0), sample_weight=np.ones(2))


def test_config_round_trip():
    metric = SegmentationScores(4, ignore_label=None, name="scores")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert again.get_config() == metric.get_config()
