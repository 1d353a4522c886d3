"""Trains recurrent convolutional networks on CamVid and scores each on its validation pictures.

    python benchmarks/recurrent_camvid.py CAMVID --rows rcnn3-3

A row is a network and its number of instances; all are trained alike on whole pictures of half size, in which the loss
of every instance counts. As published, rcnn3-3 starts from the weights of rcnn3-2, which is trained first. To save
three quarters of the time, training scores every other pixel; the trained network labels them all, and
`rcnn3-3-half` every other one, the paper's half resolution. Each row leaves `ROW/run` and `ROW/scores.json`; a row with
scores is not trained again, and an interrupted training goes on. `--patches` trains on patches as published instead.
"""

import argparse
from pathlib import Path

import camvid
import keras

from keras_segattn import RecurrentConvNet, data, training
from keras_segattn.segmentation.recurrent_conv_net import depths

SIZE = (180, 240)
# Row → network, number of instances, and the row whose weights it starts from.
ROWS = {
    "cnn1": ("cnn1", 1, None),
    "rcnn2-1": ("rcnn2", 1, None),
    "rcnn2-2": ("rcnn2", 2, None),
    "rcnn3-1": ("rcnn3", 1, None),
    "rcnn3-2": ("rcnn3", 2, None),
    "rcnn3-3": ("rcnn3", 3, "rcnn3-2"),
    "rcnn3-3-half": ("rcnn3", 3, "rcnn3-3"),
}
# Patches from every picture in a step of `--patches`.
PATCHES = 32


def build(row, **options):
    network, instances, _ = ROWS[row]
    return RecurrentConvNet(classes=camvid.CLASSES, network=network, instances=instances, name=row, **options)


def train(row, arguments):
    """Train a row, or load what was trained; return its labelling network."""
    start = ROWS[row][2]
    if row == "rcnn3-3-half":
        model = build(row, stride=2)
        model.set_weights(train(start, arguments).get_weights())
        return model
    run, model = arguments.output / row / "run", build(row)
    if (finished := camvid.stored(run)) is not None:
        model.set_weights(finished.get_weights())
        return model
    before = None if start is None else train(start, arguments).get_weights()
    keras.utils.set_random_seed(arguments.seed)
    network = build(row, patches=True) if arguments.patches else build(row, stride=2)
    if before is not None:
        network.set_weights(before)
    augmentation = data.Augmentation(SIZE, scale=(0.45, 0.55), ignore_label=camvid.UNLABELLED)
    batches = camvid.batches(arguments.camvid, "train", network, augmentation=augmentation, shuffle=True)
    if arguments.patches:
        batches = data.PatchBatches(batches, network.input_shape[1], count=PATCHES)
    training.train_segmenter(
        network,
        batches,
        epochs=arguments.epochs,
        ignore_label=camvid.UNLABELLED,
        recipe="adamw-cosine",
        learning_rate=arguments.learning_rate,
        supervised=depths(network),
        run_dir=run,
        checkpoint_steps=100,
    )
    model.set_weights(network.get_weights())
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--patches", action="store_true", help="Train on patches instead of whole pictures.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("out/recurrent_camvid"))
    parser.add_argument("--release", type=Path, help="Write the row rcnn3-3 as DIRECTORY/rcnn3_camvid.")
    arguments = parser.parse_args()
    for row in arguments.rows:
        model, scores = train(row, arguments), arguments.output / row / "scores.json"
        if not scores.exists():
            camvid.write_scores(scores, camvid.scores_of(model, arguments.camvid, size=SIZE))
    camvid.print_table(arguments.output, ROWS)
    if arguments.release:
        camvid.release(train("rcnn3-3", arguments), "rcnn3_camvid", arguments.release, SIZE)


if __name__ == "__main__":
    main()
