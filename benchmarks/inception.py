"""Inference of Inception-v4 and Inception-ResNet-v2: ours beside PyTorch, keras.applications, onnxruntime, OpenVINO.

Run: python benchmarks/inception.py [--model inception_v4] [--batch 1] [--rounds 12] [--output out/benchmarks].
Needs the packages of `make parity`, onnxruntime, onnx and onnxscript. Prints a table per model and batch, and writes
them as Markdown and JSON.

All contenders compute the same network with the same random weights in float32 on two threads, each in a process of
its own, and take turns: round after round one call each, so that what else the machine does meets all of them alike.
The figure is the median after two warm-up calls. Before any is timed its outputs must equal ours.
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

SIZE = 299
THREADS = "2"
WARM_UPS = 2
# float32 sums in other orders; TFLite's and OpenVINO's kernels reorder most.
MAX_DIFFERENCE = 1e-3
BUILDERS = {"inception_v4": "InceptionV4", "inception_resnet_v2": "InceptionResNetV2"}
FROZEN = {"TF_ONEDNN_ASSUME_FROZEN_WEIGHTS": "1"}
SAVED_MODEL, TFLITE = "ours, SavedModel", "ours, TFLite"
FROZEN_SAVED_MODEL = "ours, SavedModel, frozen weights"
CHANNELS_LAST, ONNXRUNTIME, OPENVINO = "timm, channels last", "onnxruntime", "OpenVINO"
# Batch → (ours, the peer, goal of their ratio).
GOALS = {
    8: ((SAVED_MODEL, CHANNELS_LAST, 0.92), (SAVED_MODEL, ONNXRUNTIME, 1.1)),
    1: ((FROZEN_SAVED_MODEL, CHANNELS_LAST, 0.9), (FROZEN_SAVED_MODEL, OPENVINO, 1.25), (TFLITE, OPENVINO, 1.15)),
}
PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "torch", "timm", "onnxruntime", "openvino", "numpy")

Run = Callable[[], np.ndarray]


def images(batch: int) -> np.ndarray:
    """The same noise for everybody, `(batch, 299, 299, 3)`."""
    return np.random.default_rng(0).uniform(-1, 1, (batch, SIZE, SIZE, 3)).astype("float32")


def torch_model(model: str) -> Any:
    """timm's network with random weights that depend on their names only."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from torch_oracles import randomise, timm_model

    return randomise(timm_model(model))


def our_model(model: str, work: Path) -> Any:
    """Our network with timm's weights."""
    import keras_segattn

    builder = getattr(keras_segattn, BUILDERS[model])
    return builder(input_shape=(SIZE, SIZE, 3), weights=str(work / "weights.pth"))


def prepare(model: str, work: Path) -> int:
    """Write the files that the contenders load; the answer is the floating-point operations of an image."""
    import keras
    import torch

    from keras_segattn import export

    network = torch_model(model)
    torch.save(network.state_dict(), work / "weights.pth")
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, SIZE, SIZE),),
        str(work / "model.onnx"),
        input_names=["x"],
        dynamo=True,
        external_data=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    ours = our_model(model, work)
    for batch in (1, 8):
        np.save(work / f"expected_{batch}.npy", ours.predict(images(batch), verbose=0))
    export.saved_model(ours, work / "saved", 1, preprocess=None, signatures=("serving_default",))
    export.tflite(ours, work / "model.tflite")
    multiplications = 0
    for layer in ours.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            positions = int(np.prod(layer.output.shape[1:-1]))
            multiplications += positions * int(np.prod(layer.kernel.shape))
    return 2 * multiplications


def our_predict(model: str, work: Path, x: np.ndarray) -> Run:
    """`keras.Model.predict`."""
    network = our_model(model, work)
    return lambda: network.predict(x, batch_size=len(x), verbose=0)


def our_saved_model(model: str, work: Path, x: np.ndarray) -> Run:
    """`serving_default` of the exported version."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(work / "saved" / model / "1"))
    function = loaded.signatures["serving_default"]
    (name,) = function.structured_input_signature[1]
    tensor = tf.constant(x)

    def run() -> np.ndarray:
        return function(**{name: tensor})["logits"].numpy()

    return run


def our_tflite(model: str, work: Path, x: np.ndarray) -> Run:  # noqa: ARG001 - all contenders are called alike
    """The exported file in LiteRT; its batch is 1."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(work / "model.tflite"), num_threads=int(THREADS)).get_signature_runner()
    (name,) = runner.get_input_details()
    return lambda: np.concatenate([next(iter(runner(**{name: x[i : i + 1]}).values())) for i in range(len(x))])


def timm_eager(model: str, work: Path, x: np.ndarray, memory_format: str = "contiguous_format") -> Run:  # noqa: ARG001
    """PyTorch, call by call."""
    import torch

    torch.set_num_threads(int(THREADS))
    layout = getattr(torch, memory_format)
    network = torch_model(model).to(memory_format=layout)
    tensor = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(memory_format=layout)

    def run() -> np.ndarray:
        with torch.inference_mode():
            return network(tensor).numpy()

    return run


