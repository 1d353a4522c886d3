"""Tests of co-localisation: the loss against loops over the paper's formula, the crops, and what is found."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_segattn import data
from keras_segattn.attention import co_localiser, crop_boxes
from keras_segattn.layers import SpatialTransformer
from keras_segattn.training import CoLocalisationTrainer

SIDE, CROP = 32, 8
# The two sides sum some hundred float32 squares in different orders.
TOLERANCE = 1e-5


def encoder():
    """Make an encoder whose features depend only a little on where in a crop things are."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [keras.Input((CROP, CROP, 1)), layers.Conv2D(6, 3, activation="relu"), layers.AveragePooling2D(3)]
    )


def localiser(**changes):
    return co_localiser(**{"input_shape": (SIDE, SIDE, 1), "output_size": CROP} | changes)


def scenes(count=6):
    return np.random.default_rng(0).random((count, SIDE, SIDE, 1)).astype("float32")


def test_the_loss_is_the_paper_s_sum_over_pairs(monkeypatch):
    trainer = CoLocalisationTrainer(localiser(), encoder(), margin=0.7)
    x = scenes()
    patches = x[:, 3:11, 5:13]
    monkeypatch.setattr(trainer, "patches", lambda _: ops.convert_to_tensor(patches))
    outputs = trainer(x)
    found = float(trainer.compute_loss(x=ops.convert_to_tensor(x), y_pred=outputs))

    def encoded(pictures):
        return np.asarray(trainer.encoder(pictures)).reshape(len(x), -1).astype("float64")

    crops, random = encoded(outputs["transformed"]), encoded(patches)
    terms = [
        max(0.0, ((crops[n] - crops[m]) ** 2).sum() - ((crops[n] - random[n]) ** 2).sum() + 0.7)
        for n in range(len(x))
        for m in range(len(x))
        if n != m
    ]
    assert abs(found - np.mean(terms)) < TOLERANCE


def test_random_patches_are_of_their_picture_and_lie_within():
    # The channels of a pixel are its row, its column and the number of its picture. They are linear in the position, so
    # interpolation between pixels keeps them exact.
    rows, columns = np.mgrid[:SIDE, :SIDE] / (SIDE - 1)
    x = np.stack([np.stack([rows, columns, np.full((SIDE, SIDE), n)], axis=-1) for n in range(200)]).astype("float32")
    model = co_localiser((SIDE, SIDE, 3), CROP)
    trainer = CoLocalisationTrainer(
        model, keras.Sequential([keras.Input((CROP, CROP, 3)), layers.Flatten()]), patch=0.25
    )
    found = np.asarray(trainer.patches(ops.convert_to_tensor(x)))
    np.testing.assert_allclose(
        found[..., 2], np.broadcast_to(np.arange(200)[:, None, None], found.shape[:3]), atol=1e-3
    )
    first, last = found[:, 0, 0, :2], found[:, -1, -1, :2]
    np.testing.assert_allclose(last - first, 0.25, atol=1e-5)
    assert first.min() > -1e-5
    assert last.max() < 1 + 1e-5
    assert first.std(axis=0).min() > 0.15  # a uniform distribution over a range of 0.75 has 0.22


def test_crops_begin_in_the_middle_and_cannot_leave_the_picture():
    model = localiser(start=0.5)
    np.testing.assert_allclose(model(scenes(2))["theta"], [[0.5, 0, 0]] * 2, atol=1e-6)
    for weight in model.weights:
        weight.assign(np.random.default_rng(len(weight.shape)).normal(0, 0.3, weight.shape))
    theta = np.asarray(model(scenes(50))["theta"])
    assert np.ptp(theta, axis=0).max() > 0.1
    boxes = np.asarray(crop_boxes(theta, (SIDE, SIDE)))
    # The ends of the grid are centres of pixels, so boxes may reach half a pixel beyond them.
    assert boxes.min() >= -0.5
    assert boxes.max() <= SIDE + 0.5


def test_boxes_are_what_the_transformer_reads():
    np.testing.assert_allclose(crop_boxes(np.array([[1.0, 0, 0]], "float32"), (20, 40)), [[0, 0, 40, 20]])
    digits = np.full((1, 28, 28), 255, "uint8")
    image, box = data.digit_scenes(digits, side=84, seed=3)
    x, y = (box[0, :2] + 14 - 42) / 41.5
    theta = np.array([[1 / 3, x, y]], "float32")
    crop = SpatialTransformer("attention", output_size=28)(image, theta)
    np.testing.assert_allclose(crop_boxes(theta, (84, 84)), box, atol=1e-4)
    np.testing.assert_allclose(crop[:, 1:-1, 1:-1], 1, atol=1e-5)


@pytest.mark.thorough
def test_only_the_localiser_learns():
    trainer = CoLocalisationTrainer(localiser(), encoder())
    trainer.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    before = [trainer.encoder.get_weights(), trainer.localiser.get_weights()]
    trainer.fit(scenes(), batch_size=6, epochs=3, verbose=0)
    for old, new in zip(before[0], trainer.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    changed = [np.abs(a - b).max() for a, b in zip(before[1], trainer.localiser.get_weights(), strict=True)]
    assert min(changed) > 0


def test_crops_of_the_thing_cost_least():
    """They cost less than crops beside the thing, crops that show half of it, and empty crops."""
    random = np.random.default_rng(0)
    places = random.integers(CROP, SIDE - 2 * CROP, (40, 2))
    x = np.zeros((40, SIDE, SIDE, 1), "float32")
    for image, (row, column) in zip(x, places, strict=True):
        image[row : row + CROP, column : column + CROP] = random.uniform(0.8, 1)
    trainer = CoLocalisationTrainer(localiser(), encoder())

    def cost(places):
        crops = np.stack([image[r : r + CROP, c : c + CROP] for image, (r, c) in zip(x, places, strict=True)])
        return float(trainer.compute_loss(x=ops.convert_to_tensor(x), y_pred={"transformed": crops}))

    wanted = cost(places)
    for other in (places + CROP, places + CROP // 2, np.zeros_like(places)):
        assert wanted < 0.9 * cost(other)


def test_a_localiser_is_saved(tmp_path):
    model = localiser()
    model.get_layer("scale").bias.assign([-0.3])
    model.save(tmp_path / "localiser.keras")
    loaded = keras.saving.load_model(tmp_path / "localiser.keras")
    np.testing.assert_array_equal(loaded(scenes())["transformed"], model(scenes())["transformed"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (84, 84)}, "input_shape must be"),
        ({"input_shape": (12, 84, 1)}, "at least 13×13"),
        ({"output_size": 0}, "output_size"),
        ({"start": 1.0}, "start must be within"),
    ],
)
def test_a_bad_localiser_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        localiser(**arguments)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="outputs 'transformed' and 'theta'"):
        CoLocalisationTrainer(encoder(), encoder())
    with pytest.raises(ValueError, match="margin"):
        CoLocalisationTrainer(localiser(), encoder(), margin=0)
    with pytest.raises(ValueError, match="patch"):
        CoLocalisationTrainer(localiser(), encoder(), patch=1.0)
    for arguments, message in (({"side": 27}, "side"), ({"distractors": -1}, "distractors")):
        with pytest.raises(ValueError, match=message):
            data.digit_scenes(np.zeros((1, 28, 28), "uint8"), **arguments)
