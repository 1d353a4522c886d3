"""Trains RNNsearch to translate picture descriptions (Multi30k, English to German), with attention and without.

    python benchmarks/translation.py multi30k --rows attention none --epochs 14 --output out/multi30k

The folder holds `train`, `val` and `test_2016_flickr` as `.en` and `.de`, tokenised and in lower case. The models read
and write pieces of words (byte pairs learnt on both languages, `pip install sentencepiece`), since many German words
are compounds that occur only once. Scores are BLEU on the files' whole words (`sacrebleu`, tokenize="none"), with
greedy and with beam search, and by the number of words in the source. Each row leaves `ROW/model.keras`,
`ROW/history.json`, `ROW/scores.json` and `ROW/test.de`. Rows that have scores are not trained again, and an interrupted
training resumes after its last epoch. `--pictures docs` draws the table's curves, and an alignment.
"""

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np
import sacrebleu
import sentencepiece
from matplotlib.figure import Figure

from keras_segattn import data, visualize
from keras_segattn.attention import RNNSearch, translator
from keras_segattn.decoding import BeamRules
from keras_segattn.training import SEQUENCE_RECIPES

ROWS = {"attention": "additive", "general": "general", "none": None}
SIZES = {"units": 256, "embedding": 256, "maxout": 256, "alignment": 256, "dropout": 0.4, "initialization": "scaled"}
PIECES = 6000  # number of pieces, shared by both languages
LONGEST, STEPS = 48, 48
SHOWN = 3  # index of the test sentence in the picture of the alignment
LENGTHS = ((1, 8), (9, 11), (12, 14), (15, 18), (19, 40))
RULES = {"greedy": BeamRules(1, STEPS), "5 beams": BeamRules(5, STEPS, normalize="gnmt", alpha=1.0)}


def learn_pieces(text, path):
    settings = {"model_type": "bpe", "vocab_size": PIECES, "character_coverage": 1.0, "minloglevel": 2}
    lines = iter([" ".join(words) for pair in text for words in pair])
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines, model_writer=file, normalization_rule_name="identity", **settings
        )
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def read(folder, split):
    return data.parallel_text(folder / f"{split}.en", folder / f"{split}.de")


def train(row, folder, epochs, output):
    keras.utils.set_random_seed(0)
    output.mkdir(parents=True, exist_ok=True)
    pieces = learn_pieces(read(folder, "train"), output / "pieces.model")

    def cut(words):
        return pieces.encode(" ".join(words), out_type=str)

    text = {split: [tuple(map(cut, pair)) for pair in read(folder, split)] for split in ("train", "val")}
    vocabularies = [data.Vocabulary.of((pair[side] for pair in text["train"]), at_least=2) for side in (0, 1)]
    pairs, held_out = (
        [tuple(words.encode(side) for words, side in zip(vocabularies, pair, strict=True)) for pair in text[split]]
        for split in ("train", "val")
    )
    training = data.SequenceBatches(pairs, batch_size=64, longest=LONGEST, multiple=4, shuffle=True)
    validation = data.SequenceBatches(held_out, batch_size=64, longest=LONGEST, multiple=4)
    model = RNNSearch(*map(len, vocabularies), attention=ROWS[row], name=f"multi30k_{row}", **SIZES)
    SEQUENCE_RECIPES["adam-cosine"].compile(model, epochs, len(training))
    for name, vocabulary in zip(("en.txt", "de.txt"), vocabularies, strict=True):
        vocabulary.save(output / name)
    started = time.perf_counter()
    backup = keras.callbacks.BackupAndRestore(output / "backup")
    history = model.fit(training, validation_data=validation, epochs=epochs, verbose=2, callbacks=[backup])
    minutes = (time.perf_counter() - started) / 60
    model.save(output / "model.keras")
    (output / "history.json").write_text(json.dumps(history.history))
    text = read(folder, "test_2016_flickr")
    sources = [cut(source) for source, _ in text]
    scores = {"minutes": minutes, "parameters": model.count_params(), "vocabularies": list(map(len, vocabularies))}
    for name, rules in RULES.items():
        found = [pieces.decode(said).split() for said in translate(model, sources, vocabularies, rules)]
        scores[name] = bleu(found, [pair[1] for pair in text])
        by_length = {}
        for low, high in LENGTHS:
            part = [i for i, pair in enumerate(text) if low <= len(pair[0]) <= high]
            by_length[f"{low}-{high}"] = (len(part), bleu([found[i] for i in part], [text[i][1] for i in part]))
        scores[f"{name} by length"] = by_length
    (output / "test.de").write_text("".join(" ".join(words) + "\n" for words in found), encoding="utf-8")
    (output / "scores.json").write_text(json.dumps(scores, indent=2))


