"""The loss that replaces TensorFlow Addons', against its formula and against results of Addons (`tests/parity_tfa`)."""

import keras
import numpy as np
import pytest
from parity_tfa import sigmoid_focal
from parity_tfa.oracle import recorded

from keras_segattn.losses import SigmoidFocalCrossEntropy

TOLERANCE = 1e-5  # float32 logarithms


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (None, 2.0), (0.5, None), (None, None), (0.75, 0.5)])
def test_formula(from_logits, alpha, gamma):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (4, 5)).astype("float32")
    logits = rng.normal(0, 2, (4, 5)).astype("float32")
    p = 1 / (1 + np.exp(-logits.astype("float64")))
    own = np.where(y == 1, p, 1 - p)
    weight = 1 if alpha is None else np.where(y == 1, alpha, 1 - alpha)
    expected = (weight * (1 - own) ** (gamma or 0) * -np.log(own)).sum(-1)
    loss = SigmoidFocalCrossEntropy(from_logits, alpha, gamma)
    value = keras.ops.convert_to_numpy(loss(y, logits if from_logits else p.astype("float32")))
    np.testing.assert_allclose(value, expected, rtol=TOLERANCE)


def test_equals_what_addons_recorded():
    inputs, outputs, provenance = recorded(sigmoid_focal.FIXTURE)
    sigmoid_focal.assert_equal(inputs, outputs, provenance["settings"])


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_sure_predictions_have_finite_gradients(gamma):
    y_true = np.array([[0, 0, 1, 1]], "float32")
    for from_logits, y_pred in ((True, [-1e4, 1e4, -1e4, 1e4]), (False, [0, 1, 0, 1])):
        loss = SigmoidFocalCrossEntropy(from_logits, gamma=gamma)
        value, slope = sigmoid_focal.value_and_gradient(loss, y_true, np.array([y_pred], "float32"))
        assert np.isfinite(value).all()
        assert np.isfinite(slope).all()


def test_half_precision_and_lists():
    loss = SigmoidFocalCrossEntropy(from_logits=True, reduction="sum_over_batch_size")
    value = loss([[1.0, 0.0]], [[2.0, -1.0]])
    half = loss(np.array([[1, 0]], "float16"), np.array([[2, -1]], "float16"))
    assert keras.backend.standardize_dtype(half.dtype) == "float32"
    assert float(value) == float(half)  # both numbers are exact in float16


def test_sample_weights():
    y_true, y_pred = np.array([[1, 0], [0, 0]], "float32"), np.array([[1, 2], [3, -1]], "float32")
    loss = SigmoidFocalCrossEntropy(from_logits=True)
    plain, weighted = (keras.ops.convert_to_numpy(loss(y_true, y_pred, weight)) for weight in (None, np.array([2, 0])))
    np.testing.assert_allclose(weighted, plain * [2, 0], rtol=TOLERANCE)


def test_wrong_shapes():
    message = r"labels and predictions of one shape, received \(2, 1\) and \(2, 3\)"
    with pytest.raises(ValueError, match=message):
        SigmoidFocalCrossEntropy()(np.zeros((2, 1)), np.zeros((2, 3)))


def test_negative_gamma_and_config():
    with pytest.raises(ValueError, match="gamma must be at least 0"):
        SigmoidFocalCrossEntropy(gamma=-2)
    loss = SigmoidFocalCrossEntropy(True, 0.5, 1.0, "sum")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config()
