"""Compares our Inception-v4 and Inception-ResNet-v2 with PyTorch, keras.applications, onnxruntime and OpenVINO.

Run: python benchmarks/inception.py [--model inception_v4] [--batch 1] [--rounds 12] [--output out/benchmarks].
It measures inference. It needs the packages of `make parity`, onnxruntime, onnx and onnxscript, prints a table per
model and batch size, and writes the tables as Markdown and JSON.

All contenders compute the same network with the same random weights in float32 on two threads, each in a process of
its own, and take turns: in every round each is called once, in a new random order, so that other work of the machine
affects all of them alike. The result is the median, after two calls to warm up. Before any call is timed, all outputs
must equal those of our Keras model.
"""

import argparse
import importlib.metadata
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from torch_oracles import randomise, relative_difference, timm_model

MODELS = ("inception_v4", "inception_resnet_v2")
SIZE = 299
THREADS = 2
ENVIRONMENT = {"KERAS_BACKEND": "tensorflow"} | dict.fromkeys(
    ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), str(THREADS)
)
WARM_UPS = 2
# onnxruntime's threads go on spinning for 30 ms after a call, which would slow the next contender.
REST_SECONDS = 0.1
# Greatest relative difference: float32 sums in different orders, through more than a hundred layers.
MAX_DIFFERENCE = 1e-3
# A matrix product of this size measures the machine's peak.
GEMM, GEMM_SIZE = "GEMM", 2048
PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "torch", "timm", "onnxruntime", "openvino", "numpy")

SAVED_MODEL, FROZEN, TFLITE = "ours, SavedModel", "ours, SavedModel, frozen weights", "ours, TFLite"
CHANNELS_LAST, COMPILED, APPLICATIONS = "timm, channels last", "timm, compiled", "keras.applications"
ONNXRUNTIME, OPENVINO = "onnxruntime", "OpenVINO"
TIME, MEMORY = "milliseconds", "peak_mib"
# Batch size, our contender, the other one, the quantity compared, and the greatest ratio that is wanted.
GOALS = (
    (8, SAVED_MODEL, CHANNELS_LAST, TIME, 0.92),
    (8, SAVED_MODEL, ONNXRUNTIME, TIME, 1.1),
    (1, FROZEN, CHANNELS_LAST, TIME, 0.9),
    (1, FROZEN, OPENVINO, TIME, 1.25),
    (1, TFLITE, OPENVINO, TIME, 1.15),
    (1, TFLITE, SAVED_MODEL, MEMORY, 0.4),
)

Run = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Job:
    """A task: a model's name, the folder of its files, images `(batch, 299, 299, 3)` as NHWC and as NCHW."""

    model: str
    work: Path
    nhwc: np.ndarray
    nchw: np.ndarray


def noise(batch: int) -> np.ndarray:
    """Return random images, the same for all contenders."""
    return np.random.default_rng(0).uniform(-1, 1, (batch, SIZE, SIZE, 3)).astype("float32")


def our_model(model: str, work: Path) -> Any:
    """Build our network with timm's weights."""
    from keras_segattn.registry import get_model

    return get_model(model, input_shape=(SIZE, SIZE, 3), weights=str(work / "weights.pth"))


def prepare(model: str, batches: list[int], work: Path) -> None:
    """Write the files that the contenders load, and the number of floating-point operations per image."""
    import keras
    import torch

    from keras_segattn import export

    network = randomise(timm_model(model))
    torch.save(network.state_dict(), work / "weights.pth")
    example, free = torch.zeros(2, 3, SIZE, SIZE), {0: torch.export.Dim("batch")}
    program = torch.onnx.export(network, (example,), input_names=["x"], dynamo=True, dynamic_shapes=(free,))
    program.save(work / "model.onnx")
    ours = our_model(model, work)
    for batch in batches:
        np.save(work / f"expected_{batch}.npy", ours.predict(noise(batch), batch_size=batch, verbose=0))
    export.saved_model(ours, work / "saved", 1, preprocess=False)
    export.tflite(ours, work / "model.tflite")
    layers = [layer for layer in ours.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)]
    products = sum(int(np.prod(layer.output.shape[1:-1]) * np.prod(layer.kernel.shape)) for layer in layers)
    (work / "operations.txt").write_text(str(2 * products), encoding="ascii")


