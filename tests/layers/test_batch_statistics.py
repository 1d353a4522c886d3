import keras
import numpy as np
import pytest
from keras import ops

from keras_segattn.layers import BatchStatistics, RecurrentBatchNormalization

# Rounding of float32 statistics of some dozen numbers.
TOLERANCE = 1e-5


def batch(shape=(4, 3, 5, 2), seed=0):
    return np.random.default_rng(seed).normal(3, 2, shape).astype("float32")


def normalized(x, epsilon=1e-8):
    axes = tuple(range(x.ndim - 1))
    return (x - x.mean(axes)) / np.sqrt(x.var(axes) + epsilon)


@pytest.mark.parametrize("shape", [(8, 5), (4, 3, 5, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_the_batch_normalizes_itself(shape, training):
    x = batch(shape)
    layer = BatchStatistics()
    layer.build(x.shape)
    layer.set_weights([np.full(shape[-1], 2.0), np.full(shape[-1], -1.0)])
    np.testing.assert_allclose(layer(x, training=training), 2 * normalized(x) - 1, atol=TOLERANCE)
    assert not layer.non_trainable_variables


def test_without_gain_and_shift_there_are_no_weights():
    layer = BatchStatistics(affine=False)
    np.testing.assert_allclose(layer(batch()), normalized(batch()), atol=TOLERANCE)
    assert not layer.weights


def test_a_constant_is_its_shift():
    assert not ops.convert_to_numpy(BatchStatistics(1e-12)(np.full((4, 2), 1e4, "float32"))).any()


def test_statistics_in_half_precision_are_exact():
    x = 1000 + batch()
    layer = BatchStatistics(dtype="mixed_bfloat16")
    y = layer(x)
    assert y.dtype == "bfloat16"
    rounded = ops.convert_to_numpy(ops.cast(ops.cast(x, "bfloat16"), "float32"))
    # The result is rounded to 8 bits, the statistics are not.
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(y, "float32")), normalized(rounded), atol=0.02)


def test_every_step_of_a_loop_has_its_own_averages():
    layer = RecurrentBatchNormalization(2, momentum=0.75)
    first, second = batch((8, 3), seed=1), 10 + batch((8, 3), seed=2)
    np.testing.assert_allclose(layer(first, step=0, training=True), normalized(first), atol=TOLERANCE)
    np.testing.assert_allclose(layer(second, step=1, training=True), normalized(second), atol=TOLERANCE)
    means = np.stack([first.mean(0), second.mean(0)])
    variances = np.stack([first.var(0), second.var(0)])
    np.testing.assert_allclose(layer.moving_mean, means / 4, rtol=TOLERANCE)
    np.testing.assert_allclose(layer.moving_variance, variances / 4 + 0.75, rtol=TOLERANCE)
    layer.moving_mean.assign(means)
    layer.moving_variance.assign(variances)
    np.testing.assert_allclose(layer(second, step=1), normalized(second), atol=TOLERANCE)
    np.testing.assert_allclose(layer(first[:1], step=0), normalized(first)[:1], atol=TOLERANCE)


@pytest.mark.parametrize("layer", [BatchStatistics(1e-6, False), RecurrentBatchNormalization(3, 0.5, epsilon=1e-6)])
def test_serialisation(layer):
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.one_backend
def test_bad_steps():
    with pytest.raises(ValueError, match="steps must be a positive integer, received 0"):
        RecurrentBatchNormalization(0)


def test_a_model_of_them_saves_and_loads(tmp_path):
    image = keras.Input((5,))
    layer = RecurrentBatchNormalization(2, name="bn")
    model = keras.Model(image, layer(layer(image, step=0), step=1))
    model.get_layer("bn").moving_mean.assign(batch((2, 5)))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(batch((4, 5))), model(batch((4, 5))))
