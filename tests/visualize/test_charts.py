import keras
import numpy as np
import pytest

from keras_segattn.visualize import confusion_matrix, training_curves

HISTORY = {
    "loss": [1.0, 0.5, 0.3],
    "val_loss": [1.1, 0.7, float("nan")],
    "mean_iou": [0.2, 0.4, 0.5],
    "val_mean_iou": [0.1, 0.3, 0.4],
    "learning_rate": [1e-2, 1e-3, 1e-4],
}


def is_framed_in_white(picture):
    pixels = np.asarray(picture)
    return all(border.min() == 255 for border in (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:]))


@pytest.mark.parametrize("classes", [1, 3, 15, 16, 60])
def test_confusion_matrix(classes):
    counts = np.random.default_rng(0).integers(0, 10**6, (classes, classes))
    picture = confusion_matrix(counts, labels=[f"class with a $name_ {i}" for i in range(classes)])
    assert is_framed_in_white(picture)
    assert 300 <= min(picture.size) <= max(picture.size) <= 2200


def test_the_colour_is_the_share_of_the_row():
    frequent = np.asarray(confusion_matrix([[10**9, 0], [0, 10**9]]))
    rare = np.asarray(confusion_matrix([[10**9, 0], [0, 1]]))
    dark = (8, 48, 107)  # the end of the colour map
    count = [(pixels == dark).all(axis=-1).sum() for pixels in (frequent, rare)]
    assert count[0] == pytest.approx(count[1], rel=0.05)  # the digits written over it differ


def test_numbers_are_light_on_dark_cells_and_dark_on_light_ones():
    for counts, background, letters in (([[5]], (8, 48, 107), 255), ([[0]], (217, 217, 217), 0)):
        pixels = np.asarray(confusion_matrix(counts))
        row, column = np.median(np.nonzero((pixels == background).all(axis=-1)), axis=1).astype(int)
        middle = pixels[row - 20 : row + 20, column - 30 : column + 30]
        assert (middle == letters).all(axis=-1).any()
        assert not (middle == 255 - letters).all(axis=-1).any()


def test_a_class_that_does_not_occur_is_grey():
    pixels = np.asarray(confusion_matrix(np.array([[3, 1], [0, 0]])))
    assert (pixels == 217).all(axis=-1).sum() > 1000


@pytest.mark.parametrize(
    ("counts", "labels", "message"),
    [
        (np.zeros((2, 3)), None, r"square confusion matrix, received shape \(2, 3\)"),
        (np.array([[1, -1], [0, 0]]), None, "non-negative counts, received int64 -1"),
        (np.array([[1, np.nan], [0, 0]]), None, "non-negative counts"),
        (np.array([["a"]]), None, "non-negative counts, received <U1 no number"),
        (np.eye(2), ["a"], "expected 2 names of classes, received 1: a"),
        (np.eye(2), "ab", "expected 2 names of classes, received the text 'ab'"),
    ],
)
def test_wrong_confusion_matrix(counts, labels, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(counts, labels=labels)


def test_training_curves_grow_by_a_panel_each():
    everything = training_curves(HISTORY)
    assert is_framed_in_white(everything)
    assert everything.width > 2 * training_curves({"loss": [1.0]}).width


def test_training_curves_of_the_file_that_keras_writes(tmp_path):
    image = keras.Input((2,))
    model = keras.Model(image, keras.layers.Dense(1)(image))
    model.compile("sgd", "mse")
    file = tmp_path / "history.csv"
    x = np.zeros((4, 2), "float32")
    log = model.fit(
        x, x[:, :1], epochs=2, validation_data=(x, x[:, :1]), verbose=0, callbacks=[keras.callbacks.CSVLogger(file)]
    )
    assert training_curves(file).tobytes() == training_curves(log.history).tobytes()


def test_wrong_history(tmp_path):
    with pytest.raises(ValueError, match=r"same number of values.* received \{'loss': 2, 'val_loss': 1\}"):
        training_curves({"loss": [1.0, 2.0], "val_loss": [1.0]})
    for nothing in ({}, {"loss": []}):
        with pytest.raises(ValueError, match="at least one"):
            training_curves(nothing)
    file = tmp_path / "history.csv"
    file.write_text("epoch,loss\n0,1.5\n1,none\n")
    with pytest.raises(ValueError, match=r"history\.csv, line 3: loss is 'none', expected a number"):
        training_curves(file)
    file.write_text("epoch,loss,accuracy\n0,1.5,NA\n1,0.5\n")
    with pytest.raises(ValueError, match="line 3: accuracy is None"):
        training_curves(file)
    file.write_text("loss,accuracy\n0.5,0.1\n")
    with pytest.raises(ValueError, match=r"header that starts with epoch, received \['loss', 'accuracy'\]"):
        training_curves(file)
    file.write_text("epoch,loss\n")  # stopped within the first epoch
    with pytest.raises(ValueError, match="at least one"):
        training_curves(file)
    with pytest.raises(FileNotFoundError):
        training_curves(tmp_path / "no.csv")
