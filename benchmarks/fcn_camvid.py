"""Trains FCN-8s on CamVid, the yardstick of the older methods, from random and from ImageNet weights.

    python benchmarks/fcn_camvid.py CAMVID --row imagenet [--release savedmodels]

The backbone is EfficientNet-Lite0. Each row leaves `ROW/run` and `ROW/scores.json`; a row with scores is not trained
again, and an interrupted training goes on.
"""

import argparse
from pathlib import Path

import camvid
import keras

from keras_segattn import FCN8s, data, training

ROWS = {"random": None, "imagenet": "imagenet"}
CROP, BATCH = (240, 320), 8


def train(row, arguments):
    """Return a row's network, trained."""
    run = arguments.output / row / "run"
    if (finished := camvid.stored(run)) is not None:
        return finished
    keras.utils.set_random_seed(0)
    model = FCN8s(classes=camvid.CLASSES, backbone="efficientnet_lite0", weights=ROWS[row])
    augmentation = data.Augmentation(CROP, ignore_label=camvid.UNLABELLED)
    batches = camvid.batches(arguments.camvid, "train", model, BATCH, augmentation=augmentation, shuffle=True)
    training.train_segmenter(
        model,
        batches,
        epochs=arguments.epochs,
        ignore_label=camvid.UNLABELLED,
        recipe="adamw-cosine",
        run_dir=run,
        checkpoint_steps=25,
    )
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--row", choices=ROWS, default="imagenet")
    parser.add_argument("--epochs", type=int, default=36)
    parser.add_argument("--output", type=Path, default=Path("out/fcn_camvid"))
    parser.add_argument("--release", type=Path, help="Write the row's network as DIRECTORY/fcn8s_camvid.")
    arguments = parser.parse_args()
    model, scores = train(arguments.row, arguments), arguments.output / arguments.row / "scores.json"
    if not scores.exists():
        camvid.write_scores(scores, camvid.scores_of(model, arguments.camvid))
    camvid.print_table(arguments.output, ROWS)
    if arguments.release:
        terms = {"initial": "a backbone trained on ImageNet", "licence": "backbone Apache-2.0; "}
        camvid.release(model, "fcn8s_camvid", arguments.release, (360, 480), **terms)


if __name__ == "__main__":
    main()
