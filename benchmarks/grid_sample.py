"""Compares `ops.grid_sample` with torch's `grid_sample`, interleaved: values, and gradients for images and grid.

    python benchmarks/grid_sample.py

It needs the packages of `make parity`. Both sides have two threads and take turns. TensorFlow Addons' sampler runs on
its own, before and after these, in another process; the faster of its two runs counts.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
import torch

from keras_segattn import ops

SHAPES = {"like MNIST": (256, 40, 40, 1), "like images": (8, 224, 224, 3), "like features": (32, 64, 64, 32)}


def workloads(shape):
    """Return work → torch's function and ours that do it, both without arguments."""
    batch, height, width, _ = shape
    random = np.random.default_rng(0)
    images, upstream = random.normal(size=(2, *shape)).astype("float32")
    theta = np.array([[0.9, 0.2, 0.05], [-0.2, 0.9, 0.03]]) + random.normal(0, 0.05, (batch, 2, 3))
    grid = np.asarray(ops.affine_grid(theta.astype("float32"), (height, width)))
    ours, our_grid, our_upstream = (tf.constant(array) for array in (images, grid, upstream))
    theirs, their_upstream = (torch.tensor(array.transpose(0, 3, 1, 2).copy()) for array in (images, upstream))
    their_grid = torch.tensor(grid)

    def forward():
        return [torch.nn.functional.grid_sample(theirs, their_grid, align_corners=True)]

    def backward():
        pixels, points = theirs.clone().requires_grad_(), their_grid.clone().requires_grad_()
        torch.nn.functional.grid_sample(pixels, points, align_corners=True).backward(their_upstream)
        return [pixels.grad, points.grad]

    @tf.function
    def sample(pixels, points):
        return ops.grid_sample(pixels, points)

    @tf.function
    def gradients(pixels, points):
        with tf.GradientTape() as tape:
            tape.watch((pixels, points))
            sampled = ops.grid_sample(pixels, points)
        return tape.gradient(sampled, (pixels, points), our_upstream)

    return {
        "forward": (forward, lambda: [sample(ours, our_grid)]),
        "forward and gradients": (backward, lambda: gradients(ours, our_grid)),
    }


def addons(shape, rounds):
    """Return the milliseconds of Addons' sampler, forward and with gradients."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "KERAS_BACKEND")}
    command = [sys.executable, "-W", "ignore", Path(__file__).with_name("addons_sampler.py"), *shape, rounds]
    done = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    return [float(number) for number in done.stdout.split()[-2:]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(2)
    print("| shape | work | torch, ms | ours, ms | ÷ torch | Addons, ms | Addons ÷ ours | largest difference |")
    print("|---|---|---|---|---|---|---|---|")
    for name, shape in SHAPES.items():
        lines, addons_ms = [], [addons(shape, rounds)]
        for work, runs in workloads(shape).items():
            expected, found = ([array.numpy() for array in run()] for run in runs)
            expected[0] = expected[0].transpose(0, 2, 3, 1)
            worst = max(np.abs(a - b).max() / np.abs(a).max() for a, b in zip(expected, found, strict=True))
            seconds = [[], []]
            for _ in range(rounds + 2):
                for run, times in zip(runs, seconds, strict=True):
                    start = time.perf_counter()
                    run()
                    times.append(time.perf_counter() - start)
            lines.append((work, *(1e3 * np.median(times[2:]) for times in seconds), worst))
        addons_ms.append(addons(shape, rounds))
        for (work, torch_ms, our_ms, worst), their_ms in zip(lines, np.min(addons_ms, axis=0), strict=True):
            numbers = (
                f"{torch_ms:.2f} | {our_ms:.2f} | {our_ms / torch_ms:.2f} | {their_ms:.1f} | {their_ms / our_ms:.1f}"
            )
            print(f"| {name}, {'×'.join(map(str, shape))} | {work} | {numbers} | {worst:.0e} |", flush=True)


if __name__ == "__main__":
    main()