def timm_channels_last(model: str, work: Path, x: np.ndarray) -> Run:
    """PyTorch with maps in the order of NHWC."""
    return timm_eager(model, work, x, "channels_last")


def timm_compiled(model: str, work: Path, x: np.ndarray) -> Run:  # noqa: ARG001
    """`torch.compile` with frozen weights; its first call takes most of a minute."""
    import torch
    import torch._inductor.config

    torch.set_num_threads(int(THREADS))
    torch._inductor.config.freezing = True
    network = torch.compile(torch_model(model).to(memory_format=torch.channels_last))
    tensor = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(memory_format=torch.channels_last)

    def run() -> np.ndarray:
        with torch.no_grad():
            return network(tensor).numpy()

    return run


def keras_applications(model: str, work: Path, x: np.ndarray) -> Run:
    """keras.applications' network, `predict`; its values come from ours, in the order of its layers."""
    import keras

    theirs = keras.applications.InceptionResNetV2(weights=None, classifier_activation=None)
    ours = our_model(model, work)
    number = {"conv2d": 0, "batch_normalization": 0}
    from keras_segattn.registry import model_card

    twins = {name: layer for layer, names in model_card("InceptionResNetV2").weight_names.items() for name in names}
    for layer in theirs.layers:
        if not layer.weights:
            continue
        kind = {"Conv2D": "conv2d", "BatchNormalization": "batch_normalization"}.get(type(layer).__name__)
        key = layer.name
        if kind and layer.name.startswith(kind):
            key, number[kind] = f"{kind}#{number[kind]}", number[kind] + 1
        layer.set_weights(ours.get_layer(twins.get(key, key)).get_weights())
    return lambda: theirs.predict(x, batch_size=len(x), verbose=0)


