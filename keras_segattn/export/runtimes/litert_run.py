"""Script that runs a `.tflite` file in LiteRT, in its own process, so that a corrupt file crashes only that process.

It imports neither TensorFlow nor Keras nor this package. Usage:

    python -P litert_run.py request.json

The request holds `model`, `inputs` (an `.npz` of `signature/input` → samples, or null for `samples` random ones), and
the files to write, `arrays` and `facts`. The inputs and the outputs of both kernel sets go to `arrays`, measured
properties of the file to `facts`.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ai_edge_litert
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

THREADS = 2
# Seconds after which no further call is timed.
TIMED_SECONDS = 1.0
# Slowest model, in milliseconds per call, that also runs with the reference kernels: these are plain loops, tens of
# times slower than XNNPACK, and take minutes for slower models.
SLOWEST_FOR_REFERENCE_MS = 3000.0
# Side of the patches that random images are made of, in pixels.
PATCH = 8
NO_SIGNATURE = "(no signature)"

Arrays = dict[str, np.ndarray]


def names_of(enumeration: type) -> dict[int, str]:
    """Return value → name of an enumeration in the flatbuffer schema."""
    return {value: name for name, value in vars(enumeration).items() if not name.startswith("_")}


def read_structure(content: bytes) -> dict[str, Any]:
    """Read the operators of all subgraphs, the precision, and the ranges to which inputs are quantised.

    They are read from the flatbuffer itself: interpreters show only the first subgraph, through a private method.
    """
    model = schema.Model.GetRootAs(content, 0)
    builtin, types = names_of(schema.BuiltinOperator), names_of(schema.TensorType)
    operators: Counter[str] = Counter()
    integer: Counter[str] = Counter()
    custom: set[str] = set()
    constant: set[str | None] = set()
    computed: set[str | None] = set()
    ranges: dict[str, tuple[float, float]] = {}
    for subgraph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for operator in map(subgraph.Operators, range(subgraph.OperatorsLength())):
            code = model.OperatorCodes(operator.OpcodeIndex())
            # Codes above 127 were added later and are stored in another field.
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            name = builtin.get(number, f"UNKNOWN_{number}")
            if number == schema.BuiltinOperator.CUSTOM:
                name = code.CustomCode().decode()
                custom.add(name)
            operators[name] += 1
            kinds = {subgraph.Tensors(i).Type() for i in operator.OutputsAsNumpy().tolist()}
            if schema.TensorType.INT8 in kinds and name != "QUANTIZE":
                integer[name] += 1
            if name == "QUANTIZE":
                source, target = subgraph.Tensors(operator.Inputs(0)), subgraph.Tensors(operator.Outputs(0))
                step, zero = target.Quantization().Scale(0), target.Quantization().ZeroPoint(0)
                # The middle third of the 256 steps: images rarely use their whole range, and never in all pixels.
                ranges[source.Name().decode()] = (float(step * (-43 - zero)), float(step * (42 - zero)))
        for tensor in map(subgraph.Tensors, range(subgraph.TensorsLength())):
            stored = model.Buffers(tensor.Buffer()).DataLength() > 0
            (constant if stored else computed).add(types.get(tensor.Type()))
    precision = "float16" if "FLOAT16" in constant else "float32"
    if "INT8" in constant:
        precision = "int8" if "INT8" in computed else "dynamic"
    return {
        "operators": operators,
        "integer_operators": integer,
        "custom_operators": sorted(custom),
        "precision": precision,
        "ranges": ranges,
    }


def delegated_share(interpreter: Interpreter) -> float | None:
    """Return the share of the first subgraph's nodes that a delegate runs; `None` if this version does not tell.

    A delegate lists the tensors that enter and leave it. A node belongs to the delegate if one of its outputs leaves,
    or if its outputs stay inside: only delegated nodes read them, and they are not among the tensors that enter.
    """
    details = getattr(interpreter, "_get_ops_details", None)
    if details is None:
        return None
    nodes = details()
    delegates = [node for node in nodes if node["op_name"] == "DELEGATE"]
    nodes = [node for node in nodes if node["op_name"] != "DELEGATE"]
    leaving = {tensor for node in delegates for tensor in node["outputs"].tolist()}
    entering = {tensor for node in delegates for tensor in node["inputs"].tolist()}
    inside: set[int] = set()
    readers: dict[int, set[int]] = {}
    for position, node in enumerate(nodes):
        for tensor in node["inputs"].tolist():
            readers.setdefault(tensor, set()).add(position)
    for position in reversed(range(len(nodes))):
        outputs = set(nodes[position]["outputs"].tolist())
        uses = {reader for tensor in outputs for reader in readers.get(tensor, ())}
        if outputs & leaving or (uses and uses <= inside and not outputs & entering):
            inside.add(position)
    return len(inside) / len(nodes) if nodes else None


def fully_accelerated(path: str) -> bool | None:
    """Return whether LiteRT says that its CPU accelerator runs the whole model; `None` if it does not say."""
    try:
        from ai_edge_litert.compiled_model import CompiledModel

        return CompiledModel.from_file(path).is_fully_accelerated()
    except (AttributeError, ImportError, RuntimeError):
        return None


def runners(interpreter: Interpreter) -> dict[str, Callable[..., Arrays]]:
    """Return signature → function from named inputs to named outputs."""
    names = list(interpreter.get_signature_list())
    if names:
        return {name: interpreter.get_signature_runner(name) for name in names}

    def run(**inputs: np.ndarray) -> Arrays:
        for detail in interpreter.get_input_details():
            interpreter.set_tensor(detail["index"], inputs[detail["name"]])
        interpreter.invoke()
        return {d["name"]: interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()}

    return {NO_SIGNATURE: run}


def details_of(interpreter: Interpreter, signature: str, side: str) -> dict[str, dict[str, Any]]:
    """Return name → details of a signature's tensors; `side` is `input` or `output`."""
    if signature == NO_SIGNATURE:
        return {detail["name"]: detail for detail in getattr(interpreter, f"get_{side}_details")()}
    return getattr(interpreter.get_signature_runner(signature), f"get_{side}_details")()


