"""Runs one function of TensorFlow Addons: `python runner.py NAME inputs.npz outputs.npz`.

Addons needs Keras 2 and a NumPy that it was not written for, so that it lives in a process of its own, where nothing
of this package is imported. A new oracle is a function of arrays by keyword, added to `ORACLES`.
"""

import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np


def import_addons():
    """TensorFlow Addons 0.23 under the TensorFlow, Keras and NumPy of today."""
    import tf_keras.src.engine
    import tf_keras.src.engine.keras_tensor

    np.Inf = np.inf  # noqa: NPY201  NumPy 2 removed it
    sys.modules["keras.src.engine"] = tf_keras.src.engine
    sys.modules["keras.src.engine.keras_tensor"] = tf_keras.src.engine.keras_tensor
    import tensorflow_addons

    tensorflow_addons.options.disable_custom_kernel()  # its C++ was built for another TensorFlow
    return tensorflow_addons


def sigmoid_focal_crossentropy(y_true, logits, probabilities, from_logits, alpha, gamma):
    """Losses of the samples, and their gradients to the predictions, with each of several settings.

    `from_logits`, `alpha` and `gamma` hold one value a setting; alpha or gamma of 0 is off.
    """
    import tensorflow as tf

    addons = import_addons()
    losses, gradients = [], []
    for setting in zip(from_logits.tolist(), alpha.tolist(), gamma.tolist(), strict=True):
        loss = addons.losses.SigmoidFocalCrossEntropy(*setting)
        y_pred = tf.constant(logits if setting[0] else probabilities)
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(tf.constant(y_true), y_pred)
        losses.append(value.numpy())
        gradients.append(tape.gradient(value, y_pred).numpy())
    return {"losses": np.stack(losses), "gradients": np.stack(gradients)}


ORACLES = {"losses.SigmoidFocalCrossEntropy": sigmoid_focal_crossentropy}

if __name__ == "__main__":
    name, inputs, outputs = sys.argv[1:]
    with np.load(inputs) as arrays:
        results = ORACLES[name](**arrays)
    with Path(outputs).open("wb") as file:
        np.savez(file, **results)
