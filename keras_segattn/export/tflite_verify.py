"""Verification of a `.tflite` that anybody wrote."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_segattn.export import litert
from keras_segattn.export.archive import Endpoint, as_float32, model_endpoint
from keras_segattn.export.openvino_runtime import run_openvino
from keras_segattn.export.report import ExportReport, RuntimeResult
from keras_segattn.facts import preprocessing_of

# Standard deviation of natural images, in units of 0..255 intensities: that of the noise a file is verified with.
IMAGE_DEVIATION = 64.0


def verify_tflite(path: str | Path, *, reference: keras.Model | None = None) -> ExportReport:
    """Measure a `.tflite` that anybody wrote: does it run, on what operators, and do two sets of kernels agree?

    Args:
        path: the file.
        reference: a Keras model with the same inputs and outputs, to compare with as well.

    Returns:
        The report; its `passed` says whether all checks hold.

    Raises:
        ExportError: if the file is missing, truncated or no TFLite, or LiteRT cannot run it.
        ValueError: if `reference` has other inputs or outputs than the file.

    Example:
        >>> verify_tflite("fcn8s.tflite").raise_if_failed()
    """
    path = Path(path)
    run = litert.run_file(path, scale=1.0 if reference is None else noise_scale(reference))
    expected = None if reference is None else reference_outputs(as_float32(reference), run)
    return litert.report_on(path, run, expected=expected, others=openvino_results(path, run, expected))


def openvino_results(
    path: Path, run: litert.LiteRTRun, expected: Mapping[str, litert.Arrays] | None
) -> tuple[RuntimeResult, ...]:
    """How OpenVINO runs the first sample of the first signature, the one it reads; empty if it is not installed.

    Differences are to `expected`, or to LiteRT without it. They are reported and no condition: OpenVINO computes
    quantised files in a precision of its own, and does not know every operator.
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
    found = litert.compare(got, {signature: wanted}, run.facts["precision"])
    return (RuntimeResult(runtime, found.difference, found.agreement),)


def noise_scale(model: keras.Model) -> float:
    """Standard deviation of noise that the model's inputs are used to."""
    try:
        return IMAGE_DEVIATION / float(np.mean(preprocessing_of(model).std))
    except ValueError:  # not one of our architectures: assume inputs of unit variance
        return 1.0


def reference_outputs(model: keras.Model, run: litert.LiteRTRun) -> dict[str, litert.Arrays]:
    """A Keras model's outputs for the inputs a file was run with, under the file's names.

    Names are matched where there are several inputs or outputs; one alone needs no name.

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
    outputs, names = outputs_of(endpoint, inputs), list(run.default[signature])
    if len(outputs) == len(names) == 1:
        outputs = dict(zip(names, outputs.values(), strict=True))
    if sorted(outputs) != sorted(names):
        raise ValueError(f"the file's outputs are {sorted(names)}, the model's are {sorted(outputs)}")
    return {signature: outputs}


def outputs_of(endpoint: Endpoint, inputs: litert.Arrays) -> litert.Arrays:
    """What Keras gives for samples `(n, *input shape)`: output name → `(n, *output shape)`."""
    calls = [endpoint.function(dict(zip(inputs, sample, strict=True))) for sample in zip(*inputs.values(), strict=True)]
    return {name: np.stack([ops.convert_to_numpy(call[name]) for call in calls]) for name in calls[0]}
