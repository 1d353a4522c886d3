"""Runs in OpenVINO: an independent reader of both formats, with its own kernels."""

import importlib.util
import json
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from keras_segattn.export.mobile.litert import Arrays
from keras_segattn.export.runtimes.scripts import failure, run_script


def run_openvino(path: Path, inputs: Arrays, names: Collection[str]) -> tuple[str, Arrays | None] | None:
    """Run a SavedModel's `serving_default`, or a `.tflite`, in OpenVINO, if it is installed.

    Args:
        path: version directory of a SavedModel, or `.tflite` file.
        inputs: input name → array.
        names: names of the outputs to return.

    Returns:
        Name and version of the runtime, and output name → array. If OpenVINO cannot run the graph (it knows fewer
        operators than TensorFlow) or names the outputs differently, the reason and `None`. `None` alone if OpenVINO is
        not installed.
    """
    if importlib.util.find_spec("openvino") is None:
        return None
    with tempfile.TemporaryDirectory(prefix="openvino_") as folder:
        work = Path(folder)
        request: dict[str, Any] = {"model": path.resolve(), "inputs": work / "inputs.npz"}
        request |= {"arrays": work / "arrays.npz", "facts": work / "facts.json"}
        np.savez(request["inputs"], **inputs)  # type: ignore[arg-type]
        process = run_script("openvino_run", request, work)
        if process.returncode:
            return failure(process), None
        facts = json.loads(request["facts"].read_text(encoding="utf-8"))
        with np.load(request["arrays"]) as arrays:
            if set(names) - set(arrays.files):
                return f"its outputs are {sorted(arrays.files)}, not {sorted(names)}", None
            return f"OpenVINO {facts['version']}", {name: arrays[name] for name in names}
