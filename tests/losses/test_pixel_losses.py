"""All pixel losses against brute force in NumPy, and the behaviour that they share."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_segattn.losses import Dice, Focal, LovaszSoftmax, PixelCrossEntropy
from keras_segattn.losses.lovasz import lovasz_extension

# float32 sums of a few hundred terms against float64.
TOLERANCE = 2e-5
# A half-precision logit of size 4 is rounded by up to 2^-9 (float16) or 2^-6 (bfloat16).
HALF_TOLERANCE = {"float16": 5e-3, "bfloat16": 4e-2}
# Central differences in float32 lose half of the digits.
GRADIENT_TOLERANCE = 2e-2

LOSSES = {
    "cross_entropy": PixelCrossEntropy(),
    "cross_entropy_sum": PixelCrossEntropy(normalization="sum"),
    "cross_entropy_weighted": PixelCrossEntropy(class_weights=[1, 0.5, 3]),
    "dice": Dice(),
    "focal": Focal(),
    "focal_alpha": Focal(gamma=0.5, alpha=[0.2, 1, 2]),
    "lovasz": LovaszSoftmax(),
    "lovasz_per_image_all": LovaszSoftmax(per_image=True, classes="all"),
}


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def jaccard_extension(foreground, error):
    """Lovász extension by its definition: a telescoping sum over growing sets of mispredicted pixels."""
    order = np.argsort(-error, kind="stable")
    value, previous = 0.0, 0.0
    for k in range(1, len(order) + 1):
        mispredicted = np.zeros(len(order), bool)
        mispredicted[order[:k]] = True
        truth = foreground.astype(bool)
        predicted = truth ^ mispredicted
        loss = 1 - (truth & predicted).sum() / (truth | predicted | mispredicted).sum()
        value += error[order[k - 1]] * (loss - previous)
        previous = loss
    return value


def expected(name, y, logits):
    logits = logits.astype("float64")
    p, valid, classes = softmax(logits), y != 255, logits.shape[-1]
    labels, probabilities = y[valid], p[valid]
    if labels.size == 0:
        return 0.0
    own = probabilities[np.arange(len(labels)), labels]
    if name == "cross_entropy":
        return -np.log(own).mean()
    if name == "cross_entropy_sum":
        return -np.log(own).sum()
    if name == "cross_entropy_weighted":
        weight = np.array([1, 0.5, 3])[labels]
        return -(weight * np.log(own)).sum() / weight.sum()
    if name == "focal":
        return (-((1 - own) ** 2) * np.log(own)).mean()
    if name == "focal_alpha":
        return (-np.array([0.2, 1, 2])[labels] * (1 - own) ** 0.5 * np.log(own)).mean()
    if name == "dice":
        g = np.eye(classes)[labels]
        return np.mean(
            [
                1
                - (2 * (probabilities[:, c] * g[:, c]).sum() + 1)
                / ((probabilities[:, c] ** 2).sum() + g[:, c].sum() + 1)
                for c in range(classes)
            ]
        )
    groups = [(labels, probabilities)]
    if name == "lovasz_per_image_all":
        groups = [(y[i][valid[i]], p[i][valid[i]]) for i in range(len(y))]
    means = []
    for group_labels, group in groups:
        values = []
        for c in range(classes):
            foreground = (group_labels == c).astype(float)
            if name == "lovasz" and not foreground.any():
                continue
            values.append(jaccard_extension(foreground, np.abs(foreground - group[:, c])) if len(foreground) else 0.0)
        means.append(np.mean(values))
    return np.mean(means)


def batch(seed, shape=(2, 4, 5), classes=3, ignored=0.2):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, shape)
    y[rng.random(shape) < ignored] = 255
    return y, rng.normal(0, 2, (*shape, classes)).astype("float32")


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), ignored=st.sampled_from([0.0, 0.3, 0.95]))
def test_values(name, seed, ignored):
    y, logits = batch(seed, ignored=ignored)
    assert float(LOSSES[name](y, logits)) == pytest.approx(expected(name, y, logits), rel=TOLERANCE, abs=TOLERANCE)


@pytest.fixture(params=LOSSES)
def loss(request):
    return LOSSES[request.param]


def gradient(loss, y, logits):
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(lambda x: loss(y, x))(logits))
    import tensorflow as tf

    x = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(y, x)
    return tape.gradient(value, x).numpy()


def test_gradient_against_finite_differences(loss):
    y, logits = batch(3)
    slope = gradient(loss, y, logits)
    direction = np.random.default_rng(0).normal(size=logits.shape).astype("float32")
    step = 1e-2
    difference = (float(loss(y, logits + step * direction)) - float(loss(y, logits - step * direction))) / (2 * step)
    assert (slope * direction).sum() == pytest.approx(difference, rel=GRADIENT_TOLERANCE, abs=1e-3)


def test_ignored_pixels_have_no_gradient(loss):
    y, logits = batch(1)
    assert np.abs(gradient(loss, y, logits)[y == 255]).max() == 0


def test_nothing_labelled_gives_zero(loss):
    y, logits = batch(0, ignored=1.0)
    assert float(loss(y, logits)) == 0
    assert np.abs(gradient(loss, y, logits)).max() == 0


@pytest.mark.parametrize("label", [3, -1, 254])
def test_label_out_of_range_is_never_silent(loss, label):
    y, logits = batch(1)
    y[0, 1, 2] = label
    try:
        value = float(loss(y, logits))
    except Exception as error:
        assert f"label value of {label} which is outside the valid range" in str(error)  # noqa: PT017
    else:
        assert np.isnan(value)


def test_sum_of_many_half_precision_pixels_does_not_overflow():
    y = np.zeros((1, 300, 300), int)
    value = PixelCrossEntropy(normalization="sum")(y, np.zeros((1, 300, 300, 3), "float16"))
    assert float(value) == pytest.approx(90000 * np.log(3), rel=TOLERANCE)  # float16 ends at 65504


def test_sum_is_caffes_total_under_fit():
    x, (y, _) = np.ones((2, 4, 5, 1), "float32"), batch(0)
    steps = {}
    for normalization in ("mean", "sum"):
        image = keras.Input((4, 5, 1))
        model = keras.Model(image, keras.layers.Conv2D(3, 1, kernel_initializer="zeros", use_bias=False)(image))
        model.compile(keras.optimizers.SGD(1e-3), PixelCrossEntropy(normalization=normalization))
        model.fit(x, y, batch_size=2, verbose=0)
        steps[normalization] = model.get_weights()[0]
    np.testing.assert_allclose(steps["sum"], steps["mean"] * (y != 255).sum(), rtol=TOLERANCE)


def test_extreme_logits_stay_finite(loss):
    y, logits = batch(2)
    for scale in (1e3, 1e4):
        assert np.isfinite(float(loss(y, scale * logits)))
        assert np.isfinite(gradient(loss, y, scale * logits)).all()


@pytest.mark.parametrize("dtype", HALF_TOLERANCE)
def test_half_precision_logits_are_reduced_in_float32(loss, dtype):
    y, logits = batch(4, shape=(2, 16, 16))
    value = loss(y, ops.cast(logits, dtype))
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert float(value) == pytest.approx(float(loss(y, logits)), rel=HALF_TOLERANCE[dtype])


def test_config_round_trip(loss):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    y, logits = batch(5)
    assert float(again(y, logits)) == float(loss(y, logits))


@pytest.mark.one_backend
def test_wrong_shapes_and_sample_weights_are_refused(loss):
    y, logits = batch(0)
    with pytest.raises(ValueError, match=r"expects labels .* received \(2, 4, 4\) and \(2, 4, 5, 3\)"):
        loss(y[:, :, :4], logits)
    with pytest.raises(ValueError, match="expects labels"):
        loss(y[..., None], logits)
    with pytest.raises(ValueError, match="takes no sample weights"):
        loss(y, logits, np.ones(2))


def test_no_ignored_label():
    y, logits = batch(0, ignored=0.0)
    assert float(PixelCrossEntropy(ignore_label=None)(y, logits)) == float(PixelCrossEntropy()(y, logits))


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PixelCrossEntropy(normalization="batch"), "normalization must be one of 'mean', 'sum'"),
        (lambda: PixelCrossEntropy(class_weights=[1, -1]), "class_weights must be non-negative"),
        (lambda: PixelCrossEntropy(class_weights=[1, math.nan]), r"class_weights must .*received \[1, nan\]"),
        (lambda: PixelCrossEntropy(ignore_label="void"), "ignore_label must be an integer or None"),
        (lambda: Dice(smooth=0), "smooth must be positive"),
        (lambda: Focal(gamma=-1), "gamma must be at least 0"),
        (lambda: Focal(alpha=[-1]), "alpha must be non-negative"),
        (lambda: LovaszSoftmax(classes="some"), "classes must be one of 'present', 'all'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_number_of_class_weights():
    y, logits = batch(0)
    with pytest.raises(ValueError, match="class_weights must hold one weight for each of 3 classes, received 2"):
        PixelCrossEntropy(class_weights=[1, 2])(y, logits)
    with pytest.raises(ValueError, match="alpha must hold one weight for each of 3 classes, received 2"):
        Focal(alpha=[1, 2])(y, logits)


def test_lovasz_of_a_perfect_prediction_is_zero_and_of_a_wrong_one_is_one():
    y = np.array([[[0, 1], [1, 0]]])
    sure = 100.0 * (2 * np.eye(2)[y] - 1)
    assert float(LovaszSoftmax()(y, sure)) == pytest.approx(0, abs=TOLERANCE)
    assert float(LovaszSoftmax()(y, -sure)) == pytest.approx(1, abs=TOLERANCE)


def test_lovasz_weights_of_a_million_pixels():
    rng = np.random.default_rng(0)
    foreground, error = (rng.random(10**6) < 0.3).astype("float32"), rng.random(10**6).astype("float32")
    order = np.argsort(-error, kind="stable")
    sorted_foreground = foreground[order].astype("float64")
    union = sorted_foreground.sum() + np.cumsum(1 - sorted_foreground)
    jaccard = 1 - (sorted_foreground.sum() - np.cumsum(sorted_foreground)) / union
    expected = np.empty(10**6)
    expected[order] = np.diff(jaccard, prepend=0.0)
    weight = gradient(lambda _, e: lovasz_extension(ops.convert_to_tensor(foreground), e), None, error)
    # The mean weight is 1e-6: differences of float32 numbers near 1 would be wrong by a tenth of it.
    np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-12)
