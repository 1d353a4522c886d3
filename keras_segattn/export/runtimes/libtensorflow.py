"""Runs of a SavedModel through TensorFlow's C API, in a process that never imports `tensorflow`."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_segattn.export.meta_graph import read_meta_graph, signature_defs
from keras_segattn.export.mobile.litert import Arrays
from keras_segattn.export.report import ExportError
from keras_segattn.export.runtimes.scripts import failure, run_script


@dataclass(frozen=True)
class Call:
    """A request to a signature.

    Args:
        signature: name of the signature.
        inputs: input name → array (of `bytes` objects for strings), or the bytes of a serialised TensorProto.
        timed: whether to measure the latency.
        label: name of the call in error messages; the signature if empty.
    """

    signature: str
    inputs: Mapping[str, Any]
    timed: bool = False
    label: str = ""


@dataclass(frozen=True)
class Answer:
    """The result of a call: output name → array, and the median latency if it was timed."""

    outputs: Arrays
    latency_ms: float | None


def run_saved_model(directory: Path, calls: Sequence[Call]) -> tuple[str, list[Answer]]:
    """Load a SavedModel as TensorFlow Serving does, and call its signatures.

    Args:
        directory: version directory of a SavedModel.
        calls: requests to run; their outputs are numbers or strings.

    Returns:
        The version of the library, and the answers in the order of the calls.

    Raises:
        ExportError: if a signature or input does not exist, or the library cannot load the model or run a call.

    Example:
        >>> image = np.zeros((1, 64, 64, 3), "uint8")
        >>> version, (answer,) = run_saved_model(directory, [Call("serving_default", {"image": image})])
        >>> answer.outputs["logits"].shape
        (1, 64, 64, 21)
    """
    signatures = signature_defs(read_meta_graph(directory))
    protos: dict[str, np.ndarray] = {}
    described: list[dict[str, Any]] = []
    for index, call in enumerate(calls):
        if call.signature not in signatures:
            raise ExportError(f"{directory} has signatures {sorted(signatures)}, received {call.signature!r}")
        signature = signatures[call.signature]
        if set(call.inputs) != set(signature.inputs):
            raise ExportError(f"{call.signature} has inputs {sorted(signature.inputs)}, received {sorted(call.inputs)}")
        for name, value in call.inputs.items():
            protos[f"{index}/{signature.inputs[name].name}"] = np.frombuffer(serialised(value), "uint8")
        outputs = {name: tensor.name for name, tensor in signature.outputs.items()}
        described.append({"name": call.label or call.signature, "outputs": outputs, "timed": call.timed})

    with tempfile.TemporaryDirectory(prefix="libtensorflow_") as folder:
        work = Path(folder)
        request: dict[str, Any] = {"saved_model": directory.resolve(), "calls": described}
        request |= {"protos": work / "protos.npz", "arrays": work / "arrays.npz", "facts": work / "facts.json"}
        np.savez(request["protos"], **protos)  # type: ignore[arg-type]
        process = run_script("libtensorflow_run", request, work)
        if process.returncode:
            raise ExportError(f"TensorFlow's C API cannot run {directory}: {failure(process)}")
        facts = json.loads(request["facts"].read_text(encoding="utf-8"))
        with np.load(request["arrays"]) as arrays:
            answers = [
                Answer(
                    {name: arrays[f"{index}/{name}"] for name in call["outputs"]}, facts["latency_ms"].get(str(index))
                )
                for index, call in enumerate(described)
            ]
    return facts["version"], answers


def serialised(value: Any) -> bytes:
    """Serialise an array as a TensorProto; `bytes` are taken for a serialised TensorProto and returned as they are."""
    import tensorflow as tf

    return value if isinstance(value, bytes) else tf.make_tensor_proto(value).SerializeToString()
