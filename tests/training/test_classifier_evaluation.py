import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score

from keras_segattn.classification.squeezenet import SqueezeNet1_1
from keras_segattn.facts import preprocessing_of
from keras_segattn.fields import Picture
from keras_segattn.training import classify, crops, evaluate_classifier, top_k_error

# Outputs are float32, and the two sides compute them in batches of different sizes.
TOLERANCE = 1e-5
GREY = Picture(mean=(127.5,) * 3, std=(127.5,) * 3)


def toy(size=16, classes=6, activation=None, outputs="tensor", seed=0):
    """Make a classifier whose logits differ from crop to crop."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 3), name="image")
    x = keras.layers.Flatten(name="flatten")(keras.layers.AveragePooling2D(4, name="pool")(image))
    dense = keras.layers.Dense(classes, activation=activation, kernel_initializer="he_normal", name="predictions")
    logits = dense(x)
    side = keras.layers.Dense(classes, name="aux_logits")(x)
    return keras.Model(image, {"logits": logits, "aux_logits": side} if outputs == "dict" else logits)


def pictures(count=3):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (20 + 3 * i, 31 - 2 * i, 3), dtype=np.uint8) for i in range(count)]


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("scheme", ["single", "12-crop", "144-crop"])
@pytest.mark.parametrize("batch_size", [7, 200])
def test_probabilities_are_means_over_crops_and_models(scheme, batch_size):
    small, large = toy(), toy(size=24, seed=1)  # of different input sizes
    found = classify([small, large, large], pictures(), scheme, preprocessing=GREY, batch_size=batch_size)
    assert found.shape == (3, 6)
    for picture, have in zip(pictures(), found, strict=True):
        each = [
            softmax(keras.ops.convert_to_numpy(model(GREY(crops(picture, size, scheme))))).mean(axis=0)
            for model, size in ((small, 16), (large, 24))
        ]
        np.testing.assert_allclose(have, (each[0] + 2 * each[1]) / 3, atol=TOLERANCE)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=TOLERANCE)


def test_a_softmax_of_any_kind_is_not_taken_twice():
    model = toy()
    expected = classify(model, pictures(), preprocessing=GREY)
    for ending in (keras.layers.Softmax(), keras.layers.Activation("softmax"), keras.ops.softmax):
        ended = keras.Model(model.input, ending(model.output))
        np.testing.assert_allclose(classify(ended, pictures(), preprocessing=GREY), expected, atol=TOLERANCE)
    with pytest.raises(ValueError, match="ends in a sigmoid"):
        classify(toy(activation="sigmoid"), pictures(), preprocessing=GREY)


def test_softmax_and_dict_outputs_are_understood():
    expected = classify(toy(), pictures(), preprocessing=GREY)
    for model in (toy(activation="softmax"), toy(outputs="dict"), toy(activation="softmax", outputs="dict")):
        model.set_weights([*toy().get_weights(), *model.get_weights()[2:]])
        np.testing.assert_allclose(classify(model, pictures(), preprocessing=GREY), expected, atol=TOLERANCE)


def test_every_model_gets_its_own_preprocessing():
    other = Picture("BGR", mean=(104.0, 117.0, 123.0))
    together = classify([toy(), toy()], pictures(), preprocessing=[GREY, other])
    apart = [classify(toy(), pictures(), preprocessing=one) for one in (GREY, other)]
    np.testing.assert_allclose(together, np.mean(apart, axis=0), atol=TOLERANCE)
    assert not np.allclose(*apart, atol=1e-3)


def test_preprocessing_and_size_come_from_the_registry():
    model = SqueezeNet1_1(classes=5, input_shape=(None, None, 3), alpha=0.0625)
    preprocessing = preprocessing_of(model)
    found = classify(model, pictures(1))
    view = preprocessing(crops(pictures(1)[0], preprocessing.size[0]))
    np.testing.assert_allclose(found, softmax(keras.ops.convert_to_numpy(model(view)).reshape(1, -1)), atol=TOLERANCE)


def test_one_channel():
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(image)))
    grey = Picture("grey", mean=(0.0,), std=(255.0,))
    assert classify(model, np.zeros((4, 9, 9, 1), np.uint8), "12-crop", preprocessing=grey).shape == (4, 2)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 30), classes=st.integers(3, 12), data=st.data())
def test_error_is_that_of_sklearn(seed, count, classes, data):
    k = data.draw(st.integers(1, classes - 1))
    rng = np.random.default_rng(seed)
    scores, truth = rng.normal(size=(count, classes)), rng.integers(0, classes, count)
    expected = 1 - top_k_accuracy_score(truth, scores, k=k, labels=range(classes))
    assert top_k_error(scores, truth, k) == pytest.approx(expected)


def test_error_of_ties_and_of_all_classes():
    assert top_k_error([[0.5, 0.5]] * 2, [0, 1]) == 0.5
    assert top_k_error([[0.5, 0.5]] * 2, [0, 1], k=2) == 0


def test_evaluate_takes_examples_of_readers_and_pairs(capsys):
    model, images = toy(), pictures()
    best = classify(model, images, "12-crop", preprocessing=GREY).argsort(axis=-1)
    labels = [best[0, -1], best[1, -2], best[2, 0]]  # most, second most and least probable of six
    dataset = tf.data.Dataset.from_generator(
        lambda: ({"image": image, "label": label} for image, label in zip(images, labels, strict=True)),
        output_signature={"image": tf.TensorSpec((None, None, 3), tf.uint8), "label": tf.TensorSpec((), tf.int64)},
    )
    expected = pytest.approx({"top1_error": 2 / 3, "top5_error": 1 / 3})
    assert evaluate_classifier(model, dataset, "12-crop", preprocessing=GREY) == expected
    pairs = zip(images, labels, strict=True)
    assert evaluate_classifier([model], pairs, "12-crop", preprocessing=GREY, progress=False) == expected
    two = evaluate_classifier(toy(classes=2), [(images[0], 0)], preprocessing=GREY)
    assert list(two) == ["top1_error"]


def test_bad_ensembles():
    with pytest.raises(ValueError, match="0 models"):
        classify([], pictures())
    with pytest.raises(ValueError, match="2 models and 1 preprocessings"):
        classify([toy(), toy()], pictures(), preprocessing=[GREY])
    with pytest.raises(ValueError, match=r"same classes, received \[6, 4\]"):
        classify([toy(), toy(classes=4)], pictures(), preprocessing=GREY)
    with pytest.raises(ValueError, match="holds no registered architecture"):
        classify(toy(), pictures())
    with pytest.raises(TypeError, match=r"functional keras\.Model, received"):
        classify(["inception_v4"], pictures(), preprocessing=GREY)
    image = keras.Input((None, None, 3))
    pooled = keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(image)))
    with pytest.raises(ValueError, match="square input_shape"):
        classify(pooled, pictures(), preprocessing=GREY)
    assert classify(pooled, pictures(), preprocessing=Picture(size=(9, 9))).shape == (3, 2)
    with pytest.raises(ValueError, match=r"classifier of images"):
        classify(keras.Model(image, keras.layers.Conv2D(2, 1)(image)), pictures(), preprocessing=GREY)


def test_bad_pictures():
    with pytest.raises(ValueError, match="at least one picture"):
        classify(toy(), [], preprocessing=GREY)
    with pytest.raises(ValueError, match=r"\(height, width, channels\), received shape \(8, 8\)"):
        classify(toy(), [np.zeros((8, 8))], preprocessing=GREY)
    with pytest.raises(ValueError, match="expected 3 channels"):
        classify(toy(), [np.zeros((8, 8, 1))], preprocessing=GREY)
    with pytest.raises(ValueError, match="scheme must be one of"):
        classify(toy(), pictures(), "10-crop", preprocessing=GREY)
    with pytest.raises(ValueError, match="batch_size"):
        classify(toy(), pictures(), preprocessing=GREY, batch_size=0)
    broken = toy()
    broken.get_layer("predictions").bias.assign(np.full(6, np.nan))
    with pytest.raises(ValueError, match="gives NaN"):
        classify(broken, pictures(), preprocessing=GREY)


@pytest.mark.parametrize(
    ("scores", "labels", "k", "message"),
    [
        ([[0.1, 0.9]], [2], 1, r"labels 0\.\.1"),
        ([[0.1, 0.9]], [-1], 1, r"labels 0\.\.1"),
        ([[0.1, 0.9]], [0.5], 1, "integer labels"),
        ([[0.1, 0.9]], [0, 1], 1, r"received \(1, 2\) and \(2,\)"),
        ([[0.1, np.nan]], [0], 1, "NaN"),
        ([[0.1, 0.9]], [0], 3, "at most the number of classes, 2"),
        ([[0.1, 0.9]], [0], 0, "positive integer"),
    ],
)
def test_bad_scores(scores, labels, k, message):
    with pytest.raises(ValueError, match=message):
        top_k_error(scores, labels, k)
