"""Script that converts a SavedModel to TFLite, in its own process and without importing this package.

The converter leaks memory; a fresh process that never loads Keras also keeps it from changing the caller's state.

    python -P tflite_convert.py request.json

The request holds `saved_model`, `signatures` (a list), `quantize`, `calibration` (an `.npz` of `signature/input` →
samples `(n, *input shape)`, or null), `layers_only`, `exact_layers`, and the files to write, `output` and `error`. With
`layers_only`, only layers with weights are int8 and the rest stays float, as the arithmetic of boxes must; in
`exact_layers` only the weights are int8. If the conversion fails, the converter's message goes to `error`.
"""

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def representative_dataset(file: str, signatures: list[str]) -> Callable[[], Iterator[Any]]:
    """Return a function that yields the samples in `file`, one at a time, for every signature."""
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
    """Convert the SavedModel to a flatbuffer with builtin operators only."""
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
    """Let the quantizer read zeros where a tensor cannot be read: tensors inside loops exist only while the loop runs.

    Nothing inside a loop is quantised. The quantizer's own function is restored afterwards.
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
    """Quantise convolutions and fully connected layers of a float flatbuffer to int8, with `ai_edge_quantizer`.

    TensorFlow's own calibrator fails on the loops of non-maximum suppression.
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
        # The quantizer's own calibration is a moving average with a weight of 0.95 on earlier samples: with our few
        # samples, the first would determine the ranges. TensorFlow's calibrator, too, takes minimum and maximum of all.
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
    """Return a pattern for the operators in which only the weights are int8.

    These are the operators of `layers`, and all that read an output of the model: LiteRT's default kernels lose an
    output of which a quantised copy is made.
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
        # The scope of an operator is made of the names of its outputs; the names of its weights hold the layer.
        known = "".join(f"{names[index]};" for index in scope + read)
        if outputs & set(read) or of_layers.search(known):
            scopes.append(re.escape("".join(f"{names[index]};" for index in scope)))
    return f"(?:{'|'.join(scopes)})$" if scopes else "(?!)"


def main() -> int:
    """Convert the SavedModel of the request; return 1 if the conversion fails, else 0."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        flatbuffer = convert(request)
    except Exception as error:  # the converter raises many types, and the caller reports each
        Path(request["error"]).write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        return 1
    Path(request["output"]).write_bytes(flatbuffer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
