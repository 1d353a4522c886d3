"""Script that runs the `serving_default` of a SavedModel, or a `.tflite` file, in OpenVINO, in its own process.

    python -P openvino_run.py request.json

The request holds `model`, `inputs` (an `.npz` of input name → array), and the files to write, `arrays` and `facts`. The
outputs go to `arrays`, the version of OpenVINO to `facts`.
"""

import json
import sys
from pathlib import Path

import numpy as np
import openvino


def main() -> None:
    """Run the model of the request and write its outputs."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    core = openvino.Core()
    model = core.read_model(request["model"])
    # Without this hint, OpenVINO computes in bfloat16 on CPUs that support it.
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with np.load(request["inputs"]) as inputs:
        results = compiled({name: inputs[name] for name in inputs.files}).to_dict()
    np.savez(request["arrays"], **{name: array for port, array in results.items() for name in port.get_names()})
    facts = {"version": openvino.__version__.split("-", maxsplit=1)[0]}
    Path(request["facts"]).write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main()
