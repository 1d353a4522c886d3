"""Trains recurrent convolutional networks on CamVid and scores each on its validation pictures.

    python benchmarks/recurrent_camvid.py CAMVID --rows rcnn3-3

CAMVID holds train/ and val/, each with images/ and masks/ (0..10, 11 is unlabelled). A row is a network and its number
of instances; all are trained alike on whole pictures of half size, in which the loss of every instance counts. As
published, rcnn3-3 starts from the weights of rcnn3-2, which is trained first. Each row leaves `ROW/run` and
`ROW/scores.json`; a row with scores is not trained again, and an interrupted training goes on. `--patches` trains on
patches as published instead.
"""

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np

from keras_segattn import RecurrentConvNet, data, preprocessing_of, training
from keras_segattn.segmentation.recurrent_conv_net import depths

CLASSES, UNLABELLED = 11, 11
SIZE = (180, 240)
# Row → network, number of instances, and the row whose weights it starts from.
ROWS = {
    "cnn1": ("cnn1", 1, None),
    "rcnn2-1": ("rcnn2", 1, None),
    "rcnn2-2": ("rcnn2", 2, None),
    "rcnn3-1": ("rcnn3", 1, None),
    "rcnn3-2": ("rcnn3", 2, None),
    "rcnn3-3": ("rcnn3", 3, "rcnn3-2"),
}
RATE = 2e-3
# Patches from every picture in a step of `--patches`.
PATCHES = 32


def build(row, patches=False):
    network, instances, _ = ROWS[row]
    return RecurrentConvNet(classes=CLASSES, network=network, instances=instances, patches=patches, name=row)


def pictures(folder, split, model, **options):
    source = data.folder(folder / split / "images", folder / split / "masks")
    return data.MaskBatches(
        source,
        batch_size=1,
        classes=CLASSES,
        preprocessing=preprocessing_of(model),
        ignore_label=UNLABELLED,
        **options,
    )


def train(row, arguments):
    """Train a row and write its scores; return its labelling network."""
    output = arguments.output / row
    model, network = build(row), build(row, arguments.patches)
    scores = output / "scores.json"
    if scores.exists():
        model.set_weights(keras.saving.load_model(output / "run" / "model.keras", compile=False).get_weights())
        return model
    if ROWS[row][2] is not None:
        network.set_weights(train(ROWS[row][2], arguments).get_weights())
    augmentation = data.Augmentation(crop=SIZE, scale=(0.5, 0.5), ignore_label=UNLABELLED)
    batches = pictures(arguments.camvid, "train", model, augmentation=augmentation, shuffle=True)
    if arguments.patches:
        batches = data.PatchBatches(batches, network.input_shape[1], count=PATCHES)
    started, used = time.perf_counter(), time.process_time()
    training.train_segmenter(
        network,
        batches,
        epochs=arguments.epochs,
        ignore_label=UNLABELLED,
        recipe="adamw-cosine",
        learning_rate=RATE,
        supervised=depths(network),
        run_dir=output / "run",
        checkpoint_steps=100,
    )
    minutes, seconds = (time.perf_counter() - started) / 60, time.process_time() - used
    model.set_weights(network.get_weights())
    found = evaluate(model, arguments.camvid)
    facts = {"parameters": model.count_params(), "minutes": minutes, "cpu_seconds": seconds}
    scores.write_text(json.dumps(facts | found, indent=2))
    return model


def evaluate(model, folder):
    """Score a model on the validation pictures of half size, and measure its CPU seconds per picture."""
    batches = pictures(folder, "val", model, size=SIZE)
    picture = next(iter(batches(0)))[0]
    model.predict_on_batch(picture)
    before = time.process_time()
    model.predict_on_batch(picture)
    seconds = time.process_time() - before
    found = training.evaluate_segmenter(model, batches, CLASSES, UNLABELLED)
    del found["confusion_matrix"]
    return {key: np.asarray(value).tolist() for key, value in found.items()} | {"cpu_seconds_per_picture": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--patches", action="store_true", help="Train on patches instead of whole pictures.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("out/recurrent_camvid"))
    arguments = parser.parse_args()
    print("| network | parameters | pixels | class average | mean IoU | CPU s per picture | minutes of training |")
    print("|---|---|---|---|---|---|---|")
    for row in arguments.rows:
        keras.utils.set_random_seed(arguments.seed)
        train(row, arguments)
        s = json.loads((arguments.output / row / "scores.json").read_text())
        shares = " | ".join(f"{100 * s[key]:.1f}" for key in ("pixel_accuracy", "mean_accuracy", "mean_iou"))
        print(
            f"| {row} | {s['parameters']:,} | {shares} | {s['cpu_seconds_per_picture']:.2f} | {s['minutes']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
