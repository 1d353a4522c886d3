"""TensorFlow Addons as an oracle from arrays to arrays, and recorded fixtures for machines without Addons."""

import datetime as dt
import json
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from quick_scripts import ForkedScripts

from keras_segattn.files import replaced

RUNNER = Path(__file__).with_name("runner.py")
PACKAGES = ("tensorflow-addons", "tensorflow", "tf_keras", "numpy")


def addons_process():
    """Return a runner of scripts in processes for TensorFlow Addons."""
    # PYTHONPATH and KERAS_BACKEND are meant for Keras 3 in this process, not for the oracle's Keras 2.
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "KERAS_BACKEND")}
    return ForkedScripts(environment | {"TF_USE_LEGACY_KERAS": "1"})


def run_tfa(process, function, inputs, **options):
    """Call one of the runner's `ORACLES` in a process of its own.

    Args:
        process: result of `addons_process`.
        function: key of `ORACLES`.
        inputs: keyword → array.
        options: further keywords, with values that JSON can hold.

    Returns:
        Name → array, the outputs of the oracle.

    Raises:
        RuntimeError: if the process failed; the message ends with the process' standard error.
    """
    with tempfile.TemporaryDirectory() as folder:
        request = {"function": function, "options": options}
        request |= {"inputs": Path(folder, "inputs.npz"), "outputs": Path(folder, "outputs.npz")}
        np.savez(request["inputs"], **inputs)
        done = process.run(RUNNER, request, Path(folder))
        if done.returncode:
            raise RuntimeError(f"{function} failed in TensorFlow Addons:\n{done.stderr[-2000:]}")
        with np.load(request["outputs"]) as arrays:
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