def our_predict(job: Job) -> Run:
    network = our_model(job.model, job.work)
    return lambda: network.predict(job.nhwc, batch_size=len(job.nhwc), verbose=0)


def our_saved_model(job: Job) -> Run:
    import tensorflow as tf

    function = tf.saved_model.load(str(job.work / "saved" / job.model / "1")).signatures["serving_default"]
    (name,) = function.structured_input_signature[1]
    tensor = tf.constant(job.nhwc)
    return lambda: np.asarray(function(**{name: tensor})["logits"])


def our_tflite(job: Job) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(job.work / "model.tflite"), num_threads=THREADS).get_signature_runner()
    (name,) = runner.get_input_details()
    return lambda: runner(**{name: job.nhwc})["logits"]


def timm(job: Job, memory_format: str = "channels_last", compiled: bool = False) -> Run:
    """Run PyTorch eagerly, or by `torch.compile` with frozen weights, whose first call takes most of a minute."""
    import torch

    torch.set_num_threads(THREADS)
    layout = getattr(torch, memory_format)
    network = randomise(timm_model(job.model)).to(memory_format=layout)
    if compiled:
        network = torch.compile(network, options={"freezing": True})
    tensor = torch.from_numpy(job.nchw).to(memory_format=layout)

    def run() -> np.ndarray:
        with torch.no_grad():
            return network(tensor).numpy()

    return run


def keras_applications(job: Job) -> Run:
    """Run `predict` of keras.applications' network, with the weights of ours."""
    import keras

    from keras_segattn.registry import model_card

    theirs = keras.applications.InceptionResNetV2(weights=None, classifier_activation=None)  # first, as names count up
    ours = our_model(job.model, job.work)
    twins = {twin: name for name, names in model_card(job.model).weight_names.items() for twin in names}
    for layer in theirs.layers:
        if layer.weights:
            numbered = re.fullmatch(r"(conv2d|batch_normalization)(?:_(\d+))?", layer.name)
            name = f"{numbered[1]}#{numbered[2] or 0}" if numbered else layer.name
            layer.set_weights(ours.get_layer(twins.get(name, name)).get_weights())
    return lambda: theirs.predict(job.nhwc, batch_size=len(job.nhwc), verbose=0)


