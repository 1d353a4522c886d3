"""Trains Show, Attend and Tell on Tux Paint scenes, with soft, hard and no attention, and measures where it attends.

    python benchmarks/captions.py tuxpaint-stamps-default_*.deb gcompris-qt-data_*.deb --epochs 8 --output out/captions

Scenes of one to three cut-outs on photographs are composed first; test scenes have unseen cut-outs on unseen
photographs. A caption names the objects in the order of their kinds: "a small bird , a large mammal and a small
vehicle". As the masks of the objects are known, the script can measure the share of a word's attention inside the
object that it names (given the reference caption).
The annotations are a 14×14 feature map of EfficientNet-Lite0 with fixed ImageNet weights. Each row leaves
`ROW/model.keras`, `ROW/history.json` and `ROW/scores.json`; rows that have scores are not trained again. `--release
savedmodels` writes `captions_tux/1` from the row `soft`, with its backbone; `--pictures docs` draws its attention on
test scenes.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import keras
import numpy as np
from rich.progress import track

import keras_segattn
from keras_segattn import data, export, visualize
from keras_segattn.attention import ShowAttendTell, captioner
from keras_segattn.decoding import BeamRules
from keras_segattn.metrics import bleu, cider
from keras_segattn.training import SEQUENCE_RECIPES, HardAttentionTrainer

ROWS = {"soft": "additive", "hard": "hard", "uniform": "uniform"}
COUNTS = {"train": 10000, "validation": 400, "test": 400}
SCENES = {"size": (224, 224), "objects": (1, 3), "scale": (0.3, 0.65), "seed": 1}
BACKBONE, TAP, GRID = "efficientnet_lite0", "block5c_add", 14
SIZES = {"units": 256, "embedding": 128, "key_layers": 0, "initial_layers": 0, "dropout": 0.5}
SIZES |= {"initialization": "scaled"}
LARGE = 0.12  # least area of a large object, as a share of the picture
RECIPE = dataclasses.replace(SEQUENCE_RECIPES["adam-cosine"], warmup=100, label_smoothing=0.0)
# Weight of the entropy in the loss of hard attention. The default, the paper's, suits longer captions; with these
# short ones it keeps the attention uniform.
ENTROPY = 1e-4
RULES = BeamRules(beams=3, length=16)
PICTURES = 6


def caption_of(example):
    """Return the words, and for each word the number of the object that it names, or -1."""
    objects = example["objects"]
    names = list(data.TUX_PAINT_CLASSES)
    sizes = objects["mask"].mean(axis=(1, 2))
    order = np.lexsort((-sizes, objects["label"]))  # by kind, then large before small
    words, named = [], []
    for place, index in enumerate(order):
        if place:
            words.append("and" if place == len(order) - 1 else ",")
            named.append(-1)
        words += ["a", "large" if sizes[index] >= LARGE else "small", names[objects["label"][index] - 1]]
        named += [-1, -1, int(index)]
    return words, named


class Scenes:
    """One split: annotations of every scene, its caption, and the masks of the objects that the words name."""

    def __init__(self, arguments, split):
        self.folder = arguments.output / "scenes" / split
        composed = data.TuxPaintScenes(split, count=COUNTS[split], **SCENES)
        path = composed.write(arguments.stamps, arguments.photographs, self.folder)
        self.examples = data.coco_instances(path, self.folder / "images")
        file = arguments.output / f"{split}.npz"
        if not file.exists():
            self._encode(file, split)
        content = np.load(file)
        self.annotations, self.cover = content["annotations"], content["cover"]
        self.captions = json.loads(file.with_suffix(".json").read_text())

    def _encode(self, file, split):
        card = keras_segattn.model_card(BACKBONE)
        backbone = card.builder(include_top=False, weights="imagenet", input_shape=(*SCENES["size"], 3))
        tap = keras.Model(backbone.input, backbone.get_layer(TAP).output)
        annotations, cover, captions = [], [], []
        for first in track(range(0, len(self.examples), 50), f"annotations of {split}"):
            part = list(self.examples[first : first + 50])
            images = card.inputs["image"](np.stack([example["image"] for example in part]).astype("float32"))
            maps = tap.predict_on_batch(keras.ops.convert_to_numpy(images))
            annotations.append(maps.reshape(len(part), GRID**2, -1).astype("float16"))
            cover += [self._cover(example) for example in part]
            captions += [caption_of(example) for example in part]
        file.with_suffix(".json").write_text(json.dumps(captions))
        np.savez(file, annotations=np.concatenate(annotations), cover=np.stack(cover))

    @staticmethod
    def _cover(example):
        """Return the share of each cell that each object covers."""
        masks = np.zeros((SCENES["objects"][1], GRID**2), "float16")
        cells = example["objects"]["mask"].reshape(-1, GRID, 16, GRID, 16).mean(axis=(2, 4), dtype="float32")
        masks[: len(cells)] = cells.reshape(-1, GRID**2)
        return masks

    def read(self, places):
        return self.annotations[places].astype("float32")

    def batches(self, words, **settings):
        ids = [[words.encode(said)] for said, _ in self.captions]
        return data.CaptionBatches(ids, self.read, batch_size=64, name="annotations", **settings)


def train(row, splits, words, epochs, output):
    keras.utils.set_random_seed(0)
    training, validation = (splits[split].batches(words, shuffle=split == "train") for split in ("train", "validation"))
    shape = splits["train"].annotations.shape[1:]
    model = ShowAttendTell(
        len(words), backbone=None, input_shape=shape, attention=ROWS[row], name=f"tux_{row}", **SIZES
    )
    trained = model
    if row == "hard":
        trained = HardAttentionTrainer(model, entropy=ENTROPY)
        trained.compile(RECIPE.make_optimizer(epochs, len(training)), jit_compile=False)
    else:
        RECIPE.compile(model, epochs, len(training))
    output.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    history = trained.fit(training, validation_data=validation, epochs=epochs, verbose=2)
    minutes = (time.perf_counter() - started) / 60
    model.save(output / "model.keras")
    scores = {"minutes": minutes, "parameters": model.count_params(), **score(model, splits["test"], words)}
    (output / "history.json").write_text(json.dumps(history.history))
    (output / "scores.json").write_text(json.dumps(scores, indent=2))


def score(model, scenes, words):
    """Return BLEU, CIDEr, the share of captions that are exactly right, and shares of attention."""
    everything = np.arange(len(scenes.captions))
    found = captioner(model, RULES).predict(scenes.read(everything), batch_size=50, verbose=0)["tokens"][:, 0]
    found = [words.decode(ids) for ids in found]
    references = [[said] for said, _ in scenes.captions]
    inside, areas = [], []
    for place in everything:
        said, named = scenes.captions[place]
        target = np.array([[1, *words.encode(said)[:-1]]], "int32")
        inputs = {"annotations": scenes.read([place]), "target": target}
        attention = np.asarray(model(inputs, training=False)["attention"])[0]
        for weights, index in zip(attention, named, strict=True):
            if index >= 0:
                cover = scenes.cover[place, index].astype("float32")
                inside.append(float(weights @ cover))
                areas.append(float(cover.mean()))
    return {
        "bleu": bleu(found, references),
        "cider": cider(found, references),
        "exact": float(np.mean([one == said for one, [said] in zip(found, references, strict=True)])),
        "attention inside": float(np.mean(inside)),
        "area": float(np.mean(areas)),
    }


def whole(trained, words):
    """Put the trained decoder on its backbone: a model from pictures to captions."""
    model = ShowAttendTell(
        len(words),
        backbone=BACKBONE,
        weights="imagenet",
        tap=TAP,
        input_shape=(*SCENES["size"], 3),
        name="captions_tux",
        **SIZES,
    )
    own = {layer.name: layer for layer in model.layers}
    for layer in trained.layers:
        if layer.weights:
            own[layer.name].set_weights(layer.get_weights())
    return model


def release(model, words, destination):
    """Write `destination/captions_tux/1` for servers, with weights rounded to float16, so that they compress."""
    for weight in model.weights:
        weight.assign(keras.ops.cast(keras.ops.cast(weight, "float16"), "float32"))
    facts = keras_segattn.facts_of(
        model,
        vocabularies={"target": words},
        options=RULES,
        training="scenes of Tux Paint's stamps pasted on GCompris' photographs; backbone trained on ImageNet",
        licence="backbone Apache-2.0; stamps GPL-2; photographs CC BY-SA, CC0, GPL",
    )
    print(export.saved_model(model, destination, 1, facts=facts).path)


def pictures(model, scenes, words, destination):
    """Draw the attention of each word of the first test captions."""
    destination.mkdir(parents=True, exist_ok=True)
    describe, preprocessing = captioner(model, RULES), keras_segattn.model_card(BACKBONE).inputs["image"]
    for place in range(PICTURES):
        image = scenes.examples[place]["image"]
        found = describe.predict_on_batch(preprocessing(image[None].astype("float32")))
        length = found["lengths"][0, 0]
        said = [*words.decode(found["tokens"][0, 0]), "<eos>"][:length]
        picture = visualize.attended_words(image, said, found["attention"][0, 0, :length])
        visualize.save(picture, destination / f"caption_{place}.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stamps", type=Path)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--rows", nargs="+", choices=tuple(ROWS), default=list(ROWS))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--output", type=Path, default=Path("out/captions"))
    parser.add_argument("--release", type=Path)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    splits = {split: Scenes(arguments, split) for split in COUNTS}
    words = data.Vocabulary.of(said for said, _ in splits["train"].captions)
    words.save(arguments.output / "words.txt")
    for row in arguments.rows:
        if not (arguments.output / row / "scores.json").exists():
            train(row, splits, words, arguments.epochs, arguments.output / row)
    if arguments.release or arguments.pictures:
        model = whole(keras.saving.load_model(arguments.output / "soft" / "model.keras"), words)
        if arguments.release:
            release(model, words, arguments.release)
        if arguments.pictures:
            pictures(model, splits["test"], words, arguments.pictures)
    print("| attention | BLEU | CIDEr | exactly right | attention inside the object | the object's area | minutes |")
    print("|---|---|---|---|---|---|---|")
    for row in arguments.rows:
        s = json.loads((arguments.output / row / "scores.json").read_text())
        shares = " | ".join(f"{s[key]:.1%}" for key in ("exact", "attention inside", "area"))
        print(f"| {row} | {s['bleu']:.1f} | {s['cider']:.2f} | {shares} | {s['minutes']:.0f} |")


if __name__ == "__main__":
    main()
