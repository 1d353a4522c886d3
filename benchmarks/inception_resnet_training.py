"""Trains a small Inception-ResNet-v1 on Fashion-MNIST with and without scaled residuals and smoothed labels.

Run: python benchmarks/inception_resnet_training.py --folder FASHION_MNIST [--output table.md] [--picture curves.png].
Four trainings differ only in the residual scale (0.1 or 1) and in label smoothing (0.1 or 0), with the recipe of
Inception-v4 and the momentum of its released trainer. A probe follows: one short training at each of several learning
rates, without clipping gradients, shows at which rates the network trains with and without scaling. With --run-dir, an
interrupted run resumes when it is called again.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.progress import track

from keras_segattn import data, training, visualize
from keras_segattn.fields import Picture
from keras_segattn.files import replaced
from keras_segattn.registry import get_model

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
parser.add_argument("--folder", default=data.FASHION_MNIST_FOLDER, help="folder of the four IDX files")
parser.add_argument("--alpha", type=float, default=0.25, help="width multiplier")
parser.add_argument("--blocks", type=int, nargs=3, default=(2, 4, 2), help="numbers of A, B and C blocks")
parser.add_argument("--images", type=int, default=20_000, help="number of training pictures, the first of the 60,000")
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--batch", type=int, default=128)
parser.add_argument("--learning-rate", type=float, default=0.045)
parser.add_argument("--momentum", type=float, default=0.9, help="momentum of RMSProp, as in the released trainers")
parser.add_argument("--seeds", type=int, default=1, help="number of trainings of each kind")
parser.add_argument("--probe-rates", type=float, nargs="*", default=(0.015, 0.045, 0.15, 0.45, 1.5))
parser.add_argument("--probe-steps", type=int, default=150)
parser.add_argument("--run-dir", type=Path, help="folder of checkpoints and finished results")
parser.add_argument("--output", type=Path, help="file for the Markdown table")
parser.add_argument("--picture", type=Path, help="file for the picture of the curves")
options = parser.parse_args()
if options.run_dir is not None:
    options.run_dir.mkdir(parents=True, exist_ok=True)
    same = ("alpha", "blocks", "images", "epochs", "batch", "learning_rate", "momentum", "probe_steps")
    settings = json.dumps({name: getattr(options, name) for name in same})
    written = options.run_dir / "options.json"
    if written.exists() and written.read_text(encoding="utf-8") != settings:
        parser.error(f"{options.run_dir} holds trainings with other options: {written.read_text(encoding='utf-8')}")
    with replaced(written) as temporary:
        temporary.write_text(settings, encoding="utf-8")

NORMALIZE = Picture(mean=(127.5,), std=(127.5,))
RECIPE = replace(
    training.CLASSIFIER_RECIPES["inception"], learning_rate=options.learning_rate, momentum=options.momentum
)
SCALES = (0.1, 1.0)


def pictures(split: str, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Read the first `count` pictures, in [-1, 1], and their labels."""
    examples = data.fashion_mnist(split, folder=options.folder)
    batch = next(iter(examples.batch(count or len(examples))))
    return keras.ops.convert_to_numpy(NORMALIZE(batch["image"])), batch["label"].numpy()


def batches(image: np.ndarray, label: np.ndarray, seed: int | None = None) -> tf.data.Dataset:
    """Make batches, in another order every epoch or, without a seed, in the order given."""
    dataset = tf.data.Dataset.from_tensor_slices((image, label))
    if seed is not None:
        dataset = dataset.shuffle(len(image), seed=seed)
    return dataset.batch(options.batch, drop_remainder=seed is not None)


def network(scale: float, seed: int) -> keras.Model:
    """Build the network; both scales have the same random weights."""
    keras.utils.set_random_seed(seed)
    return get_model(
        "InceptionResNetV1",
        classes=len(data.FASHION_MNIST_LABELS),
        input_shape=(28, 28, 1),
        padding="same",
        alpha=options.alpha,
        blocks=tuple(options.blocks),
        residual_scale=scale,
        batch_norm_momentum=0.98,  # an epoch has hundreds of steps, not tens of thousands as with ImageNet
    )


