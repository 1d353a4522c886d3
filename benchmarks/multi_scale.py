"""Trains the network of Farabet et al. (2013) on CamVid, and labels the validation pictures in several ways.

    python benchmarks/multi_scale.py CAMVID --row pyramid [--release savedmodels]

Each row is one command; all together make a table. `single` and `pyramid` are trained in two steps, features with a
linear classifier and then the classifier on frozen features, and go on where they were interrupted. `superpixels`,
`crf` and `cover` label with the probabilities of `pyramid`, which is trained first. A row that has scores is not
computed again.
"""

import argparse
from pathlib import Path

import camvid
import keras
import numpy as np

from keras_segattn import MultiScaleConvNet, data, segmentation, training
from keras_segattn.losses import PixelCrossEntropy

CROP, BATCH = (240, 320), 4
ROWS = ("single", "pyramid", "superpixels", "crf", "cover")
# Chosen on 13 of the validation pictures.
SUPERPIXELS = segmentation.Superpixels(25.0)
LABELLINGS = {
    "superpixels": segmentation.SuperpixelAverage(SUPERPIXELS),
    "crf": segmentation.SuperpixelCRF(1.0, 20.0, 0.2, SUPERPIXELS),
    "cover": segmentation.OptimalCover(SUPERPIXELS),
}


def class_weights(folder):
    """Return the weights that give every class the same share of the loss, 1 on average over all pixels."""
    counts = np.zeros(256)
    for features in camvid.pictures(folder, "train").as_numpy_iterator():
        counts += np.bincount(features["segmentation_mask"].ravel(), minlength=256)
    counts = counts[: camvid.CLASSES]
    shares = counts / counts.sum()
    return np.divide(1 / camvid.CLASSES, shares, out=np.zeros(camvid.CLASSES), where=shares > 0).tolist()


def build(row, hidden):
    scales = 1 if row == "single" else 3
    return MultiScaleConvNet(classes=camvid.CLASSES, hidden=hidden, scales=scales, interpolation="bilinear")


def train(row, arguments):
    """Train a row's network in two steps, or load what was trained; return it."""
    run = arguments.output / row
    if (finished := camvid.stored(run / "2-classifier")) is not None:
        return finished
    keras.utils.set_random_seed(0)
    linear, classifier = build(row, None), build(row, 1024)
    loss = None
    if arguments.balanced:
        loss = PixelCrossEntropy(camvid.UNLABELLED, class_weights=class_weights(arguments.camvid))
    training.train_features_then_classifier(
        linear,
        classifier,
        camvid.batches(
            arguments.camvid,
            "train",
            classifier,
            BATCH,
            augmentation=data.Augmentation(CROP, scale=(0.9, 1.1), ignore_label=camvid.UNLABELLED),
            shuffle=True,
            drop_remainder=True,
        ),
        epochs=arguments.epochs,
        ignore_label=camvid.UNLABELLED,
        learning_rate=arguments.learning_rate,
        loss=loss,
        run_dir=run,
        checkpoint_steps=25,
    )
    return classifier


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--row", choices=ROWS, default="pyramid")
    parser.add_argument("--epochs", type=int, nargs=2, default=(16, 6), help="Epochs of features and of classifier.")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--balanced", action="store_true", help="Give every class the same weight in training.")
    parser.add_argument("--output", type=Path, default=Path("out/multi_scale"))
    parser.add_argument("--release", type=Path, help="Write the row pyramid as DIRECTORY/multiscale_camvid.")
    arguments = parser.parse_args()
    model = train("single" if arguments.row == "single" else "pyramid", arguments)
    scores = arguments.output / arguments.row / "scores.json"
    if not scores.exists():
        camvid.write_scores(scores, camvid.scores_of(model, arguments.camvid, LABELLINGS.get(arguments.row)))
    camvid.print_table(arguments.output, ROWS)
    if arguments.release:
        camvid.release(model, "multiscale_camvid", arguments.release, (360, 480))


if __name__ == "__main__":
    main()
