"""Verification of a `.tflite` file, whoever wrote it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_segattn.endpoints import Endpoint, model_endpoint
from keras_segattn.export.archive import as_float32, compiled
from keras_segattn.export.mobile import litert
from keras_segattn.export.preparation import comparison_of, facts_in
from keras_segattn.export.report import ExportReport, RuntimeResult
from keras_segattn.export.runtimes.openvino import run_openvino
from keras_segattn.facts import Facts
from keras_segattn.fields import Field
from keras_segattn.tasks import closeness


def verify_tflite(path: str | Path, *, reference: keras.Model | None = None) -> ExportReport:
    """Measure a `.tflite` file, whoever wrote it: whether it runs, its operators, and whether two kernel sets agree.

    Args:
        path: path of the file.
        reference: Keras model with the same inputs and outputs, to compare with as well.

    Returns:
        The report; its `passed` says whether all checks hold.

    Raises:
        ExportError: if the file is missing, truncated or no TFLite file, or LiteRT cannot run it.
        ValueError: if `reference` has other inputs or outputs than the file.

    Example:
        >>> verify_tflite("fcn8s.tflite").raise_if_failed()
    """
    path = Path(path)
    facts = facts_in(path)
    run = litert.run_file(path)
    if facts is not None:
        run = litert.run_file(path, plausible(facts, run) or None)
    expected = None if reference is None else reference_outputs(as_float32(reference), run)
    compare = comparison_of(facts)
    return litert.report_on(path, run, expected=expected, compare=compare, others=openvino_results(path, run, expected))


def plausible(facts: Facts, run: litert.LiteRTRun) -> dict[str, litert.Arrays]:
    """Return the inputs of a run, with plausible values for those whose kinds the facts name."""
    return {
        signature: {
            name: plausible_value(facts.inputs[name], array) if name in facts.inputs else array
            for name, array in named.items()
        }
        for signature, named in run.inputs.items()
    }


def plausible_value(kind: Field, array: np.ndarray) -> np.ndarray:
    """Draw plausible samples of an input with the shape and dtype of `array`."""
    drawn = [ops.convert_to_numpy(kind.prepare(kind.draw(one.shape, seed))) for seed, one in enumerate(array)]
    return np.stack(drawn).astype(array.dtype)


def openvino_results(
    path: Path, run: litert.LiteRTRun, expected: Mapping[str, litert.Arrays] | None
) -> tuple[RuntimeResult, ...]:
    """Run the first sample of the first signature, the only one it reads, in OpenVINO; empty if not installed.

    The outputs are compared with `expected`, or with LiteRT's without it. The differences are reported, but no check
    depends on them: OpenVINO computes quantised files in a precision of its own, and does not know every operator.
    """
    signature = next(iter(run.facts["signatures"]))
    tensors = run.facts["tensors"][signature]
    inputs = {tensors["input"][name]: array[0] for name, array in run.inputs[signature].items()}
    answer = run_openvino(path, inputs, list(tensors["output"].values()))
    if answer is None:
        return ()
    runtime, outputs = answer
    if outputs is None:
        return (RuntimeResult("OpenVINO", not_run=runtime),)
    got = {signature: {name: outputs[tensor][None] for name, tensor in tensors["output"].items()}}
    wanted = (expected or run.default)[signature]
    found = closeness.compare(got, {signature: wanted}, run.facts["precision"])
    return (RuntimeResult(runtime, found.difference, found.agreement),)


def reference_outputs(model: keras.Model, run: litert.LiteRTRun) -> dict[str, litert.Arrays]:
    """Return a Keras model's outputs for the inputs that a file was run with, under the file's names.

    Several inputs or outputs are matched by name; the names of a single one may differ.

    Raises:
        ValueError: if the file has several signatures, or other inputs or outputs than the model.
    """
    if len(run.inputs) != 1:
        raise ValueError(f"a reference model fits one signature, the file has {sorted(run.inputs)}")
    ((signature, inputs),) = run.inputs.items()
    endpoint = model_endpoint(model)
    if len(inputs) == len(endpoint.inputs) == 1:
        inputs = dict(zip(endpoint.inputs, inputs.values(), strict=True))
    if sorted(inputs) != sorted(endpoint.inputs):
        raise ValueError(f"the file's inputs are {sorted(inputs)}, the model's are {sorted(endpoint.inputs)}")
    static = {name: spec._replace(shape=inputs[name].shape[1:]) for name, spec in endpoint.inputs.items()}
    outputs = outputs_of(inputs, compiled(Endpoint(endpoint.function, static)))
    names = list(run.default[signature])
    if len(outputs) == len(names) == 1:
        outputs = dict(zip(names, outputs.values(), strict=True))
    if sorted(outputs) != sorted(names):
        raise ValueError(f"the file's outputs are {sorted(names)}, the model's are {sorted(outputs)}")
    return {signature: outputs}


def outputs_of(inputs: litert.Arrays, run: Callable[[Mapping[str, Any]], dict[str, Any]]) -> litert.Arrays:
    """Call a function with one of the samples `(n, *input shape)` at a time; return name → `(n, *output shape)`."""
    calls = [run(dict(zip(inputs, sample, strict=True))) for sample in zip(*inputs.values(), strict=True)]
    return {name: np.stack([call[name] for call in calls]) for name in calls[0]}
