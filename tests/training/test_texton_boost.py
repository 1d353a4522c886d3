"""Learning of textons and stumps: features against direct counts, resuming, odd data, and that it learns."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_segattn import TextonBoost, training
from keras_segattn.training.checkpoint import CheckpointError
from keras_segattn.training.texton_boost import half_of, random_rectangles
from keras_segattn.training.textons import cluster_centres, whitening
from keras_segattn.training.texture_samples import TextureSamples

# Rounding of float64 moments of a few hundred points.
ROUNDING = 1e-6
IGNORED = 255
SETTINGS = {"spacing": 2, "rectangles": 12, "fraction": 0.2, "thresholds": 5, "texton_pixels": 400, "progress": False}


def scenes(count, height=18, width=24, seed=0, classes=3):
    """Return pictures of bright stripes, dark noise and colour, float32 0..1, and masks of their classes."""
    rng = np.random.default_rng(seed)
    images, masks = np.zeros((count, height, width, 3), "float32"), np.zeros((count, height, width), "int32")
    for image, mask in zip(images, masks, strict=True):
        first, second = np.sort(rng.integers(4, width - 4, 2))
        mask[:, first:], mask[:, second:] = 1 % classes, 2 % classes
        mask[0] = IGNORED
        image[:] = 0.3 + 0.1 * rng.random(image.shape)
        image[::2, first:second] += 0.5
        image[:, second:] = (0.2, 0.7, 0.3) + 0.1 * rng.random((height, width - second, 3))
    return images.clip(0, 1), masks


def batches(images, masks, size=2):
    return tf.data.Dataset.from_tensor_slices((images, masks)).batch(size)


def model_of(stumps=8, **arguments):
    return TextonBoost(**{"classes": 3, "textons": 10, "stumps": stumps, "kappa": 0.5} | arguments)


@pytest.mark.parametrize("area", ["clipped", "whole"])
@pytest.mark.parametrize("spacing", [1, 3])
def test_features_are_those_of_the_layer(area, spacing):
    rng = np.random.default_rng(0)
    sizes = [(7, 9), (7, 9), (4, 11), (1, 2)]
    maps = [rng.integers(0, 4, size).astype("uint16") for size in sizes]
    masks = [rng.integers(0, 3, size) for size in sizes]
    masks[0][:, 3] = IGNORED
    samples = TextureSamples(maps, masks, 4, spacing, IGNORED, area)
    layer = model_of(stumps=1, classes=3, textons=4, area=area).get_layer("score")
    points = [mask[spacing // 2 :: spacing, spacing // 2 :: spacing] for mask in masks]
    assert (
        np.bincount(samples.labels).tolist() == np.bincount(np.concatenate([p[p != IGNORED] for p in points])).tolist()
    )
    for rectangle in rng.integers(-8, 9, (12, 4)):
        texton, threshold = int(rng.integers(4)), np.float32(rng.integers(0, 3) / 4)
        values = {"rectangles": [rectangle], "textons": [texton], "thresholds": [threshold], "sharing": np.ones((1, 3))}
        values |= {"a": [1.0], "b": [0.0], "k": np.zeros((1, 3))}
        for weight in layer.weights:
            weight.assign(np.array(values[weight.name]))
        above = []
        for one, mask in zip(maps, masks, strict=True):
            scores = ops.convert_to_numpy(layer(one[None].astype("int32")))[0, ..., 0]
            grid = (slice(spacing // 2, None, spacing),) * 2
            above.append(np.stack([mask[grid].ravel(), scores[grid].ravel()]))
        label, score = np.concatenate(above, axis=1)
        found = samples.exceeds(texton, rectangle, threshold)
        for number in range(3):  # the examples are ordered by class
            assert found[samples.labels == number].sum() == score[label == number].sum()


def test_whitened_responses_have_unit_covariance_and_grey_pictures_no_colour():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4)) + 3
    points[:, 1] = 7  # a response without variance
    kernel, bias = whitening(points.mean(0), np.cov(points.T, bias=True))
    white = points @ kernel.astype("float64") + bias
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-4)  # float32 kernel and bias
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.diag([0, 1, 1, 1]), atol=1e-4)
    with pytest.raises(ValueError, match="pictures of one colour"):
        whitening(points.mean(0), np.zeros((4, 4)))


def test_too_few_different_points_for_the_textons():
    with pytest.raises(ValueError, match="5 textons need as many different filter responses, the pictures have 2"):
        cluster_centres(np.repeat(np.eye(2), 9, axis=0), 5, seed=0)


def test_rectangles_lie_in_the_box():
    found = random_rectangles(200, (6, 1), seed=0)
    assert found[:, 0].min() == -3
    assert found[:, 2].max() == 3
    assert (found[:, 2] > found[:, 0]).all()
    np.testing.assert_array_equal(found[:, [1, 3]], [[0, 1]] * 200)
    assert half_of(np.array([180, 240])) == (127, 170)
    with pytest.raises(ValueError, match="box must be a positive integer, received 0"):
        random_rectangles(3, (0, 4), seed=0)


def test_it_learns_and_resumes_to_the_same_stumps(tmp_path):
    images, masks = scenes(6)
    model = model_of()
    losses = training.train_texton_boost(model, batches(images, masks), run_dir=tmp_path / "whole", **SETTINGS)
    assert len(losses) == 8
    assert losses[0] < 1
    assert (np.diff(losses) < 0).all()
    held_out = scenes(4, seed=1)
    scores = training.evaluate_segmenter(model, batches(*held_out), classes=3)
    assert scores["pixel_accuracy"] > 0.85

    # The same training is interrupted after the third round.
    part = tmp_path / "part"
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            training.train_texton_boost(
                model_of(), batches(images, masks), run_dir=part, checkpoint_rounds=3, **SETTINGS
            )
    again = model_of()
    resumed = training.train_texton_boost(again, batches(images, masks), run_dir=part, checkpoint_rounds=3, **SETTINGS)
    np.testing.assert_array_equal(resumed, losses)
    for one, other in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    stored = keras.models.load_model(part / "model.keras")
    np.testing.assert_array_equal(stored(images[:1]), model(images[:1]))
    with pytest.raises(CheckpointError, match="spacing: 2 in the file, 3 now"):
        training.train_texton_boost(again, batches(images, masks), run_dir=part, **SETTINGS | {"spacing": 3})


def stop_after(patch, rounds):
    """Interrupt boosting, as a user does, when it has finished so many rounds."""
    from keras_segattn.training.texton_boost import Boosting

    whole = Boosting.round

    def interrupted(self, number, *rest):
        if number == rounds:
            raise KeyboardInterrupt
        return whole(self, number, *rest)

    patch.setattr(Boosting, "round", interrupted)


def test_a_class_that_never_occurs_is_never_predicted():
    images, masks = scenes(3)
    model = model_of(classes=4, stumps=4)
    losses = training.train_texton_boost(model, batches(images, masks), **SETTINGS)
    assert np.isfinite(losses).all()
    scores = ops.convert_to_numpy(model(images))
    assert np.isfinite(scores).all()
    assert 3 not in scores.argmax(-1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, m: (i, np.full_like(m, IGNORED)), "no pixel of the grid of every 2 pixels is labelled"),
        (lambda i, m: (i * 0 + 0.5, m), "pictures of one colour"),
        (lambda i, m: (i, m[:, 1:]), "for images .*, but the masks are"),
        (lambda i, m: (i, m + 1), "label"),
    ],
    ids=["ignored", "one-colour", "mask-of-another-size", "label-out-of-range"],
)
def test_data_that_cannot_be_learned_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        training.train_texton_boost(model_of(stumps=1), batches(*change(*scenes(2))), **SETTINGS)


def test_wrong_arguments_and_models_are_named():
    data = batches(*scenes(2))
    with pytest.raises(ValueError, match="spacing must be a positive integer, received 0"):
        training.train_texton_boost(model_of(), data, spacing=0)
    with pytest.raises(ValueError, match=r"fraction must be in 0\.\.1, received 2"):
        training.train_texton_boost(model_of(), data, fraction=2)
    image = keras.Input((18, 24, 3))
    other = keras.Model(image, keras.layers.Conv2D(3, 1)(image))
    with pytest.raises(TypeError, match="one layer each of TextonFilters, NearestTexton, TextureLayout"):
        training.train_texton_boost(other, data)
