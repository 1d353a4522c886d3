"""Times TensorFlow Addons' `interpolate_bilinear`, forward and with gradients, for `grid_sample.py`.

Addons needs Keras 2, so it has a process of its own. The arguments of `python benchmarks/addons_sampler.py 256 40 40 1
15` are the shape of the images and the number of rounds. It prints two medians in milliseconds.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
from parity_tfa.runner import import_addons


def main():
    *shape, rounds = map(int, sys.argv[1:])
    sampler = import_addons().image.interpolate_bilinear
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(2)
    random = np.random.default_rng(0)
    images, upstream = (tf.constant(array) for array in random.normal(size=(2, *shape)).astype("float32"))
    batch, height, width, channels = shape
    points = tf.constant(random.uniform(0, 1, (batch, height * width, 2)) * [height - 1, width - 1], "float32")
    upstream = tf.reshape(upstream, (batch, -1, channels))

    @tf.function
    def forward():
        return sampler(images, points)

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch((images, points))
            sampled = sampler(images, points)
        return tape.gradient(sampled, (images, points), upstream)

    medians = []
    for run in (forward, gradients):
        seconds = []
        for _ in range(rounds + 2):
            start = time.perf_counter()
            tf.nest.map_structure(lambda tensor: tensor.numpy(), run())
            seconds.append(time.perf_counter() - start)
        medians.append(1e3 * np.median(seconds[2:]))
    print(*medians)


if __name__ == "__main__":
    main()
