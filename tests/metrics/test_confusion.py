"""Scores against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from keras_segattn.metrics import confusion_matrix, segmentation_scores

TOLERANCE = 1e-12  # both sides are float64


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 6), size=st.integers(1, 60))
def test_against_scikit_learn(seed, classes, size):
    rng = np.random.default_rng(seed)
    truth, prediction = rng.integers(0, classes, size), rng.integers(0, classes, size)
    confusion = confusion_matrix(truth, prediction, classes)
    np.testing.assert_array_equal(confusion, sklearn_metrics.confusion_matrix(truth, prediction, labels=range(classes)))
    scores = segmentation_scores(confusion)
    assert scores["pixel_accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(truth, prediction), abs=TOLERANCE)
    recall = sklearn_metrics.recall_score(truth, prediction, labels=np.unique(truth), average="macro", zero_division=0)
    assert scores["mean_accuracy"] == pytest.approx(recall, abs=TOLERANCE)
    occurring = np.union1d(truth, prediction)
    iou = sklearn_metrics.jaccard_score(truth, prediction, labels=occurring, average=None, zero_division=0)
    np.testing.assert_allclose(scores["iou"][occurring], iou, atol=TOLERANCE)
    assert np.isnan(scores["iou"][np.setdiff1d(np.arange(classes), occurring)]).all()
    assert scores["mean_iou"] == pytest.approx(iou.mean(), abs=TOLERANCE)
    weighted = sklearn_metrics.jaccard_score(truth, prediction, average="weighted", zero_division=0)
    assert scores["frequency_weighted_iou"] == pytest.approx(weighted, abs=TOLERANCE)


def test_ignored_label_and_ranges():
    truth, prediction = np.array([[0, 255], [1, 1]]), np.array([[0, 9], [0, 1]])
    np.testing.assert_array_equal(confusion_matrix(truth, prediction, 2), [[1, 0], [1, 1]])
    with pytest.raises(ValueError, match=r"truth holds label 255, expected 0\.\.1"):
        confusion_matrix(truth, prediction, 2, ignore_label=None)
    with pytest.raises(ValueError, match=r"prediction holds label 7, expected 0\.\.1"):
        confusion_matrix(np.zeros(2, int), np.array([0, 7]), 2)
    with pytest.raises(ValueError, match="differ in shape"):
        confusion_matrix(truth, prediction[0], 2)


@pytest.mark.one_backend
def test_maps_of_scores_are_refused():
    with pytest.raises(ValueError, match="prediction must hold integers, received float64; give the argmax"):
        confusion_matrix(np.zeros(2, int), np.zeros(2), 2)


@pytest.mark.parametrize("count", [-1, np.nan, np.inf])
def test_no_counts(count):
    with pytest.raises(ValueError, match="expected non-negative counts"):
        segmentation_scores(np.array([[1, count], [0, 1]]))


def test_nothing_counted():
    scores = segmentation_scores(np.zeros((3, 3)))
    assert all(np.isnan(value).all() for value in scores.values())
    with pytest.raises(ValueError, match=r"square confusion matrix, received shape \(2, 3\)"):
        segmentation_scores(np.zeros((2, 3)))