def translate(model, sentences, vocabularies, rules, batch_size=64):
    """Return the best translation of each sentence."""
    search = translator(model, rules)
    order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
    found = [[] for _ in sentences]
    for first in range(0, len(order), batch_size):
        part = order[first : first + batch_size]
        ids = [[*vocabularies[0].encode(sentences[i]), 2] for i in part]
        source = np.zeros((len(part), max(map(len, ids))), "int32")
        for row, sentence in zip(source, ids, strict=True):
            row[: len(sentence)] = sentence
        best = np.asarray(search.predict_on_batch(source)["tokens"])[:, 0]
        for i, tokens in zip(part, best, strict=True):
            found[i] = vocabularies[1].decode(tokens)
    return found


def bleu(found, references):
    lines = [[" ".join(words) for words in side] for side in (found, references)]
    return sacrebleu.corpus_bleu(lines[0], [lines[1]], tokenize="none").score


def by_length(scores, path):
    """Draw BLEU by the length of the source, like figure 2 of Bahdanau et al. (2015)."""
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot(xlabel="words in the source (sentences)", ylabel="BLEU, 5 beams")
    for row, s in scores.items():
        counts, values = zip(*s["5 beams by length"].values(), strict=True)
        names = [f"{length}\n({count})" for length, count in zip(s["5 beams by length"], counts, strict=True)]
        axes.plot(names, values, "o-", label=row)
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(path, dpi=120)


def alignment(folder, sentence, path):
    """Draw the attention of each piece of a translation to the pieces of the source sentence."""
    model = keras.saving.load_model(folder / "model.keras")
    english, german = (data.Vocabulary.load(folder / name) for name in ("en.txt", "de.txt"))
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "pieces.model"))
    source = [*pieces.encode(sentence, out_type=str), "<eos>"]
    found = translator(model, RULES["5 beams"]).predict_on_batch(np.array([english.encode(source)]))
    length = found["lengths"][0, 0]
    said = [*german.decode(found["tokens"][0, 0]), "<eos>"][:length]
    visualize.save(visualize.alignment(found["attention"][0, 0, :length], source, said), path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", nargs="+", choices=tuple(ROWS), default=["attention", "none"])
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--output", type=Path, default=Path("out/multi30k"))
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    for row in arguments.rows:
        if not (arguments.output / row / "scores.json").exists():
            train(row, arguments.folder, arguments.epochs, arguments.output / row)
    print(f"| row | parameters | greedy | 5 beams | {' | '.join(f'{a}-{b} words' for a, b in LENGTHS)} | minutes |")
    print("|---|---|---|---|" + "---|" * (len(LENGTHS) + 1))
    scores = {row: json.loads((arguments.output / row / "scores.json").read_text()) for row in arguments.rows}
    for row, s in scores.items():
        lengths = " | ".join(f"{score:.1f}" for _, score in s["5 beams by length"].values())
        cells = f"{s['greedy']:.1f} | {s['5 beams']:.1f} | {lengths} | {s['minutes']:.0f}"
        print(f"| {row} | {s['parameters']:,} | {cells} |")
    if arguments.pictures:
        by_length(scores, arguments.pictures / "translation_by_length.png")
        sentence = " ".join(read(arguments.folder, "test_2016_flickr")[SHOWN][0])
        alignment(arguments.output / "attention", sentence, arguments.pictures / "translation_alignment.png")


if __name__ == "__main__":
    main()
