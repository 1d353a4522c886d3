"""Texts in the graph of a server: the same tokens as in Python, whatever the script."""

import random
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn.data import Vocabulary, graph_text
from keras_segattn.data.examples import read
from keras_segattn.data.text import normalized
from keras_segattn.fields import UNK, Tokens

POINTS = [tf.TensorSpec([None], "int32")]
NFC = tf.function(graph_text.nfc, input_signature=POINTS)
LOWER = tf.function(lambda x: graph_text.nfc(graph_text.lower(graph_text.nfc(x))), input_signature=POINTS)
SENTENCES = {
    "English": "The dog's ball, it  rolls!",
    "English with white space": "\ta\u00a0b\u3000c\x1fd\u2028e\n",
    "German": "Ein Hündchen läuft; GROẞ und STRAẞE.",
    "Greek": "Ο ΟΔΥΣΣΕΑΣ ΕΙΝΑΙ ΣΟΦΌΣ",
    "Turkish": "İstanbul ISPARTA",
    "Hindi": "मैं हिन्दी में लिखता हूँ",
    "Thai": "ภาษาไทย น้ำ",
    "Arabic": "اللُّغَةُ العَرَبِيَّة",
    "Hebrew": "עִבְרִית",
    "Vietnamese": "Tiếng Việt được viết như thế này",
    "Korean": "한국어 문장",
    "control tokens": "<pad> <bos> a <eos> <unk> b",
    "nothing": "",
    "white space": " \u2003 ",
}


def converted(function, text):
    """Return a text that a function of code points made; a line feed ends it, as in `token_ids`."""
    points = tf.constant([*map(ord, text), graph_text.END], "int32")
    return "".join(map(chr, function(points).numpy()))[:-1]


def characters(blocks):
    return st.text(st.one_of(*(st.characters(min_codepoint=a, max_codepoint=b) for a, b in blocks)), max_size=12)


BLOCKS = [(0x20, 0x24F), (0x300, 0x3FF), (0x900, 0xDFF), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0xABC0, 0xAC40)]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(characters(BLOCKS))
def test_any_text_has_python_s_form_and_lower_case(text):
    assert converted(NFC, text) == unicodedata.normalize("NFC", text)
    assert converted(LOWER, text) == normalized(text, lower=True)


def test_marks_in_any_order_are_composed_as_in_python():
    tables = graph_text.unicode_tables()
    points = [*tables.changing, *tables.classes.keys, *tables.decompositions.keys, *range(0x1100, 0x1200)]
    text = "".join(random.Random(0).choices(list(map(chr, points)), k=3000))
    assert not unicodedata.is_normalized("NFC", text)
    assert converted(NFC, text) == unicodedata.normalize("NFC", text)
    assert converted(LOWER, text) == normalized(text, lower=True)


@pytest.mark.parametrize("unit", ["word", "letter"])
def test_ids_are_those_of_predict(unit):
    texts = [unicodedata.normalize(form, text) for text in SENTENCES.values() for form in ("NFC", "NFD")]
    known = [text for name, text in SENTENCES.items() if name not in ("German", "control tokens")]
    spelt = [normalized(text, lower=True).split() for text in known]
    words = Vocabulary.of(spelt if unit == "word" else ["".join(one) for one in spelt])
    kind = Tokens("source", len(words), unit=unit, lower=True)
    ids = tf.function(lambda x: graph_text.token_ids(x, kind, words.tokens), autograph=False)(tf.constant(texts))
    seen = set()
    for text, found in zip(texts, ids.to_list(), strict=True):
        if not text.split():
            assert found == []
            continue
        expected = read(kind, (None,), text, {"source": words.tokens}).array[:-1].tolist()
        assert found == expected, text
        seen |= set(expected)
    assert UNK in seen
    assert len(seen) > len(words) - 4  # every word of the vocabulary was read


def test_what_is_no_text_is_refused():
    words = Vocabulary(["a"])
    for text in (b"\xff\xfe", b"a \xc3", "\ud800".encode("utf-8", "surrogatepass")):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"[Ii]nvalid"):
            graph_text.token_ids(tf.constant([text]), Tokens("source", len(words)), words.tokens)


def test_sentences_are_written_as_by_the_vocabulary():
    words = Vocabulary(["dog", "é", "$x$"])
    ids = np.random.default_rng(0).integers(0, len(words), (3, 4, 6)).astype("int32")
    found = graph_text.sentences(tf.constant(ids), words.tokens).numpy()
    assert found.shape == (3, 4)
    assert [one.decode() for one in found.ravel()] == [" ".join(words.decode(row)) for row in ids.reshape(-1, 6)]


def test_a_vocabulary_holds_what_a_text_can_spell():
    stored = ("<pad>", "<bos>", "<eos>", "<unk>", "cafe\u0301", "café", "a")  # in two forms, as old files have it
    table = graph_text.vocabulary_table(stored)
    assert table.ids(tf.constant(["café", "a", "<eos>", "", "b"])).numpy().tolist() == [4, 6, UNK, UNK, UNK]
    assert graph_text.vocabulary_table(stored[:4]).ids(tf.constant(["a"])).numpy().tolist() == [UNK]
