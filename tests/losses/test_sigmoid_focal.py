"""The loss that replaces TensorFlow Addons', by its formula; `tests/parity_tfa` holds it against Addons itself."""

import keras
import numpy as np
import pytest

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


def test_negative_gamma_and_config():
    with pytest.raises(ValueError, match="gamma must be at least 0"):
        SigmoidFocalCrossEntropy(gamma=-2)
    loss = SigmoidFocalCrossEntropy(True, 0.5, 1.0, "sum")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config()
