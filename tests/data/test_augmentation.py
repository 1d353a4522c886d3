import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn.data import Augmentation

PLAIN = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
# Tolerance for bilinear weights of float32 coordinates.
TOLERANCE = 1e-3


def checkerboard(height, width, cell=16):
    """Return labels in large cells, and an image that shows label × 100 in every channel."""
    labels = (np.add.outer(np.arange(height) // cell, np.arange(width) // cell) % 3).astype("uint8")[..., None]
    return np.repeat(labels * 100, 3, axis=-1), labels


@settings(max_examples=15, deadline=None)
@given(
    seed=st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1)),
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    crop=st.tuples(st.integers(1, 70), st.integers(1, 70)),
)
def test_image_and_mask_stay_aligned_and_no_label_is_invented(seed, height, width, crop):
    image, labels = checkerboard(height, width)
    augmented, mask = Augmentation(crop=crop, **PLAIN)(image, labels, seed)
    augmented, mask = augmented.numpy(), mask.numpy()
    assert augmented.shape == (*crop, 3)
    assert mask.shape == (*crop, 1)
    assert set(np.unique(mask)) <= {0, 1, 2, 255}
    # Away from the edges of cells the image still shows its label.
    inside = mask[..., 0] != 255
    shown = augmented[..., 0] / 100
    flat = inside.copy()
    for shift in (-2, -1, 1, 2):
        for axis in (0, 1):
            flat &= np.roll(mask[..., 0], shift, axis) == mask[..., 0]
    flat[:2], flat[-2:], flat[:, :2], flat[:, -2:] = False, False, False, False
    np.testing.assert_allclose(shown[flat], mask[..., 0][flat], atol=TOLERANCE)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1)),
    stripes=st.lists(st.integers(0, 1), min_size=1, max_size=60),
    upright=st.booleans(),
)
def test_both_are_sampled_at_the_same_points(seed, stripes, upright):
    """The nearest of two stripes has at least half of the bilinear weight, wherever the sample lies."""
    labels = np.tile(np.array(stripes, "uint8")[:, None, None], (1, 5, 1))
    labels = labels.transpose(1, 0, 2) if upright else labels
    image, mask = Augmentation(crop=(50, 50), scale=(0.5, 3.0), **PLAIN)(np.repeat(labels, 3, -1), labels, seed)
    counted = mask.numpy()[..., 0] != 255
    off = np.abs(image.numpy()[..., 0] - mask.numpy()[..., 0])[counted]
    assert off.max() <= 0.5 + TOLERANCE


def test_same_seed_same_result_and_other_seeds_differ():
    image, labels = checkerboard(64, 64)
    augmentation = Augmentation(crop=(32, 32))
    first, again, other = (augmentation(image, labels, seed)[0].numpy() for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1


def test_padding_continues_the_mean_and_ignores_the_mask():
    image = np.full((4, 4, 3), 7, "uint8")
    augmented, mask = Augmentation(crop=(6, 6), scale=(1.0, 1.0), flip=False, **PLAIN)(
        image, np.ones((4, 4, 1), "uint8"), (0, 0)
    )
    np.testing.assert_allclose(augmented, 7, atol=TOLERANCE)
    assert (mask.numpy() == 255).sum() == 36 - 16


def test_both_directions_and_colours_occur_and_stay_in_range():
    image, labels = checkerboard(32, 32, cell=31)
    augmentation = Augmentation(crop=(32, 32), scale=(1.0, 1.0), brightness=1.0, contrast=1.0, saturation=1.0)
    results = [augmentation(image, labels, (0, i)) for i in range(20)]
    mirrored = [bool(mask.numpy()[0, 0, 0] != labels[0, 0, 0]) for _, mask in results]
    assert 0 < sum(mirrored) < 20
    pixels = np.stack([image.numpy() for image, _ in results])
    assert pixels.min() >= 0
    assert pixels.max() <= 255
    assert len({float(p.mean()) for p in pixels}) == 20


def test_an_ignored_label_that_the_mask_cannot_hold_is_refused():
    image, labels = checkerboard(4, 4)
    augmentation = Augmentation(crop=(8, 8), scale=(1.0, 1.0), ignore_label=300)
    with pytest.raises(ValueError, match="a mask of uint8 cannot hold the ignore_label 300"):
        augmentation(image, labels, (0, 0))
    assert augmentation(image, labels.astype("int32"), (0, 0))[1].numpy().max() == 300


def test_runs_in_a_graph():
    image, labels = checkerboard(20, 30)
    dataset = tf.data.Dataset.from_tensors((image, labels)).map(lambda x, y: Augmentation(crop=(8, 9))(x, y, (0, 1)))
    assert dataset.element_spec[0].shape == (8, 9, 3)
    assert dataset.element_spec[1].shape == (8, 9, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop": (0, 4)}, "crop height and width must be a positive integer, received 0"),
        ({"crop": (4,)}, r"crop must be \(height, width\)"),
        ({"crop": 4}, r"crop must be \(height, width\), received 4"),
        ({"crop": (4, 4), "scale": 2.0}, r"scale must be.*received 2\.0"),
        ({"crop": (4, 4), "scale": (1.0, float("inf"))}, r"scale must be.*received \(1\.0, inf\)"),
        ({"crop": (4, 4), "scale": ("a", "b")}, "scale must be"),
        ({"crop": (4, 4), "brightness": float("nan")}, r"brightness must be in 0\.\.1, received nan"),
        ({"crop": (4, 4), "saturation": "a little"}, r"saturation must be in 0\.\.1, received 'a little'"),
        ({"crop": (4, 4), "ignore_label": 25.5}, r"ignore_label must be an integer, received 25\.5"),
        ({"crop": (4, 4), "scale": (2.0, 1.0)}, "scale must be"),
        ({"crop": (4, 4), "scale": (0.0, 1.0)}, "scale must be"),
        ({"crop": (4, 4), "contrast": 2.0}, r"contrast must be in 0\.\.1, received 2\.0"),
        ({"crop": (4, 4), "flip": "sometimes"}, "flip must be one of True, False"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**arguments)
