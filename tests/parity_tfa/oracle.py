"""TensorFlow Addons as an oracle from arrays to arrays, and recorded fixtures for machines without Addons."""

import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

from keras_segattn.files import replaced

RUNNER = Path(__file__).with_name("runner.py")
PACKAGES = ("tensorflow-addons", "tensorflow", "tf_keras", "numpy")


def run_tfa(function, inputs, **options):
    """Call one of the runner's `ORACLES` in a process of its own.

    Args:
        function: key of `ORACLES`.
        inputs: keyword → array.
        options: further keywords, with values that JSON can hold.

    Returns:
        Name → array, the outputs of the oracle.

    Raises:
        RuntimeError: if the process failed; the message ends with the process' standard error.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments, results = Path(folder, "inputs.npz"), Path(folder, "outputs.npz")
        np.savez(arguments, **inputs)
        # PYTHONPATH and KERAS_BACKEND are meant for Keras 3 in this process, not for the oracle's Keras 2.
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "KERAS_BACKEND")}
        process = subprocess.run(
            [sys.executable, "-W", "ignore", RUNNER, function, arguments, json.dumps(options), results],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            raise RuntimeError(f"{function} failed in TensorFlow Addons:\n{process.stderr[-2000:]}")
        with np.load(results) as arrays:
            return dict(arrays)


def record(path, inputs, outputs, **provenance):
    """Write inputs and outputs of an oracle (name → array each), with package versions, the date and `provenance`."""
    provenance |= {name: version(name) for name in PACKAGES} | {"date": dt.date.today().isoformat()}
    arrays = {f"inputs/{name}": value for name, value in inputs.items()}
    arrays |= {f"outputs/{name}": value for name, value in outputs.items()}
    with replaced(path) as temporary:
        np.savez_compressed(temporary, provenance=np.array(json.dumps(provenance)), **arrays)


def recorded(path):
    """Read the inputs, the outputs and the provenance that `record` wrote."""
    with np.load(path) as file:
        arrays = dict(file)
    provenance = json.loads(str(arrays.pop("provenance")))
    sides = {"inputs": {}, "outputs": {}}
    for key, array in arrays.items():
        side, name = key.split("/")
        sides[side][name] = array
    return sides["inputs"], sides["outputs"], provenance