def onnxruntime(job: Job) -> Run:
    """Run timm's network in ONNX Runtime, exported by torch.onnx."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = ort.InferenceSession(str(job.work / "model.onnx"), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": job.nchw})[0]


def openvino(job: Job) -> Run:
    """Run the same ONNX file in OpenVINO."""
    import openvino as ov

    network = ov.Core().read_model(job.work / "model.onnx")
    network.reshape({0: list(job.nchw.shape)})
    settings = {"INFERENCE_NUM_THREADS": THREADS, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(network, "CPU", settings)
    return lambda: np.array(compiled([job.nchw])[0])


def gemm(job: Job) -> Run:  # noqa: ARG001 - called like the contenders
    a = np.random.default_rng(0).standard_normal((GEMM_SIZE, GEMM_SIZE), dtype="float32")
    return lambda: a @ a


CONTENDERS: dict[str, Callable[[Job], Run]] = {
    "ours, predict": our_predict,
    SAVED_MODEL: our_saved_model,
    FROZEN: our_saved_model,
    TFLITE: our_tflite,
    "timm, eager": partial(timm, memory_format="contiguous_format"),
    CHANNELS_LAST: timm,
    COMPILED: partial(timm, compiled=True),
    APPLICATIONS: keras_applications,
    ONNXRUNTIME: onnxruntime,
    OPENVINO: openvino,
}


def work_as(name: str, model: str, batch: int, work: Path) -> None:
    """Work as a contender's process: print the difference from our outputs, then time one call per line received."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # output of libraries goes to stderr; only answers go to the parent
    images = noise(batch)
    job = Job(model, work, images, np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    run = {GEMM: gemm, **CONTENDERS}[name](job)
    for _ in range(WARM_UPS):
        output = run()
    expected = output if name == GEMM else np.load(work / f"expected_{batch}.npy")
    print(float(relative_difference(output, expected)), file=answers)
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        print(time.perf_counter() - start, file=answers)


class Worker:
    """A contender's process, warmed up, as the parent sees it.

    Raises:
        RuntimeError: if the process fails or its outputs differ from ours.
    """

    def __init__(self, name: str, model: str, batch: int, work: Path, log: Path) -> None:
        self.name, self.log, self.seconds = name, log, list[float]()
        frozen = {"TF_ONEDNN_ASSUME_FROZEN_WEIGHTS": "1"} if name == FROZEN else {}
        call, environment, pipe = (
            command(name, model, [batch], work),
            os.environ | ENVIRONMENT | frozen,
            subprocess.PIPE,
        )
        with log.open("ab") as errors:
            self.process = subprocess.Popen(call, stdin=pipe, stdout=pipe, stderr=errors, text=True, env=environment)
        self.difference = self.answer()
        if self.difference > MAX_DIFFERENCE:
            raise RuntimeError(f"{name}: outputs differ from ours by {self.difference:.1e}, limit {MAX_DIFFERENCE}")

    def sample(self) -> None:
        """Time one call."""
        assert self.process.stdin is not None
        time.sleep(REST_SECONDS)
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.seconds.append(self.answer())

    def answer(self) -> float:
        """Read the next number that the process prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended before it answered; see {self.log}")
        return float(line)

    def row(self, operations: int, peak: float) -> dict[str, Any]:
        """Return the measurements, given a call's number of `operations` and the machine's `peak` per second."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return {
            TIME: 1e3 * statistics.median(self.seconds),
            "share_of_gemm": operations / statistics.median(self.seconds) / peak,
            MEMORY: int(status.split("VmHWM:")[1].split()[0]) // 1024,
            "difference": self.difference,
            "samples_milliseconds": [1e3 * seconds for seconds in self.seconds],
        }


def command(worker: str, model: str, batches: list[int], work: Path) -> list[str]:
    """Return the command that runs this script as a worker."""
    batch = [f"--batch={batch}" for batch in batches]
    return [sys.executable, __file__, f"--worker={worker}", f"--model={model}", *batch, f"--output={work}"]


def compare(model: str, batch: int, rounds: int, names: list[str], work: Path, log: Path) -> dict[str, Any]:
    """Time the named contenders in turns."""
    workers: list[Worker] = []
    try:
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task(f"{model}, batch {batch}", total=len(names) + 1 + rounds)
            for name in (GEMM, *names):
                workers.append(Worker(name, model, batch, work, log))
                progress.advance(task)
            order = np.random.default_rng(0)
            for _ in range(rounds):
                for turn in order.permutation(len(workers)):
                    workers[turn].sample()
                progress.advance(task)
        operations = int((work / "operations.txt").read_text(encoding="ascii"))
        peak = 2 * GEMM_SIZE**3 / min(workers[0].seconds)
        rows = {worker.name: worker.row(batch * operations, peak) for worker in workers[1:]}
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.communicate()
    goals = [
        {"ours": ours, "peer": peer, "of": unit, "ratio": rows[ours][unit] / rows[peer][unit], "goal": goal}
        for size, ours, peer, unit, goal in GOALS
        if size == batch
    ]
    facts = {"model": model, "batch": batch, "rounds": rounds, "gflop_per_image": operations / 1e9}
    return facts | {"gemm_gflops": peak / 1e9, "contenders": rows, "goals": goals}


