"""Compares RoIAlign and non-maximum suppression with torchvision's compiled operators in time and memory.

    python benchmarks/regions.py

It needs the packages of `make parity`, and gcc (see torchvision_kernels.py). Both sides have two threads. Each row
takes turns with torchvision; memory is the growth of a fresh process's peak while it runs the row.
"""

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import time

import numpy as np

REGIONS, CELLS, MAP, CHANNELS, IMAGE = 1000, 7, 50, 256, 800
ROWS = ("torchvision", "TensorFlow", "keras.ops")
WORK = ("roi_align", "roi_align + gradient", "nms 6000 -> 300", "nms 1000 x 80 -> 100")


def boxes(random, count):
    """Draw boxes of 20 to 300 pixels, some of which cross the border."""
    corner = random.uniform(-50, IMAGE - 50, (count, 2))
    return np.concatenate([corner, corner + random.uniform(20, 300, (count, 2))], axis=1).astype("float32")


def workload(row, work):
    """Return a function without arguments that does the work once and returns the result as an array."""
    random = np.random.default_rng(0)
    features = random.normal(size=(1, MAP, MAP, CHANNELS)).astype("float32")
    regions = boxes(random, REGIONS)
    many, scores = boxes(random, 6000), random.uniform(size=6000).astype("float32")
    per_class = boxes(random, 1000).repeat(80, axis=0)
    class_scores = (random.uniform(size=80000) ** 8).astype("float32")
    classes = np.tile(np.arange(80), 1000).astype("int32")
    if row == "torchvision":
        return _torchvision(work, features, regions, many, scores, per_class, class_scores, classes)
    return _ours(row, work, features, regions, many, scores, per_class, class_scores, classes)


def _torchvision(work, features, regions, many, scores, per_class, class_scores, classes):
    import torch
    import torchvision_kernels

    torch.set_num_threads(2)
    torchvision = torchvision_kernels.load()
    if work.startswith("roi_align"):
        x = torch.from_numpy(features.transpose(0, 3, 1, 2).copy()).requires_grad_("gradient" in work)
        rois = torch.from_numpy(np.concatenate([np.zeros((REGIONS, 1), "float32"), regions], axis=1))

        def run():
            y = torchvision.ops.roi_align(x, rois, CELLS, MAP / IMAGE, sampling_ratio=2)
            if "gradient" not in work:
                return y.detach().numpy().transpose(0, 2, 3, 1)
            return torch.autograd.grad(y, x, y.detach())[0].numpy().transpose(0, 2, 3, 1)

        return run
    if "80" in work:
        a, b, c = (torch.from_numpy(v) for v in (per_class, class_scores, classes))

        def run():
            likely = b > 0.05
            kept = torchvision.ops.batched_nms(a[likely], b[likely], c[likely], 0.5)[:100]
            return torch.where(likely)[0][kept].numpy()

        return run
    a, b = torch.from_numpy(many), torch.from_numpy(scores)

    def run():
        return torchvision.ops.nms(a, b, 0.7)[:300].numpy()

    return run


def _ours(row, work, features, regions, many, scores, per_class, class_scores, classes):
    import tensorflow as tf

    from keras_segattn.ops.nms import nms
    from keras_segattn.ops.portable import portable_operators
    from keras_segattn.ops.roi_align import roi_align

    within = portable_operators if row == "keras.ops" else contextlib.nullcontext

    def compiled(function, *arrays):
        tensors = [tf.constant(array[None]) for array in arrays]
        traced = tf.function(function)
        return lambda: traced(*tensors).numpy()

    def align(x, rois):
        with within():
            return roi_align(x, rois, CELLS, MAP / IMAGE)

    def gradient(x, rois):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = align(x, rois)
        return tape.gradient(y, x, y)

    def suppress(a, b):
        with within():
            return nms(a, b, 0.7, 300)[0][0]

    def suppress_classes(a, b, c):
        with within():
            return nms(a, b, 0.5, 100, classes=c, score_threshold=0.05)[0][0]

    return {
        "roi_align": lambda: compiled(align, features[0], regions),
        "roi_align + gradient": lambda: compiled(gradient, features[0], regions),
        "nms 6000 -> 300": lambda: compiled(suppress, many, scores),
        "nms 1000 x 80 -> 100": lambda: compiled(suppress_classes, per_class, class_scores, classes),
    }[work]()


def peak_growth(row, work):
    """Return the MB by which a fresh process's peak memory grows while it does the work."""
    command = [sys.executable, __file__, "--row", row, "--work", work]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout
    return float(printed.split()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    parser.add_argument("--work", choices=WORK, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        run = workload(options.row, options.work)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(3):
            run()
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
        return
    print("| work | by | median ms | ÷ torchvision | peak memory, MB | largest difference |")
    print("|---|---|---|---|---|---|")
    # This comes first, as a process starts from the memory peak of the process that made it.
    memory = {(work, row): peak_growth(row, work) for work in WORK for row in ROWS}
    for work in WORK:
        runs = {row: workload(row, work) for row in ROWS}
        results = {row: run() for row, run in runs.items()}
        seconds = {row: [] for row in ROWS}
        for _ in range(options.rounds):
            for row, run in runs.items():
                start = time.perf_counter()
                run()
                seconds[row].append(time.perf_counter() - start)
        expected = results["torchvision"]
        for row in ROWS:
            median = 1e3 * np.median(seconds[row])
            ratio = median / (1e3 * np.median(seconds["torchvision"]))
            difference = np.abs(results[row].reshape(expected.shape) - expected).max()
            megabytes = memory[work, row]
            print(f"| {work} | {row} | {median:.1f} | {ratio:.3f} | {megabytes:.0f} | {difference:.1e} |", flush=True)


if __name__ == "__main__":
    main()
