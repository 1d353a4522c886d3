"""TensorFlow Addons as an oracle: arrays in, arrays out, and fixtures of both for machines without Addons."""

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

RUNNER = Path(__file__).with_name("runner.py")


def run_tfa(function_name, inputs):
    """Call one of the runner's `ORACLES` in a process of its own.

    Args:
        function_name: key of `ORACLES`.
        inputs: keyword → array; a scalar is an array without dimensions.

    Returns:
        Name → array, as the oracle returned them.

    Raises:
        RuntimeError: if the process failed; the message ends with what it wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments, results = Path(folder, "inputs.npz"), Path(folder, "outputs.npz")
        np.savez(arguments, **inputs)
        # PYTHONPATH and KERAS_BACKEND are for this process' Keras 3, not for the oracle's Keras 2.
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "KERAS_BACKEND")}
        process = subprocess.run(
            [sys.executable, "-W", "ignore", RUNNER, function_name, arguments, results],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            raise RuntimeError(f"{function_name} failed in TensorFlow Addons:\n{process.stderr[-2000:]}")
        with np.load(results) as arrays:
            return dict(arrays)


def record(path, inputs, outputs, seed):
    """Write inputs and outputs of an oracle (name → array each), with what made them."""
    packages = ("tensorflow-addons", "tensorflow", "tf_keras", "numpy")
    provenance = {"seed": seed, **{name: version(name) for name in packages}}
    arrays = {
        f"{side}/{name}": np.asarray(value)
        for side, values in (("inputs", inputs), ("outputs", outputs))
        for name, value in values.items()
    }
    np.savez_compressed(path, provenance=np.array(json.dumps(provenance)), **arrays)


def recorded(path):
    """The inputs and the outputs that `record` wrote."""
    sides = {"inputs": {}, "outputs": {}}
    with np.load(path) as arrays:
        for key in arrays.files:
            if key != "provenance":
                side, name = key.split("/")
                sides[side][name] = arrays[key]
    return sides["inputs"], sides["outputs"]
