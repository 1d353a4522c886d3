import numpy as np
import pytest
from keras import ops

from keras_segattn.layers import LocalContrastNormalization

# Rounding of float32 averages of at most 225 numbers, divided by a small deviation.
TOLERANCE = 1e-4


def neighbourhood_means(x, size):
    """Average by definition: over the pixels within `size // 2` that exist."""
    means, half = np.empty_like(x), size // 2
    for row, column in np.ndindex(x.shape[1:3]):
        rows, columns = (slice(max(0, place - half), place + half + 1) for place in (row, column))
        means[:, row, column] = x[:, rows, columns].mean(axis=(1, 2))
    return means


@pytest.mark.parametrize(("size", "shape"), [(15, (18, 9)), (3, (5, 7)), (15, (1, 1)), (1, (3, 3))])
def test_against_the_definition(size, shape):
    x = np.random.default_rng(0).normal(3, 2, (2, *shape, 2))
    centred = x - neighbourhood_means(x, size)
    deviation = np.sqrt(neighbourhood_means(centred**2, size))
    y = LocalContrastNormalization(size, least=0.1)(x.astype("float32"))
    np.testing.assert_allclose(y, centred / np.maximum(deviation, 0.1), atol=TOLERANCE)


def test_contrast_and_brightness_do_not_matter_but_noise_is_not_amplified():
    x = np.random.default_rng(0).uniform(-1, 1, (1, 20, 20, 1)).astype("float32")
    layer = LocalContrastNormalization(15, least=0.01)
    np.testing.assert_allclose(layer(0.2 * x + 0.5), layer(x), atol=TOLERANCE)
    assert np.abs(ops.convert_to_numpy(layer(1e-3 * x))).max() < 0.2


@pytest.mark.one_backend
def test_one_colour_gives_zero_and_finite_gradients():
    import tensorflow as tf

    x = tf.fill((1, 9, 9, 3), 0.4)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = LocalContrastNormalization(5)(x)
        loss = tf.reduce_sum(tf.square(y) + y)
    assert np.abs(y).max() < TOLERANCE
    assert np.isfinite(tape.gradient(loss, x)).all()


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 4}, "size must be odd, received 4"),
        ({"size": 0}, "size must be a positive integer"),
        ({"least": 0}, "least must be positive"),
        ({"least": -1}, "least must be at least 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        LocalContrastNormalization(**arguments)