def describe(details: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return name → `"dtype[shape]"`, with `?` for unknown sizes."""

    def shape(detail: dict[str, Any]) -> str:
        return ", ".join("?" if size < 0 else str(size) for size in detail["shape_signature"].tolist())

    return {name: f"{np.dtype(detail['dtype']).name}[{shape(detail)}]" for name, detail in details.items()}


def draw(
    generator: np.random.Generator,
    samples: int,
    detail: dict[str, Any],
    limits: tuple[float, float] | None,
) -> np.ndarray:
    """Draw random samples for an input of unknown kind: noise for floats, any 8-bit integers, 0 and 1 for indices.

    Images are made of patches of one colour, since white noise averages out in deep networks. If the file quantises
    the input to the range `limits`, floats are drawn uniformly from it.
    """
    shape, dtype = (samples, *detail["shape"].tolist()), np.dtype(detail["dtype"])
    if dtype.kind == "f":
        noise = generator.normal(size=shape) if limits is None else generator.uniform(*limits, shape)
        if len(shape) == 5:
            rows, columns = (np.arange(size) // PATCH for size in shape[2:4])
            noise = noise[:, :, rows][:, :, :, columns]
        return noise.astype(dtype)
    if dtype in (np.int8, np.uint8):
        every = np.iinfo(dtype)
        return generator.integers(every.min, every.max, size=shape, dtype=dtype, endpoint=True)
    return generator.integers(0, 2, size=shape).astype(dtype)


def run_samples(runner: Callable[..., Arrays], inputs: Arrays, count: int | None = None) -> Arrays:
    """Run the first `count` samples (default: all) one by one and stack their outputs."""
    total = len(next(iter(inputs.values()))) if inputs else 1
    calls = [
        runner(**{name: array[index] for name, array in inputs.items()})
        for index in range(total if count is None else min(count, total))
    ]
    return {name: np.stack([call[name] for call in calls]) for name in calls[0]}


def median_ms(runner: Callable[..., Arrays], inputs: Arrays, most: int) -> float:
    """Return the median milliseconds of at most `most` calls on the first sample."""
    sample = {name: array[0] for name, array in inputs.items()}
    runner(**sample)
    times: list[float] = []
    while not times or (sum(times) < TIMED_SECONDS and len(times) < most):
        start = time.perf_counter()
        runner(**sample)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def samples_for(
    request: dict[str, Any], details: dict[str, dict[str, Any]], ranges: dict[str, Any]
) -> dict[str, Arrays]:
    """Return signature → input name → samples: those of the request, or random ones from a fixed seed."""
    if request["inputs"] is not None:
        with np.load(request["inputs"]) as given:
            return {name: {key: given[f"{name}/{key}"] for key in one} for name, one in details.items()}
    generator = np.random.default_rng(0)
    return {
        name: {
            key: draw(generator, request["samples"], detail, ranges.get(detail["name"])) for key, detail in one.items()
        }
        for name, one in details.items()
    }


def main() -> None:
    """Run the file of the request; write its outputs and its measured properties."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    content = Path(request["model"]).read_bytes()
    fast = Interpreter(model_content=content, num_threads=THREADS)
    fast.allocate_tensors()
    facts = read_structure(content) | {
        "version": ai_edge_litert.__version__,
        "delegated_share": delegated_share(fast),
        "fully_accelerated": fully_accelerated(request["model"]),
    }
    details = {name: {side: details_of(fast, name, side) for side in ("input", "output")} for name in runners(fast)}
    facts["signatures"] = {
        name: {f"{side}s": describe(tensors) for side, tensors in sides.items()} for name, sides in details.items()
    }
    # Names of the tensors, for runtimes that know no signatures.
    facts["tensors"] = {
        name: {side: {key: tensor["name"] for key, tensor in tensors.items()} for side, tensors in sides.items()}
        for name, sides in details.items()
    }
    inputs = samples_for(request, {name: sides["input"] for name, sides in details.items()}, facts["ranges"])
    arrays: Arrays = {}

    def record(kind: str, signature: str, named: Arrays) -> None:
        arrays.update({f"{kind}/{signature}/{name}": array for name, array in named.items()})

    for name, runner in runners(fast).items():
        record("inputs", name, inputs[name])
        record("default", name, run_samples(runner, inputs[name]))
    first = next(iter(details))
    facts["latency_ms"] = median_ms(runners(fast)[first], inputs[first], request["timed_calls"])
    if facts["latency_ms"] <= SLOWEST_FOR_REFERENCE_MS:
        plain = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
        plain.allocate_tensors()
        for name, runner in runners(plain).items():
            record("reference", name, run_samples(runner, inputs[name], count=1))
    np.savez(request["arrays"], **arrays)  # type: ignore[arg-type]
    Path(request["facts"]).write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main()
