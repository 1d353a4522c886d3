import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn.training import CLASSIFIER_RECIPES, ClassifierRecipe, InceptionRMSprop

# float32 against a float64 loop of a few steps.
TOLERANCE = 2e-5
SHAPES = {"kernel": (3, 3, 2, 4), "bias": (4,), "gamma": (4,)}


def variables(seed):
    rng = np.random.default_rng(seed)
    return [keras.Variable(rng.normal(size=shape).astype("float32"), name=name) for name, shape in SHAPES.items()]


def gradients(seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype("float32") for shape in SHAPES.values()]


def tensorflow_1_loop(weights, steps, rate, rho, momentum, epsilon, decay, clip, average):
    """Write out TensorFlow 1's RMSPropOptimizer, clip_by_global_norm and ExponentialMovingAverage(num_updates)."""
    weights = [weight.astype("float64") for weight in weights]
    square = [np.ones_like(weight) for weight in weights]
    velocity = [np.zeros_like(weight) for weight in weights]
    averages = None
    for t, step in enumerate(steps):
        norm = np.sqrt(sum((gradient.astype("float64") ** 2).sum() for gradient in step))
        for i, name in enumerate(SHAPES):
            gradient = step[i] * min(1.0, clip / norm)
            gradient = gradient + (decay if name == "kernel" else 0.0) * weights[i]
            square[i] = rho * square[i] + (1 - rho) * gradient**2
            velocity[i] = momentum * velocity[i] + rate * gradient / np.sqrt(square[i] + epsilon)
            weights[i] = weights[i] - velocity[i]
        d = min(average, (1 + t) / (10 + t))
        averages = (
            list(weights) if averages is None else [d * a + (1 - d) * w for a, w in zip(averages, weights, strict=True)]
        )
    return weights, averages


@settings(max_examples=12, deadline=None)
@given(
    rate=st.floats(1e-4, 0.1),
    rho=st.floats(0.5, 0.99),
    momentum=st.floats(0.0, 0.95),
    epsilon=st.floats(0.1, 1.0),
    decay=st.floats(0.0, 0.1),
    clip=st.floats(0.1, 100.0),
    average=st.floats(0.0, 1.0),
)
def test_updates_are_those_of_tensorflow_1(rate, rho, momentum, epsilon, decay, clip, average):
    trained, steps = variables(0), [gradients(seed) for seed in range(1, 6)]
    start = [variable.numpy() for variable in trained]
    weights, averages = tensorflow_1_loop(start, steps, rate, rho, momentum, epsilon, decay, clip, average)
    optimizer = InceptionRMSprop(rate, rho, momentum, epsilon, decay, clip, average)
    for step in steps:
        optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in step], trained)
    for have, want in zip(trained, weights, strict=True):
        np.testing.assert_allclose(have.numpy(), want, atol=TOLERANCE, rtol=TOLERANCE)
    optimizer.finalize_variable_values(trained)
    for have, want in zip(trained, averages, strict=True):
        np.testing.assert_allclose(have.numpy(), want, atol=TOLERANCE, rtol=TOLERANCE)


def test_keras_own_starts_from_zero_and_takes_longer_first_steps():
    ours, theirs = ([keras.Variable([[1.0]], name="kernel")] for _ in range(2))
    gradient = [keras.ops.convert_to_tensor([[0.01]])]
    InceptionRMSprop(0.1).apply(gradient, ours)
    keras.optimizers.RMSprop(0.1, epsilon=1.0).apply(gradient, theirs)
    steps = [1.0 - float(variable[0].numpy().item()) for variable in (ours, theirs)]
    assert steps[1] / steps[0] == pytest.approx(np.sqrt(0.9 + 1.0), rel=1e-3)


def test_serialisation():
    for optimizer in (CLASSIFIER_RECIPES["inception"].make_optimizer(10, 1), InceptionRMSprop(0.1, 0.8, 0.9, 0.5)):
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
        assert isinstance(again, InceptionRMSprop)
        assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize(
    "bad", [{"rho": 1.5}, {"momentum": -0.1}, {"ema_momentum": 2.0}, {"epsilon": 0.0}, {"weight_decay": -1.0}]
)
def test_bad_optimizers(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        InceptionRMSprop(**bad)
    with pytest.raises(ValueError, match="clipping norm must be positive"):
        InceptionRMSprop(global_clipnorm=0.0)


@pytest.mark.parametrize(
    "bad",
    [
        {"learning_rate": 0.0},
        {"decay_factor": 1.1},
        {"decay_epochs": 0},
        {"label_smoothing": 1.0},
        {"rho": -1.0},
        {"weight_decay": -1.0},
        {"ema_momentum": 1.5},
        {"clip_norm": 0.0},
    ],
)
def test_bad_recipes(bad):
    with pytest.raises(ValueError, match=next(iter(bad)).replace("clip_norm", "clipping norm")):
        ClassifierRecipe(**bad)