def trained(
    name: str,
    train: tf.data.Dataset,
    test: tf.data.Dataset | None,
    scale: float,
    seed: int,
    epochs: int,
    **changes: object,
) -> dict:
    """Train, or read the result of an earlier call in the same run_dir: history, seconds, and any failure."""
    directory = None if options.run_dir is None else options.run_dir / name
    finished = None if directory is None else directory / "result.json"
    if finished is not None and finished.exists():
        return json.loads(finished.read_text(encoding="utf-8"))
    start = time.perf_counter()
    try:
        history = training.train_classifier(
            network(scale, seed), train, test, epochs=epochs, recipe=replace(RECIPE, **changes), run_dir=directory
        ).history
        diverged = None
    except training.TrainingDivergedError as error:
        history, diverged = {}, str(error)
    result = {"history": history, "seconds": time.perf_counter() - start, "diverged": diverged}
    if finished is not None:
        with replaced(finished) as temporary:
            temporary.write_text(json.dumps(result), encoding="utf-8")
    return result


def probed(image: np.ndarray, label: np.ndarray, scale: float, rate: float) -> float:
    """Return the accuracy over the last third of a short training without clipped gradients; NaN if it diverged."""
    train = batches(image, label, seed=0).repeat().take(options.probe_steps // 3)
    changes = {"learning_rate": rate, "clip_norm": None, "ema_momentum": None}
    result = trained(f"probe-scale{scale}-rate{rate}", train, None, scale, 0, 3, **changes)
    return float("nan") if result.get("diverged") else result["history"]["accuracy"][-1]


test = batches(*pictures("test"))
train_image, train_label = pictures("train", options.images)
lines = [
    "| scale | smoothing | test accuracy | after 1 epoch | best | test cross-entropy | train accuracy | seconds |",
    "|---|---|---|---|---|---|---|---|",
]
accuracy, entropy = {}, {}
epochs = range(1, options.epochs + 1)
for smoothing in (0.1, 0.0):
    for scale in SCALES:
        results = [
            trained(
                f"scale{scale}-smoothing{smoothing}-seed{seed}",
                batches(train_image, train_label, seed),
                test,
                scale,
                seed,
                options.epochs,
                label_smoothing=smoothing,
            )
            for seed in range(options.seeds)
        ]
        if any(result.get("diverged") for result in results):
            lines.append(f"| {scale:g} | {smoothing:g} | diverged | | | | | |")
            continue
        curves = {name: np.array([r["history"][name] for r in results]) for name in results[0]["history"]}
        name = f"scale {scale:g}, smoothing {smoothing:g}"
        accuracy[name] = (epochs, curves["val_accuracy"].mean(axis=0))
        entropy[name] = (epochs, curves["val_cross_entropy"].mean(axis=0))
        last = curves["val_accuracy"][:, -1]
        spread = f" ± {last.std(ddof=1):.4f}" if options.seeds > 1 else ""
        lines.append(
            f"| {scale:g} | {smoothing:g} | {last.mean():.4f}{spread} "
            f"| {curves['val_accuracy'][:, 0].mean():.4f} | {curves['val_accuracy'].max(axis=1).mean():.4f} "
            f"| {curves['val_cross_entropy'][:, -1].mean():.4f} | {curves['accuracy'][:, -1].mean():.4f} "
            f"| {np.mean([r['seconds'] for r in results]):.0f} |"
        )
        print(lines[-1], flush=True)

panels = [
    visualize.Panel("test accuracy of the averaged network", accuracy),
    visualize.Panel("test cross-entropy of the averaged network", entropy),
]
if options.probe_rates:
    reached = {
        scale: [probed(train_image, train_label, scale, rate) for rate in track(options.probe_rates, f"scale {scale}")]
        for scale in SCALES
    }
    lines += [
        "",
        f"| learning rate | {' | '.join(f'scale {scale:g}' for scale in SCALES)} |",
        "|---" * (1 + len(SCALES)) + "|",
    ]
    for i, rate in enumerate(options.probe_rates):
        cells = [f"{values[i]:.4f}" if values[i] == values[i] else "diverged" for values in reached.values()]
        lines.append(f"| {rate:g} | {' | '.join(cells)} |")
    title = f"training accuracy after {options.probe_steps} steps, no clipping"
    probes = {f"probe, scale {scale:g}": (options.probe_rates, values) for scale, values in reached.items()}
    panels.append(visualize.Panel(title, probes, "learning rate", logarithmic=True))

table = "\n".join(lines)
print(table)
if options.output:
    with replaced(options.output) as temporary:
        temporary.write_text(table + "\n", encoding="utf-8")
if options.picture:
    visualize.save(visualize.line_charts(panels), options.picture)
