"""Runs one function of TensorFlow Addons: `python runner.py NAME inputs.npz OPTIONS outputs.npz`, OPTIONS being JSON.

Addons needs Keras 2 and a NumPy that it was not written for, so that it lives in a process of its own, where nothing
of this package is imported. A new oracle is a function of arrays and options by keyword, added to `ORACLES`.
"""

import json
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


def sigmoid_focal_crossentropy(y_true, logits, probabilities, settings):
    """Losses of the samples, and the gradients of their sum to the predictions.

    `settings` holds the arguments of the loss, several times; so many losses and gradients come back, stacked.
    """
    import tensorflow as tf

    addons = import_addons()
    losses, gradients = [], []
    for arguments in settings:
        loss = addons.losses.SigmoidFocalCrossEntropy(**arguments)
        y_pred = tf.constant(logits if arguments["from_logits"] else probabilities)
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(tf.constant(y_true), y_pred)
        losses.append(value.numpy())
        gradients.append(tape.gradient(value, y_pred).numpy())
    return {"losses": np.stack(losses), "gradients": np.stack(gradients)}


ORACLES = {"losses.SigmoidFocalCrossEntropy": sigmoid_focal_crossentropy}

if __name__ == "__main__":
    name, inputs, options, outputs = sys.argv[1:]
    with np.load(inputs) as arrays:
        results = ORACLES[name](**arrays, **json.loads(options))
    with Path(outputs).open("wb") as file:
        np.savez(file, **results)
