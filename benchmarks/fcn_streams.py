"""Compares FCN-32s, 16s and 8s, with a pretrained and a random backbone, trained alike on the Blue Marble.

Run: python benchmarks/fcn_streams.py [--epochs 16] [--output table.md]. It prints a Markdown table of IoU on longitudes
that were not trained on. Data and training are those of `segattn demo`.
"""

import argparse
import time
from pathlib import Path

import keras

from keras_segattn import data, demo, get_model, preprocessing_of, training
from keras_segattn.losses import PixelCrossEntropy

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=16)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", type=Path)
options = parser.parse_args()

lines = ["| network | backbone | sea | land | lake | mean IoU | seconds |", "|---|---|---|---|---|---|---|"]
for weights in ("imagenet", None):
    for name in ("FCN32s", "FCN16s", "FCN8s"):
        keras.utils.set_random_seed(options.seed)
        model = get_model(name, classes=3, backbone="squeezenet1_1", weights=weights)
        shared = {
            "batch_size": demo.BATCH,
            "preprocessing": preprocessing_of(model),
            "classes": 3,
            "seed": options.seed,
        }
        augmentation = data.Augmentation(crop=(demo.TILE, demo.TILE))
        train = data.MaskBatches(data.blue_marble("train"), augmentation=augmentation, shuffle=True, **shared)
        test = data.MaskBatches(data.blue_marble("test"), **shared)
        start = time.perf_counter()
        training.train_segmenter(
            model,
            train,
            epochs=options.epochs,
            recipe="adamw-cosine",
            learning_rate=demo.LEARNING_RATE,
            loss=PixelCrossEntropy(class_weights=demo.CLASS_WEIGHTS),
        )
        seconds = time.perf_counter() - start
        scores = training.evaluate_segmenter(model, test, classes=3)
        numbers = " | ".join(f"{value:.4f}" for value in (*scores["iou"], scores["mean_iou"]))
        lines.append(f"| {name} | {weights or 'random'} | {numbers} | {seconds:.0f} |")
        print(lines[-1])
table = "\n".join(lines)
print(table)
if options.output:
    options.output.write_text(table + "\n", encoding="utf-8")
