"""Inputs for the comparison of our focal loss with that of Addons, and the comparison."""

from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_segattn.losses import SigmoidFocalCrossEntropy

FIXTURE = Path(__file__).with_name("sigmoid_focal.npz")
SEED = 0
# Both compute in float32, in different orders.
RELATIVE, ABSOLUTE = 1e-5, 1e-6
SETTINGS = [
    {"from_logits": from_logits, "alpha": alpha, "gamma": gamma}
    for from_logits in (True, False)
    for alpha, gamma in ((0.25, 2.0), (None, 2.0), (0.5, None), (0.75, 1.5), (0.0, 0.0), (0.9, 5.0))
]


def inputs():
    """Draw hard and soft labels, and usual, confident and saturated predictions."""
    rng = np.random.default_rng(SEED)
    y_true = rng.integers(0, 2, (24, 5)).astype("float32")
    y_true[12:16] = rng.random((4, 5))
    logits = rng.normal(0, 3, (24, 5)).astype("float32")
    logits[:3] *= 30
    probabilities = rng.random((24, 5)).astype("float32")
    probabilities[:2] = rng.integers(0, 2, (2, 5))
    probabilities[2:4] = [1e-8, 1e-6, 0.5, 1 - 1e-6, 1 - 6e-8]
    return {"y_true": y_true, "logits": logits, "probabilities": probabilities}


def assert_equal(inputs, outputs, settings):
    """Check that our losses and gradients on `inputs` are Addons' `outputs`."""
    for i, arguments in enumerate(settings):
        y_pred = inputs["logits" if arguments["from_logits"] else "probabilities"]
        value, slope = value_and_gradient(SigmoidFocalCrossEntropy(**arguments), inputs["y_true"], y_pred)
        close = {"rtol": RELATIVE, "atol": ABSOLUTE, "err_msg": str(arguments)}
        np.testing.assert_allclose(value, outputs["losses"][i], **close)
        np.testing.assert_allclose(slope, outputs["gradients"][i], **close)


def value_and_gradient(loss, y_true, y_pred):
    """Return the losses, and the gradient of their sum with respect to the predictions, as NumPy arrays."""
    if keras.backend.backend() == "jax":
        import jax

        slope = jax.grad(lambda x: ops.sum(loss(y_true, x)))(y_pred)
    else:
        import tensorflow as tf

        x = tf.constant(y_pred)
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = ops.sum(loss(y_true, x))
        slope = tape.gradient(total, x)
    return ops.convert_to_numpy(loss(y_true, y_pred)), np.asarray(slope)
