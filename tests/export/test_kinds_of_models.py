"""Sequential and subclassed models: each works like a functional model, or one sentence says what to do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_segattn import export, facts_of, graph, load, training
from keras_segattn.fields import Tokens, Vectors

IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")


class Network(keras.Model):
    def __init__(self):
        super().__init__()
        self.convolution = keras.layers.Conv2D(4, 1)

    def call(self, x):
        return self.convolution(x)


def sequential(*head):
    layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 1), keras.layers.BatchNormalization(), *head]
    return keras.Sequential(layers, name="line")


def subclassed():
    model = Network()
    model(IMAGES)
    return model


def unbuilt():
    return keras.Sequential([keras.layers.Conv2D(4, 1)])


def batches(*label):
    return tf.data.Dataset.from_tensor_slices((IMAGES, np.zeros((4, *label), "int32"))).batch(2)


def segmenters(model, _):
    training.evaluate_segmenter(model, batches(8, 8), classes=4)
    return training.train_segmenter(model, batches(8, 8), epochs=1, progress=False).history["loss"]


def written(write, name):
    return lambda model, folder: write(model, folder / name).passed


USES = {
    "segmenter": segmenters,
    "tflite": written(export.tflite, "line.tflite"),
    "saved_model": written(export.saved_model, "served"),
    "facts": lambda model, _: facts_of(model).inputs,
    "load": lambda model, _: load(model, task="segment").predict(IMAGES[0]).mask.shape == (8, 8),
}


@pytest.mark.parametrize("use", USES)
def test_a_sequential_model_is_used_like_a_functional_one(use, tmp_path):
    assert USES[use](sequential(), tmp_path)


def test_what_trains_a_sequential_model_trains_its_own_weights():
    model = sequential(keras.layers.GlobalAveragePooling2D())
    before = model.get_weights()[0]
    training.train_classifier(model, batches(), epochs=1, progress=False)
    assert np.abs(model.get_weights()[0] - before).max() > 0


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("make", "remedy"), [(subclassed, r"keras\.Model\(x, model\(x\)\)"), (unbuilt, r"keras\.Input")]
)
def test_other_models_are_refused_in_one_sentence(use, make, remedy, tmp_path):
    with pytest.raises(TypeError, match=f"expected a functional keras.Model, received .*{remedy}"):
        USES[use](make(), tmp_path)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_the_remedy_works():
    model, x = subclassed(), keras.Input((8, 8, 3))
    wrapped = keras.Model(x, model(x))
    assert graph.functional(wrapped) is wrapped
    assert training.evaluate_segmenter(wrapped, batches(8, 8), classes=4)["mean_iou"] >= 0


def test_ids_that_an_embedding_reads_are_tokens_also_without_a_card():
    ids = keras.Input((5,), dtype="int32", name="ids")
    pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(9, 4)(ids))
    model = keras.Model(ids, keras.layers.Dense(3)(pooled))
    assert facts_of(model).inputs == {"ids": Tokens("ids", 9)}
    few = keras.Input((5,), dtype="int32")  # no room for the special tokens
    assert facts_of(keras.Model(few, keras.layers.Embedding(2, 4)(few))).inputs == {few.name: Vectors()}
