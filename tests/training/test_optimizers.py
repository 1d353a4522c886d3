import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn.training import CaffeSGD

# float32 against a float64 loop of a few steps.
TOLERANCE = 1e-6
SHAPES = {"kernel": (3, 3, 2, 4), "bias": (4,), "gamma": (4,)}


def variables(seed):
    rng = np.random.default_rng(seed)
    return [keras.Variable(rng.normal(size=shape).astype("float32"), name=name) for name, shape in SHAPES.items()]


def gradients(seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype("float32") for shape in SHAPES.values()]


def caffe_loop(weights, steps, rate, momentum, decay, multiplier):
    """Write out Caffe's SGDSolver, with L2 decay in the gradient and local rates inside the momentum."""
    weights = [weight.astype("float64") for weight in weights]
    velocity = [np.zeros_like(weight) for weight in weights]
    for step in steps:
        for i, name in enumerate(SHAPES):
            local_rate = rate * (multiplier if name == "bias" else 1.0)
            local_decay = decay if name == "kernel" else 0.0
            velocity[i] = momentum * velocity[i] + local_rate * (step[i] + local_decay * weights[i])
            weights[i] -= velocity[i]
    return weights


@settings(max_examples=10, deadline=None)
@given(
    rate=st.floats(1e-4, 0.1),
    momentum=st.floats(0.0, 0.99),
    decay=st.floats(0.0, 0.1),
    multiplier=st.floats(0.0, 3.0),
)
def test_updates_are_those_of_caffe(rate, momentum, decay, multiplier):
    trained, steps = variables(0), [gradients(seed) for seed in range(1, 5)]
    expected = caffe_loop([v.numpy() for v in trained], steps, rate, momentum, decay, multiplier)
    optimizer = CaffeSGD(rate, momentum, decay, multiplier)
    for step in steps:
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in step], trained)
    for have, want in zip(trained, expected, strict=True):
        np.testing.assert_allclose(have.numpy(), want, atol=TOLERANCE * 10, rtol=TOLERANCE * 10)


def test_loss_scaling_changes_nothing():
    plain, scaled = variables(0), variables(0)
    optimizer, wrapped = CaffeSGD(0.1), keras.optimizers.LossScaleOptimizer(CaffeSGD(0.1), initial_scale=8.0)
    wrapped.build(scaled)
    for seed in range(1, 4):
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients(seed)], plain)
        wrapped.apply([keras.ops.convert_to_tensor(8.0 * g) for g in gradients(seed)], scaled)
    for a, b in zip(plain, scaled, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())  # exact, because the scale is a power of two


def test_accumulated_gradients_update_like_their_mean():
    once, accumulated = variables(0), variables(0)
    one, two = gradients(1), gradients(2)
    CaffeSGD(0.1).apply([keras.ops.convert_to_tensor((a + b) / 2) for a, b in zip(one, two, strict=True)], once)
    optimizer = CaffeSGD(0.1, gradient_accumulation_steps=2)
    for step in (one, two):
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in step], accumulated)
    for a, b in zip(once, accumulated, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=TOLERANCE)


def test_serialisation():
    optimizer = CaffeSGD(0.5, 0.8, 0.01, 3.0, gradient_accumulation_steps=2)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(again, CaffeSGD)
    assert again.get_config() == optimizer.get_config()
    schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 10)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(CaffeSGD(schedule)))
    assert again.get_config() == CaffeSGD(schedule).get_config()


@pytest.mark.parametrize("bad", [{"momentum": 1.5}, {"weight_decay": -1.0}, {"bias_learning_rate_multiplier": -1.0}])
def test_bad_arguments(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        CaffeSGD(**bad)
