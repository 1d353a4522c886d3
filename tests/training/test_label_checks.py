"""Labels are checked in every batch of every kind of data, and the message names the batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_segattn import training
from keras_segattn.training.label_checks import Labels, checked

# Errors of a label out of range: in batches of other kinds, and in data sets.
ERRORS = (ValueError, tf.errors.InvalidArgumentError)


class Batches(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def pairs(*labels, shape=()):
    return [(np.zeros((2, 8, 8, 3), "float32"), np.full((2, *shape), label, "int32")) for label in labels]


def dataset(batches):
    return tf.data.Dataset.from_tensor_slices(keras.tree.map_structure(lambda *parts: np.stack(parts), *batches))


KINDS = {"data set": dataset, "PyDataset": Batches, "iterator": iter}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", [Labels(1, 0, 2), Labels(1, 0, 2, 255), Labels(1, -2, 2)])
def test_every_batch_is_checked_and_named(kind, labels):
    good = [0, 2, labels.least, 1 if labels.ignored is None else labels.ignored]
    for wrong in (labels.least - 1, 3, 254, *([] if labels.ignored else [255])):
        made = checked(KINDS[kind](pairs(*good, wrong)), labels, "data")
        read = map(made.__getitem__, range(made.num_batches)) if kind == "PyDataset" else iter(made)
        assert [int(np.max(next(read)[1])) for _ in good] == good
        with pytest.raises(ERRORS, match=rf"(?s)batch.{{1,3}}4.{{1,3}}of data holds label.*{wrong}.*expected"):
            next(read)


def test_data_of_another_form_are_left_alone():
    for batches in ([{"image": np.zeros(3)}], [(np.zeros(3),)]):
        for make in KINDS.values():
            read = checked(make(batches), Labels("classes", 0, 2), "data")
            assert len([read[0]] if isinstance(read, keras.utils.PyDataset) else list(read)) == 1
    assert checked([1], Labels(1, 0, 2), "data") == [1]


@pytest.mark.parametrize("kind", ["data set", "PyDataset", "function of the epoch"])
def test_training_names_a_later_batch(kind):
    """The first batch is right, and so the checks before training see nothing."""
    image = keras.Input((8, 8, 3))
    segmenter = keras.Model(image, keras.layers.Conv2D(3, 1)(image))
    classifier = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(image)))
    for train, model, shape in (
        (training.train_segmenter, segmenter, (8, 8)),
        (training.train_classifier, classifier, ()),
    ):
        batches = pairs(1, 7, shape=shape)
        made = KINDS[kind](batches) if kind in KINDS else _ByEpoch(batches)
        with pytest.raises(ERRORS, match=r"(?s)batch.{1,3}1.{1,3}of train_data holds label.*7.*expected 0\.\.2"):
            train(model, made, epochs=1, progress=False)


class _ByEpoch:
    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __call__(self, epoch):
        del epoch
        return dataset(self.batches)
