import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics
from training_toys import ToyBatches, ToySequence, toy_model

from keras_segattn import FCN8s, preprocessing_of
from keras_segattn.fields import Picture
from keras_segattn.training import evaluate_segmenter, predict_mask


def test_scores_are_those_of_scikit_learn():
    model, batches = toy_model(), ToyBatches()
    found = evaluate_segmenter(model, batches, classes=3)
    valid = batches.mask != 255
    labels = batches.mask[valid]
    guesses = np.asarray(model(batches.image)).argmax(-1)[valid]
    matrix = metrics.confusion_matrix(labels, guesses, labels=range(3))
    np.testing.assert_array_equal(found["confusion_matrix"], matrix)
    iou = metrics.jaccard_score(labels, guesses, average=None)
    np.testing.assert_allclose(found["iou"], iou)
    assert found["mean_iou"] == pytest.approx(iou.mean())
    assert found["pixel_accuracy"] == pytest.approx(metrics.accuracy_score(labels, guesses))
    assert found["mean_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, guesses))
    weighted = metrics.jaccard_score(labels, guesses, average="weighted")
    assert found["frequency_weighted_iou"] == pytest.approx(weighted)
    sequence = evaluate_segmenter(model, ToySequence(batches), classes=3)
    np.testing.assert_array_equal(sequence["confusion_matrix"], matrix)


def test_absent_classes_do_not_count():
    mask = np.zeros((1, 4, 4), "int32")
    data = tf.data.Dataset.from_tensors((np.zeros((1, 4, 4, 3), "float32"), mask))
    found = evaluate_segmenter(toy_model(), data, classes=3)  # zero images give zero logits: class 0
    np.testing.assert_array_equal(found["iou"], [1, np.nan, np.nan])
    assert found["mean_iou"] == found["mean_accuracy"] == found["pixel_accuracy"] == 1
    ignored = data.map(lambda image, mask: (image, mask + 255))
    assert np.isnan(evaluate_segmenter(toy_model(), ignored, classes=3)["mean_iou"])


def test_a_class_that_is_ignored_in_bulk_is_told():
    mask = np.zeros((1, 4, 4), "int32")
    mask[:, 1:3] = 255
    data = tf.data.Dataset.from_tensors((np.zeros((1, 4, 4, 3), "float32"), mask))
    with pytest.warns(UserWarning, match=r"hold no labels but 0 and the ignored label 255 \(50% of the pixels\)"):
        evaluate_segmenter(toy_model(), data, classes=3)


def test_late_bad_label_is_an_error():
    data = tf.data.Dataset.from_tensors((np.zeros((1, 4, 4, 3), "float32"), np.zeros((1, 4, 4), "int32")))
    late = data.concatenate(data.map(lambda image, mask: (image, mask + 7)))
    with pytest.raises(ValueError, match="received 7"):
        evaluate_segmenter(toy_model(), late, classes=3)
    with pytest.raises(ValueError, match="expected a model of 4 classes"):
        evaluate_segmenter(toy_model(), data, classes=4)


def test_predict():
    model = toy_model()
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), "uint8")
    preprocessing = Picture("BGR", (100.0, 110.0, 120.0))
    mask = predict_mask(model, image, preprocessing)
    assert (mask.shape, mask.dtype) == ((5, 7), np.int32)
    np.testing.assert_array_equal(mask, np.asarray(model(preprocessing(image[None]))).argmax(-1)[0])
    assert predict_mask(model, image[:1, :1], preprocessing).shape == (1, 1)
    assert predict_mask(model, image.astype("float32")).shape == (5, 7)


def test_nan_in_the_weights_is_no_prediction():
    model = toy_model()
    model.get_layer("score").set_weights([np.full(w.shape, np.nan) for w in model.get_layer("score").get_weights()])
    with pytest.raises(ValueError, match="'toy' gives NaN scores"):
        predict_mask(model, np.zeros((4, 4, 3), "uint8"))
    with pytest.raises(ValueError, match="'toy' gives NaN scores"):
        evaluate_segmenter(model, ToyBatches(), classes=3)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4)), "one picture"),
        (np.zeros((0, 4, 3)), "one picture"),
        (np.full((4, 4, 3), np.nan), "NaN"),
        (np.zeros((4, 4, 1)), r"takes pictures \(None, None, 3\), received \(4, 4, 1\)"),
    ],
)
def test_bad_pictures(image, message):
    with pytest.raises(ValueError, match=message):
        predict_mask(toy_model(), image)


def test_a_labelling_gets_probabilities_and_the_picture():
    given = []

    def labelling(probabilities, picture):
        given.append((probabilities, picture))
        return picture[..., 0] % 3

    model = FCN8s(classes=3, backbone="squeezenet1_1", alpha=0.05)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 8, 9, 3), "uint8")
    mask = pictures[..., 0].astype("int32") % 3
    data = tf.data.Dataset.from_tensors((preprocessing_of(model)(pictures), mask))
    assert evaluate_segmenter(model, data, classes=3, labelling=labelling)["mean_iou"] == 1
    np.testing.assert_array_equal([picture for _, picture in given], pictures)
    for probabilities, picture in given:
        assert picture.dtype == np.uint8
        np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)  # float32 softmax
    found = predict_mask(model, pictures[0], preprocessing_of(model), labelling)
    np.testing.assert_array_equal(found, mask[0])


def test_probabilities_are_not_normalised_twice():
    given = []
    model = FCN8s(classes=3, backbone="squeezenet1_1", alpha=0.05, classifier_activation="sigmoid")
    image = np.zeros((4, 4, 3), "uint8")
    predict_mask(model, image, preprocessing_of(model), lambda p, _: given.append(p) or p.argmax(-1))
    np.testing.assert_array_equal(given[0], 0.5)  # the scores of a new network are 0