def markdown(result: dict[str, Any]) -> str:
    """Format one comparison as Markdown: the contenders and the goals."""
    ours = result["contenders"][SAVED_MODEL][TIME]
    work = f"{result['gflop_per_image']:.1f} GFLOP an image; GEMM peak {result['gemm_gflops']:.0f} GFLOP/s"
    lines = [f"### {result['model']}, batch {result['batch']}", ""]
    lines += [f"{work}; medians of {result['rounds']} rounds. Ratio: our SavedModel ÷ the contender."]
    lines += ["The `.tflite` has batch 1 only.", ""] if result["batch"] > 1 else [""]
    lines += ["| contender | ms | ratio | of GEMM | peak MiB | difference |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {name} | {row[TIME]:.0f} | {ours / row[TIME]:.2f} | {row['share_of_gemm']:.0%} | {row[MEMORY]} "
        f"| {row['difference']:.0e} |"
        for name, row in result["contenders"].items()
    ]
    if result["goals"]:
        lines += ["", "| goal | of | ratio | at most | |", "|---|---|---|---|---|"]
    lines += [
        f"| {goal['ours']} ÷ {goal['peer']} | {goal['of']} | {goal['ratio']:.2f} | {goal['goal']} "
        f"| {'met' if goal['ratio'] <= goal['goal'] else 'missed'} |"
        for goal in result["goals"]
    ]
    return "\n".join([*lines, ""])


def benchmark(models: list[str], batches: list[int], rounds: int, compiled: bool, output: Path) -> None:
    """Run all comparisons, and rewrite the report after each, so that none is lost if a later one fails."""
    output.mkdir(parents=True, exist_ok=True)
    console, results, log = Console(), list[dict[str, Any]](), output / "inception.log"
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    log.write_text("", encoding="utf-8")
    for model in models:
        with tempfile.TemporaryDirectory(dir=output) as folder:
            work = Path(folder)
            with console.status(f"{model}: weights, exports, expected outputs"), log.open("ab") as lines:
                call, environment = command("prepare", model, batches, work), os.environ | ENVIRONMENT
                if subprocess.run(call, stdout=lines, stderr=lines, env=environment, check=False).returncode:
                    raise RuntimeError(f"{model} could not be prepared; see {log}")
            for batch in batches:
                absent = {TFLITE: batch != 1, COMPILED: not compiled, APPLICATIONS: model != "inception_resnet_v2"}
                names = [name for name in CONTENDERS if not absent.get(name)]
                results.append(compare(model, batch, rounds, names, work, log))
                console.print(Markdown(markdown(results[-1])))
                report = [*map(markdown, results), ", ".join(f"{k} {v}" for k, v in versions.items()), ""]
                (output / "inception.md").write_text("\n".join(report), encoding="utf-8")
                facts = {"versions": versions, "threads": THREADS, "results": results}
                (output / "inception.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=MODELS, help="default: both")
    parser.add_argument("--batch", action="append", type=int, help="default: 1 and 8")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--compiled", action="store_true", help="time torch.compile too, which needs a C++ compiler")
    parser.add_argument("--output", type=Path, default=Path("out/benchmarks"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    models, batches = list(dict.fromkeys(options.model or MODELS)), list(dict.fromkeys(options.batch or (1, 8)))
    if min(options.rounds, *batches) < 1:
        parser.error(f"--rounds and --batch must be positive, received {options.rounds} and {batches}")
    if options.worker == "prepare":
        prepare(models[0], batches, options.output)
    elif options.worker:
        work_as(options.worker, models[0], batches[0], options.output)
    else:
        benchmark(models, batches, options.rounds, options.compiled, options.output)


if __name__ == "__main__":
    main()
