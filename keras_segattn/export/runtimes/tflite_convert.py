"""Script: converts a SavedModel to TFLite. It runs in a process of its own and imports nothing of this package.

The converter leaks memory, and a fresh process that never loads Keras keeps it from touching the caller's state.

    python -P tflite_convert.py request.json

The request holds `saved_model`, `signatures` (a list), `quantize`, `calibration` (an `.npz` of `signature/input` →
samples `(n, *input shape)`, or null), `layers_only`, `exact_layers` and `output`. With `layers_only`, int8 is for the
layers with weights and the rest stays float, as the arithmetic of boxes must; of `exact_layers` only the weights are
int8. A failure is written to `error` as the converter
worded it.
"""

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def representative_dataset(file: str, signatures: list[str]) -> Callable[[], Iterator[Any]]:
    """Feeds the samples of `file` to every signature, one at a time."""
    import numpy as np

    with np.load(file) as arrays:
        samples = {
            signature: {
                key.removeprefix(f"{signature}/"): arrays[key]
                for key in arrays.files
                if key.startswith(f"{signature}/")
            }
            for signature in signatures
        }

    def dataset() -> Iterator[Any]:
        for signature, inputs in samples.items():
            for index in range(min(map(len, inputs.values()))):
                sample = {name: array[index] for name, array in inputs.items()}
                yield (signature, sample) if len(signatures) > 1 else sample

    return dataset


def convert(request: dict[str, Any]) -> bytes:
    """The flatbuffer, of builtin operators only."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(request["saved_model"], signature_keys=request["signatures"])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if request["quantize"] == "int8" and request["layers_only"]:
        return quantized_layers(converter.convert(), request)
    if request["quantize"] is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if request["quantize"] == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if request["quantize"] == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = representative_dataset(request["calibration"], request["signatures"])
    return converter.convert()


@contextlib.contextmanager
def tensors_of_loops_missing() -> Iterator[None]:
    """Let the quantizer read zeros where a tensor cannot be read: tensors of loops exist only while these run.

    Nothing in a loop is quantised. The quantizer's own function is put back afterwards.
    """
    import numpy as np
    from ai_edge_quantizer.utils import tfl_interpreter_utils

    read = getattr(tfl_interpreter_utils, "get_tensor_data", None)
    if read is None:
        raise RuntimeError("this ai-edge-quantizer has no get_tensor_data; expected version 0.10")

    def read_if_there(interpreter: Any, detail: dict[str, Any], *rest: Any) -> Any:
        try:
            return read(interpreter, detail, *rest)
        except ValueError:
            return np.zeros(detail["shape"], detail["dtype"])

    tfl_interpreter_utils.get_tensor_data = read_if_there
    try:
        yield
    finally:
        tfl_interpreter_utils.get_tensor_data = read


def quantized_layers(flatbuffer: bytes, request: dict[str, Any]) -> bytes:
    """A float flatbuffer with convolutions and fully connected layers in int8.

    TensorFlow's own calibrator does not survive the loops of non-maximum suppression.
    """
    from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    work = Path(request["output"])
    plain = work.with_suffix(".float.tflite")
    plain.write_bytes(flatbuffer)
    try:
        quantization = quantizer.Quantizer(str(plain))
        exact = floating(flatbuffer, request["exact_layers"])
        for operator in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONV_2D_TRANSPOSE"):
            name = qtyping.TFLOperationName[operator]
            quantization.add_static_config(
                regex=f"^(?!{exact})", operation_name=name, activation_num_bits=8, weight_num_bits=8
            )
            quantization.add_weight_only_config(regex=f"^{exact}", operation_name=name, num_bits=8)
        samples = representative_dataset(request["calibration"], request["signatures"])()
        rows = [row if isinstance(row, tuple) else (request["signatures"][0], row) for row in samples]
        by_signature = {name: [row for key, row in rows if key == name] for name in request["signatures"]}
        # The quantizer's own calibration averages with a weight of 0.95 on what was before: of as few samples as ours,
        # ranges would be those of the first. Least and largest of all samples are what TensorFlow's calibrator takes.
        ranges = calibrator.Calibrator(str(plain), qsv_update_func=qsv_utils.min_max_update)
        recipe = recipe_manager.RecipeManager()
        recipe.load_quantization_recipe(quantization.get_quantization_recipe())
        with tensors_of_loops_missing():
            ranges.calibrate(by_signature, recipe)
            result = quantization.quantize(ranges.get_model_qsvs())
        return bytes(result.quantized_model)
    finally:
        plain.unlink()


def floating(flatbuffer: bytes, layers: list[str]) -> str:
    """A pattern of the operators of which only the weights are int8: of some layers, and those that read an output.

    LiteRT's default kernels lose an output of which a quantised copy is made.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=flatbuffer, experimental_op_resolver_type=resolver)
    outputs = {int(tensor["index"]) for tensor in interpreter.get_output_details()}
    names = {int(tensor["index"]): tensor["name"] for tensor in interpreter.get_tensor_details()}
    of_layers = re.compile("|".join(rf"(?:^|/|;){re.escape(layer)}(?:_\d+)?/" for layer in layers) or "(?!)")
    scopes = []
    details = getattr(interpreter, "_get_ops_details", None)
    if details is None:
        raise RuntimeError("this ai-edge-litert does not list a file's operators, which int8 of single layers needs")
    for operator in details():
        scope, read = ([int(index) for index in operator[side] if index >= 0] for side in ("outputs", "inputs"))
        # What makes an output is called by that; its weights by their layer.
        known = "".join(f"{names[index]};" for index in scope + read)
        if outputs & set(read) or of_layers.search(known):
            scopes.append(re.escape("".join(f"{names[index]};" for index in scope)))
    return f"(?:{'|'.join(scopes)})$" if scopes else "(?!)"


def main() -> int:
    """Convert what the request names; 1 if the converter refuses."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        flatbuffer = convert(request)
    except Exception as error:  # it raises many types, and the caller reports each
        Path(request["error"]).write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        return 1
    Path(request["output"]).write_bytes(flatbuffer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
