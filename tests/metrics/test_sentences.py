"""BLEU and CIDEr of token lists, against a BLEU computed here and properties that define CIDEr-D."""

import math
import unicodedata
from collections import Counter

import numpy as np
import pytest

from keras_segattn.metrics import bleu, cider

WORDS = ["a", "small", "large", "dog", "cat", "runs", "sits", "on", "the", "mat", "and"]


def corpus(seed, count=40):
    random = np.random.default_rng(seed)
    return [[str(w) for w in random.choice(WORDS, random.integers(4, 12))] for _ in range(count)]


def counted(sentence, n):
    return Counter(tuple(sentence[i : i + n]) for i in range(len(sentence) - n + 1))


def papineni(found, references):
    """BLEU of a corpus as the paper defines it: clipped precisions, closest reference length."""
    logs = 0.0
    for n in range(1, 5):
        hits = total = 0
        for sentence, one in zip(found, references, strict=True):
            most = Counter()
            for reference in one:
                most |= counted(reference, n)
            grams = counted(sentence, n)
            hits += sum(min(count, most[gram]) for gram, count in grams.items())
            total += sum(grams.values())
        logs += math.log(hits / total) / 4
    length = sum(map(len, found))
    closest = sum(min((abs(len(r) - len(s)), len(r)) for r in one)[1] for s, one in zip(found, references, strict=True))
    return 100 * math.exp(logs + min(0.0, 1 - closest / length))


def test_bleu_is_the_papers_with_one_and_with_more_references():
    found = corpus(0)
    near = [[WORDS[(WORDS.index(w) + 1) % 11] if i % 6 == 5 else w for i, w in enumerate(s)] for s in found]
    one = [[sentence] for sentence in near]
    assert bleu(found, one) == pytest.approx(papineni(found, one), rel=1e-9)
    more = [
        [sentence, other] if i % 3 else [sentence]
        for i, (sentence, other) in enumerate(zip(near, corpus(1), strict=True))
    ]
    assert bleu(found, more) == pytest.approx(papineni(found, more), rel=1e-9)
    assert bleu(found, [[sentence] for sentence in found]) == 100.0


def test_cider_is_ten_for_the_reference_itself_and_nothing_for_another_picture():
    found = [["a", "small", "dog", "runs"], ["the", "large", "cat", "sits"]]
    assert cider(found, [[sentence] for sentence in found]) == pytest.approx(10.0)
    assert cider(found, [[sentence] for sentence in found[::-1]]) == 0.0


@pytest.mark.parametrize(("score", "best"), [(bleu, 100.0), (cider, 10.0)])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_scores_do_not_depend_on_the_unicode_form(score, best, form):
    found = [["một", "người", "đàn", "ông"], ["hai", "con", "chó", "nhỏ"]]
    references = [[[unicodedata.normalize(form, token) for token in one]] for one in found]
    assert score([[unicodedata.normalize("NFC", token) for token in one] for one in found], references) == (
        pytest.approx(best)
    )


@pytest.mark.parametrize("score", [bleu, cider])
def test_both_unicode_forms_of_a_word_are_one_word(score):
    composed = [["ein", "Hündchen", "läuft", "über", "Straßen"], ["zwei", "Vögel", "sitzen", "auf", "Bäumen"]]
    parts = [[unicodedata.normalize("NFD", word) for word in sentence] for sentence in composed]
    assert parts != composed
    for found, expected in ((parts, composed), (composed, parts)):
        best = score(composed, [[sentence] for sentence in composed])
        assert score(found, [[sentence] for sentence in expected]) == pytest.approx(best)


@pytest.mark.parametrize("score", [bleu, cider])
@pytest.mark.parametrize(
    ("found", "references", "message"),
    [
        ([], [], "at least one"),
        ([["a"]], [], "as many sentences as references"),
        ([["a"]], [[]], "sentence 0: expected lists of tokens"),
        (["a dog"], [[["a", "dog"]]], "sentence 0: expected lists of tokens"),
        ([[4, 5]], [[[4, 5]]], "sentence 0: expected lists of tokens"),
    ],
)
def test_what_cannot_be_scored(score, found, references, message):
    with pytest.raises(ValueError, match=message):
        score(found, references)
