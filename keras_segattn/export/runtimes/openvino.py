"""OpenVINO as a second opinion: another reader of both formats, with kernels of its own."""

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
        path: a version directory or a file.
        inputs: input name → array.
        names: of the outputs that are wanted.

    Returns:
        The runtime's name and the outputs by name; where OpenVINO cannot run the graph, since it knows fewer
        operators than TensorFlow, or names outputs otherwise, the reason and `None`. `None` if it is not installed.
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