def onnxruntime(model: str, work: Path, x: np.ndarray) -> Run:  # noqa: ARG001
    """timm's network through torch.onnx."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = int(THREADS)
    session = ort.InferenceSession(str(work / "model.onnx"), options, providers=["CPUExecutionProvider"])
    tensor = x.transpose(0, 3, 1, 2).copy()
    return lambda: session.run(None, {"x": tensor})[0]


def openvino(model: str, work: Path, x: np.ndarray) -> Run:  # noqa: ARG001
    """The same ONNX file."""
    import openvino as ov

    network = ov.Core().read_model(work / "model.onnx")
    network.reshape({0: [len(x), 3, SIZE, SIZE]})
    settings = {"INFERENCE_NUM_THREADS": THREADS, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(network, "CPU", settings)
    tensor = x.transpose(0, 3, 1, 2).copy()
    return lambda: np.array(compiled([tensor])[0])


# Name → (its code, environment of its process).
CONTENDERS: dict[str, tuple[Callable[[str, Path, np.ndarray], Run], dict[str, str]]] = {
    "ours, predict": (our_predict, {}),
    SAVED_MODEL: (our_saved_model, {}),
    FROZEN_SAVED_MODEL: (our_saved_model, FROZEN),
    TFLITE: (our_tflite, {}),
    "timm, eager": (timm_eager, {}),
    CHANNELS_LAST: (timm_channels_last, {}),
    "timm, compiled": (timm_compiled, {}),
    "keras.applications, predict": (keras_applications, {}),
    ONNXRUNTIME: (onnxruntime, {}),
    OPENVINO: (openvino, {}),
}


def gemm(model: str, work: Path, x: np.ndarray) -> Run:  # noqa: ARG001
    """A matrix product of 2048: what the machine can do at best."""
    a = np.random.default_rng(0).standard_normal((2048, 2048), dtype="float32")
    return lambda: a @ a


GEMM, GEMM_OPERATIONS = "GEMM", 2 * 2048**3


def peak_memory() -> int:
    """Largest resident memory of this process so far, MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def work_as(name: str, model: str, batch: int, work: Path) -> None:
    """A contender's process: say what it needed and how close it is, then time one call for every line received."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print; only answers go to the parent
    x = images(batch)
    run = (gemm if name == GEMM else CONTENDERS[name][0])(model, work, x)
    for _ in range(WARM_UPS):
        output = run()
    difference = 0.0
    if name != GEMM:
        expected = np.load(work / f"expected_{batch}.npy")
        difference = float(np.abs(output - expected).max() / np.abs(expected).max())
    answers.write(json.dumps({"difference": difference, "memory": peak_memory()}) + "\n")
    answers.flush()
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        answers.write(f"{time.perf_counter() - start}\n")
        answers.flush()


class Worker:
    """A contender's process, as the parent sees it."""

    def __init__(self, name: str, model: str, batch: int, work: Path) -> None:
        environment = CONTENDERS[name][1] if name != GEMM else {}
        command = [sys.executable, __file__, "--worker", name, "--model", model, "--batch", str(batch)]
        self.process = subprocess.Popen(
            [*command, "--output", str(work)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(work / "worker.log").open("ab"),
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": THREADS, "TF_NUM_INTRAOP_THREADS": THREADS} | environment,
        )
        self.name, self.seconds = name, list[float]()
        self.facts = self.answer()

    def answer(self) -> Any:
        """The next line of the process."""
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise RuntimeError(f"{self.name} ended; see worker.log in the output folder")
        return json.loads(line)

    def sample(self) -> None:
        """Time one call."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.seconds.append(self.answer())

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def compare(model: str, batch: int, rounds: int, names: list[str], work: Path, operations: int) -> dict[str, Any]:
    """Time the named contenders in turns."""
    workers = []
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(f"{model}, batch {batch}", total=len(names) + 1 + rounds)
        for name in [GEMM, *names]:
            workers.append(Worker(name, model, batch, work))
            progress.advance(task)
        for _ in range(rounds):
            for worker in workers:
                worker.sample()
            progress.advance(task)
    for worker in workers:
        worker.close()
        if worker.facts["difference"] > MAX_DIFFERENCE:
            raise RuntimeError(f"{worker.name} differs from ours by {worker.facts['difference']:.1e}")
    peak = GEMM_OPERATIONS / min(workers[0].seconds)
    rows = {
        worker.name: {
            "milliseconds": 1e3 * statistics.median(worker.seconds),
            "share_of_gemm": batch * operations / statistics.median(worker.seconds) / peak,
            **worker.facts,
        }
        for worker in workers[1:]
    }
    goals = [
        {"ours": a, "peer": b, "goal": goal, "ratio": rows[a]["milliseconds"] / rows[b]["milliseconds"]}
        for a, b, goal in GOALS.get(batch, ())
        if a in rows and b in rows
    ]
    return {
        "model": model, "batch": batch, "rounds": rounds, "gflop_per_image": operations / 1e9,
        "gemm_gflops": peak / 1e9, "contenders": rows, "goals": goals,
    }  # fmt: skip


def markdown(result: dict[str, Any]) -> str:
    """One comparison as a Markdown table and its goals."""
    ours = result["contenders"].get(SAVED_MODEL, {}).get("milliseconds")
    facts = f"{result['gflop_per_image']:.1f} GFLOP an image; GEMM peak {result['gemm_gflops']:.0f} GFLOP/s"
    lines = [
        f"### {result['model']}, batch {result['batch']}",
        "",
        f"{facts}; median of {result['rounds']} rounds.",
        "",
        "| contender | ms | our SavedModel ÷ it | of GEMM peak | peak memory MiB | difference |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["contenders"].items():
        ratio = f"{ours / row['milliseconds']:.2f}" if ours else ""
        lines.append(
            f"| {name} | {row['milliseconds']:.0f} | {ratio} | {row['share_of_gemm']:.0%} | {row['memory']} "
            f"| {row['difference']:.0e} |"
        )
    lines += [""] + [
        f"* {goal['ours']} ÷ {goal['peer']}: {goal['ratio']:.2f}, goal ≤ {goal['goal']}: "
        + ("met" if goal["ratio"] <= goal["goal"] else "missed")
        for goal in result["goals"]
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Prepare, compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=BUILDERS, help="default: both")
    parser.add_argument("--batch", action="append", type=int, help="default: 1 and 8")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--compiled", action="store_true", help="torch.compile too, which needs a C++ compiler")
    parser.add_argument("--output", type=Path, default=Path("out/benchmarks"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker == "prepare":
        print(prepare(options.model[0], options.output), file=sys.stderr)
        return
    if options.worker:
        work_as(options.worker, options.model[0], options.batch[0], options.output)
        return
    results = []
    for model in options.model or BUILDERS:
        work = options.output / model
        work.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, __file__, "--worker", "prepare", "--model", model, "--output", str(work)]
        operations = int(subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr.split()[-1])
        names = [name for name in CONTENDERS if options.compiled or name != "timm, compiled"]
        if model != "inception_resnet_v2":
            names.remove("keras.applications, predict")
        for batch in options.batch or (1, 8):
            chosen = [name for name in names if batch == 1 or name != TFLITE]
            results.append(compare(model, batch, options.rounds, chosen, work, operations))
            show(results[-1])
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    report = "\n".join(map(markdown, results)) + "\n" + ", ".join(f"{k} {v}" for k, v in versions.items()) + "\n"
    (options.output / "inception.md").write_text(report, encoding="utf-8")
    (options.output / "inception.json").write_text(json.dumps([versions, *results], indent=1), encoding="utf-8")


def show(result: dict[str, Any]) -> None:
    """Print one comparison."""
    lines = markdown(result).splitlines()
    title, facts = lines[0].removeprefix("### "), lines[2]
    table = Table(title=f"{title}: {facts}")
    header, _, *rows = (line for line in lines if line.startswith("|"))
    for cell in header.strip("| ").split(" | "):
        table.add_column(cell)
    for row in rows:
        table.add_row(*(cell.strip() for cell in row.strip("|").split("|")))
    console = Console()
    console.print(table)
    for line in lines:
        if line.startswith("* "):
            console.print(line)


if __name__ == "__main__":
    main()
