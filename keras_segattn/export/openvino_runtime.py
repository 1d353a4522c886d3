"""OpenVINO as a second opinion on a SavedModel: another reader of the format, with kernels of its own."""

import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from keras_segattn.export.litert import Arrays
from keras_segattn.export.scripts import failure, run_script


def run_openvino(directory: Path, inputs: Arrays) -> tuple[str, Arrays | None] | None:
    """Run a SavedModel's `serving_default` in OpenVINO, if it is installed.

    Args:
        directory: a version directory.
        inputs: input name → array.

    Returns:
        The runtime's name and the outputs by name. Where OpenVINO cannot run the graph the name says why and the
        outputs are `None`: it knows fewer operators than TensorFlow. `None` if it is not installed.
    """
    if importlib.util.find_spec("openvino") is None:
        return None
    with tempfile.TemporaryDirectory(prefix="openvino_") as folder:
        work = Path(folder)
        request: dict[str, Any] = {"saved_model": directory.resolve(), "inputs": work / "inputs.npz"}
        request |= {"arrays": work / "arrays.npz", "facts": work / "facts.json"}
        np.savez(request["inputs"], **inputs)  # type: ignore[arg-type]
        process = run_script("openvino_run", request, work)
        if process.returncode:
            return f"OpenVINO cannot run it ({failure(process)})", None
        facts = json.loads(request["facts"].read_text(encoding="utf-8"))
        with np.load(request["arrays"]) as arrays:
            return f"OpenVINO {facts['version']}", {name: arrays[name] for name in arrays.files}
