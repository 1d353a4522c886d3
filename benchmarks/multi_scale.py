"""Trains the network of Farabet et al. (2013) on CamVid, and labels the validation pictures in several ways.

    python benchmarks/multi_scale.py camvid.zip --row pyramid --output out/multi_scale

Each row is one command; all together make a table. `single` and `pyramid` are trained in two steps, features with a
linear classifier and then the classifier on frozen features, and go on where they were interrupted. `superpixels`,
`crf` and `cover` label with the probabilities of `pyramid`, which must be trained before. A row that has scores is not
computed again. The folder CAMVID, or the archive, holds `train` and `val`, each with `images` and `masks`.
"""

import argparse
import json
import time
import zipfile
from pathlib import Path

import keras
import numpy as np

import keras_segattn
from keras_segattn import data, segmentation, training
from keras_segattn.losses import PixelCrossEntropy

LABELS = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "cyclist"]
VOID = len(LABELS)
CROP, BATCH = (240, 320), 4
ROWS = ("single", "pyramid", "superpixels", "crf", "cover")


def unpacked(source, output):
    """Return the folder of an archive, which is unpacked if it is not yet."""
    if source.is_dir():
        return source
    folder = output / source.stem
    with zipfile.ZipFile(source) as archive:
        if not all((folder / name).exists() for name in archive.namelist()):
            archive.extractall(folder)
    return folder


def pictures(folder, split):
    return data.folder(folder / split / "images", folder / split / "masks")


def batches_of(folder, model):
    """Return batches to train on, and the validation pictures one by one."""
    shared = {"classes": VOID, "ignore_label": VOID, "preprocessing": keras_segattn.preprocessing_of(model)}
    augmentation = data.Augmentation(CROP, scale=(0.9, 1.1), ignore_label=VOID)
    train = data.MaskBatches(
        pictures(folder, "train"),
        batch_size=BATCH,
        shuffle=True,
        augmentation=augmentation,
        drop_remainder=True,
        **shared,
    )
    return train, data.MaskBatches(pictures(folder, "val"), batch_size=1, **shared)


def class_weights(folder):
    """Return the weights that give every class the same share of the loss, 1 on average over all pixels."""
    counts = np.zeros(256)
    for features in pictures(folder, "train").as_numpy_iterator():
        counts += np.bincount(features["segmentation_mask"].ravel(), minlength=256)
    counts = counts[:VOID]
    shares = counts / counts.sum()
    return np.divide(1 / VOID, shares, out=np.zeros(VOID), where=shares > 0).tolist()


def build(row, hidden):
    return keras_segattn.MultiScaleConvNet(
        classes=VOID, hidden=hidden, scales=1 if row == "single" else 3, interpolation="bilinear"
    )


def train(row, folder, output, arguments):
    """Train a row's network in two steps; return it."""
    keras.utils.set_random_seed(0)
    linear, classifier = build(row, None), build(row, 1024)
    batches, _ = batches_of(folder, classifier)
    loss = PixelCrossEntropy(VOID, class_weights=class_weights(folder)) if arguments.balanced else None
    training.train_features_then_classifier(
        linear,
        classifier,
        batches,
        epochs=arguments.epochs,
        ignore_label=VOID,
        learning_rate=arguments.learning_rate,
        loss=loss,
        run_dir=output,
        checkpoint_steps=25,
    )
    return classifier


def labelling_of(row, arguments):
    superpixels = segmentation.Superpixels(arguments.superpixel_scale)
    return {
        "superpixels": segmentation.SuperpixelAverage(superpixels),
        "crf": segmentation.SuperpixelCRF(1.0, arguments.beta, arguments.gamma, superpixels),
        "cover": segmentation.OptimalCover(superpixels),
    }.get(row)


def score(row, model, folder, arguments):
    _, validation = batches_of(folder, model)
    started = time.process_time()
    scores = training.evaluate_segmenter(model, validation, VOID, VOID, labelling_of(row, arguments))
    seconds = (time.process_time() - started) / len(validation)
    wanted = {name: scores[name] for name in ("pixel_accuracy", "mean_accuracy", "mean_iou")}
    iou = dict(zip(LABELS, scores["iou"], strict=True))
    return {"parameters": model.count_params(), "cpu_seconds_per_picture": seconds, **wanted, "iou": iou}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--row", choices=ROWS, default="pyramid")
    parser.add_argument("--epochs", type=int, nargs=2, default=(16, 6), help="Epochs of features and of classifier.")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--balanced", action="store_true", help="Give every class the same weight in training.")
    parser.add_argument("--superpixel-scale", type=float, default=50.0)
    parser.add_argument("--beta", type=float, default=20.0)
    parser.add_argument("--gamma", type=float, default=0.1)
    parser.add_argument("--output", type=Path, default=Path("out/multi_scale"))
    arguments = parser.parse_args()
    folder = unpacked(arguments.camvid, arguments.output)
    scores = arguments.output / arguments.row / "scores.json"
    if not scores.exists():
        trained = arguments.row if arguments.row in ("single", "pyramid") else "pyramid"
        finished = arguments.output / trained / "2-classifier" / "model.keras"
        if trained != arguments.row and not finished.exists():
            parser.error(f"the row {arguments.row} needs the trained network of the row pyramid: {finished} is missing")
        if finished.exists():
            model = keras.saving.load_model(finished, compile=False)
        else:
            model = train(trained, folder, arguments.output / trained, arguments)
        scores.parent.mkdir(parents=True, exist_ok=True)
        scores.write_text(json.dumps(score(arguments.row, model, folder, arguments), indent=2, default=float))
    print("| row | parameters | global | class average | mean IoU | CPU seconds per picture |")
    print("|---|---|---|---|---|---|")
    for row in ROWS:
        path = arguments.output / row / "scores.json"
        if path.exists():
            s = json.loads(path.read_text())
            percent = " | ".join(f"{100 * s[name]:.1f}" for name in ("pixel_accuracy", "mean_accuracy", "mean_iou"))
            print(f"| {row} | {s['parameters']:,} | {percent} | {s['cpu_seconds_per_picture']:.2f} |")


if __name__ == "__main__":
    main()
