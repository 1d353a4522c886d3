"""Readers of captions, and batches of captions."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn.data import (
    CaptionBatches,
    coco_captions,
    flickr_captions,
    karpathy_captions,
    tokenize_caption,
)

COCO = {
    "images": [
        {"id": 7, "file_name": "b.jpg", "height": 4, "width": 4},
        {"id": 3, "file_name": "a.jpg", "height": 4, "width": 4},
        {"id": 9, "file_name": "c.jpg", "height": 4, "width": 4},
    ],
    "annotations": [
        {"id": 1, "image_id": 3, "caption": "A dog."},
        {"id": 2, "image_id": 7, "caption": "Two birds; one's flying!"},
        {"id": 3, "image_id": 3, "caption": "The dog runs"},
    ],
}
KARPATHY = {
    "images": [
        {"filename": "a.jpg", "filepath": "val2014", "split": "test", "sentences": [{"tokens": ["a", "dog"]}]},
        {"filename": "b.jpg", "split": "train", "sentences": [{"tokens": ["a", "cat"]}, {"tokens": ["cat"]}]},
    ]
}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A man's dog, running.", ["a", "man's", "dog", "running"]),
        ("'Quoted'  text -- 2 times\n", ["quoted", "text", "2", "times"]),
        ("Ein großer Übermut", ["ein", "großer", "übermut"]),
        ("...", []),
    ],
)
def test_words_of_a_caption(text, tokens):
    assert tokenize_caption(text) == tokens


SENTENCES = {
    "Hindi": ("एक कुत्ता दौड़ रहा है।", 5),
    "Thai": ("หมา วิ่ง", 2),
    "Tamil": ("நாய் ஓடுகிறது", 2),
    "Arabic": ("كَلْبٌ كبير،", 2),
    "Hebrew": ("כֶּלֶב גדול", 2),
    "Vietnamese": ("Một người đàn ông", 4),
    "Korean": ("개가 달린다", 2),
    "Persian": ("می‌خواهم بروم", 2),
    "Bengali": ("র‍্যাব দল", 2),
    "Turkish": ("İstanbul'da ISPANAK", 2),
    "Greek": ("ΣΚΎΛΟΣ τρέχει", 2),
    "emoji": ("A dog ❤️ runs 🐕‍🦺", 3),
}


@pytest.mark.parametrize("language", SENTENCES)
def test_combining_marks_stay_with_their_letters(language):
    text, count = SENTENCES[language]
    forms = [tokenize_caption(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")]
    assert forms[0] == forms[1]
    assert len(forms[0]) == count
    assert all(unicodedata.is_normalized("NFC", token) for token in forms[0])
    if language != "emoji":  # whose marks belong to no letter
        whole = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
        assert marked_letters("".join(forms[0])) == marked_letters(whole)


@pytest.mark.parametrize("sign", ["\xad", "\u200e", "\u200f", "\u2060", "\ufeff", "\u202b", "\u2066", "\u061c"])
@pytest.mark.parametrize("place", range(4))
def test_invisible_characters_do_not_change_a_word(sign, place):
    assert tokenize_caption(f"A {'dog'[:place]}{sign}{'dog'[place:]} runs") == ["a", "dog", "runs"]
    assert tokenize_caption(f"e{sign}\u0301") == ["é"]


@pytest.mark.parametrize("word", ["צה״ל", "צ׳ק", "col·lecció", "don\uff07t", "м\u02bcята", "l\u2019homme"])
def test_signs_within_words_stay(word):
    assert tokenize_caption(f"“{word}”: {word}…") == [word, word]


def test_a_space_of_no_width_separates_words():
    assert tokenize_caption("ភាសា\u200bខ្មែរ") == ["ភាសា", "ខ្មែរ"]


def marked_letters(text):
    return [character for character in text if unicodedata.category(character)[0] in "LMN"]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=12))
def test_the_unicode_form_of_a_text_does_not_matter(text):
    nfc, nfd = (tokenize_caption(unicodedata.normalize(form, text)) for form in ("NFC", "NFD"))
    assert nfc == nfd
    assert all(token == unicodedata.normalize("NFC", token) for token in nfc)


def test_coco_captions_are_gathered_by_picture(tmp_path):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps(COCO))
    found = coco_captions(path, "pictures")
    assert found == [
        (Path("pictures/b.jpg"), [["two", "birds", "one's", "flying"]]),
        (Path("pictures/a.jpg"), [["a", "dog"], ["the", "dog", "runs"]]),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"annotations": [{"id": 1, "image_id": 8, "caption": "x"}]},
            "annotation 1: expected a known image_id, found 8",
        ),
        (
            {"annotations": [{"id": 1, "image_id": 3, "caption": "!"}]},
            "annotation 1: expected caption to be a caption with words",
        ),
        ({"annotations": [{"id": 1, "image_id": 3}]}, "annotation 1: expected caption to be a text, found None"),
        ({"images": None}, "expected a COCO file with a list 'images'"),
    ],
)
def test_damaged_coco_captions_are_named(tmp_path, change, message):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps(COCO | change))
    with pytest.raises(ValueError, match=message):
        coco_captions(path, tmp_path)


def test_flickr_captions(tmp_path):
    path = tmp_path / "results.token"
    path.write_text("1.jpg#0\tA dog .\n1.jpg#1\tThe dog runs .\n2.jpg#0\tTwo birds\n")
    assert flickr_captions(path, "p") == [
        (Path("p/1.jpg"), [["a", "dog"], ["the", "dog", "runs"]]),
        (Path("p/2.jpg"), [["two", "birds"]]),
    ]
    for line in ("1.jpg\tA dog", "1.jpg#0 A dog", "../1.jpg#0\tA dog", "\n2.jpg#0\tA dog"):
        path.write_text(f"1.jpg#0\tA dog\n{line}\n")
        with pytest.raises(ValueError, match="line 2: expected NAME#NUMBER"):
            flickr_captions(path, "p")
    path.write_bytes(b"1.jpg#0\t\xff\n")
    with pytest.raises(ValueError, match="expected UTF-8"):
        flickr_captions(path, "p")


def test_broken_lines_of_flickr_are_skipped_and_counted(tmp_path):
    path = tmp_path / "results.token"
    path.write_text("1.jpg#0\tA dog .\n1.jpg#1\t...\nThe dog runs\n")
    with pytest.raises(ValueError, match=r"results\.token: line 2: expected a caption with words, found '\.\.\.'"):
        flickr_captions(path, "p")
    with pytest.warns(
        UserWarning, match=r"1 × .*words \(first: line 2\); 1 × expected NAME#NUMBER.* \(first: line 3\)"
    ):
        assert flickr_captions(path, "p", skip_broken=True) == [(Path("p/1.jpg"), [["a", "dog"]])]


def test_karpathy_splits(tmp_path):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(KARPATHY))
    assert karpathy_captions(path, "p", "test") == [(Path("p/val2014/a.jpg"), [["a", "dog"]])]
    assert karpathy_captions(path, "p", "train") == [(Path("p/b.jpg"), [["a", "cat"], ["cat"]])]
    with pytest.raises(ValueError, match=r"expected split to be one of \['test', 'train'\], received 'val'"):
        karpathy_captions(path, "p", "val")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sentences": [{}]}, "tokens to be a list of words, found None"),
        ({"sentences": [{"tokens": "a dog"}]}, "tokens to be a list of words, found 'a dog'"),
        ({"sentences": [{"tokens": ["a", 2]}]}, "tokens to be a list of words"),
        ({"sentences": [{"tokens": []}]}, "tokens to be a list of words"),
        ({"sentences": "a dog"}, "a list of sentences"),
        ({"sentences": ["a dog"]}, "an object with fields"),
        ({"filename": 3}, "filename to be a text"),
        ({"filepath": None}, "filepath to be a text"),
        ({"split": ["test"]}, "split to be a text"),
    ],
)
def test_broken_entries_of_karpathy_are_named_or_skipped(tmp_path, change, message):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"images": [*KARPATHY["images"], KARPATHY["images"][0] | change]}))
    with pytest.raises(ValueError, match=rf"dataset\.json: images\[2\]: expected .*{message}.*skip_broken=True"):
        karpathy_captions(path, "p", "test")
    with pytest.warns(UserWarning, match=r"skipped broken entries: 1 × expected .* \(first: images\[2\]\)"):
        assert len(karpathy_captions(path, "p", "test", skip_broken=True)) == 1


def test_broken_captions_are_skipped_and_counted(tmp_path):
    path = tmp_path / "captions.json"
    broken = [{"id": 8, "image_id": 3, "caption": "!"}, {"id": 9, "image_id": 3, "caption": None}]
    path.write_text(json.dumps(COCO | {"annotations": [*COCO["annotations"], *broken]}), encoding="utf-8-sig")
    with pytest.warns(
        UserWarning, match=r"captions\.json: skipped broken entries: 1 × .*words \(first: annotation 8\); 1 × "
    ):
        assert len(coco_captions(path, tmp_path, skip_broken=True)) == 2


@pytest.mark.parametrize("read", [coco_captions, flickr_captions, lambda a, b: karpathy_captions(a, b, "test")])
def test_missing_caption_files(tmp_path, read):
    with pytest.raises(FileNotFoundError, match="found nothing"):
        read(tmp_path / "none", tmp_path)


def test_batches_pair_every_caption_with_its_picture():
    pictures = np.arange(5, dtype="float32")[:, None, None] * np.ones((5, 3, 2), "float32")
    captions = [[[10 * i + 4] * (1 + (i + k) % 3) for k in range(2)] for i in range(5)]
    batches = CaptionBatches(captions, pictures.__getitem__, batch_size=3, shuffle=True, name="annotations")
    seen = []
    for inputs, targets in (batches[i] for i in range(len(batches))):
        assert inputs["annotations"].dtype == "float32"
        for annotations, target, following in zip(
            inputs["annotations"], inputs["target"], targets["logits"], strict=True
        ):
            assert target[0] == 1
            assert (annotations == (following[0] - 4) / 10).all()
            seen.append(int(following[0]))
    assert sorted(seen) == sorted(caption[0] for said in captions for caption in said)


def test_pictures_of_one_batch_that_differ_in_shape_are_named():
    pictures = [np.ones((2 + index // 2, 3)) for index in range(4)]
    batches = CaptionBatches([[[4]]] * 4, lambda places: [pictures[place] for place in places], batch_size=4)
    message = r"4 image of one shape for pictures \[0, 1, 2, 3\], received 4 of \(2, 3\), \(3, 3\)"
    with pytest.raises(ValueError, match=message):
        batches[0]


def test_what_was_read_is_finite():
    pictures = np.ones((3, 4, 2), "float32")
    pictures[2, 1, 1] = np.inf
    batches = CaptionBatches([[[4]], [[5]], [[6]]], pictures.__getitem__, batch_size=3, name="annotations")
    with pytest.raises(ValueError, match=r"expected finite annotations, .* in those of pictures \[2\]"):
        batches[0]
