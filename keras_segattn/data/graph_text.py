"""Texts in a TensorFlow graph: they are read and written as `data.text` and `data.Vocabulary` do it in Python.

TensorFlow has no Unicode normal forms, and its lower case depends on the server's language. So a text becomes code
points here, and the tables of Python's own Unicode version are constants of the graph. What the words mean follows
from constants, too, since a hash table would be a resource that every loader of the graph has to initialise.
"""

import functools
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_segattn.data.text import normalized
from keras_segattn.data.vocabulary import Vocabulary
from keras_segattn.fields import BOS, EOS, PAD, UNK, Tokens

SPACE, END = ord(" "), ord("\n")
SIGMA, FINAL_SIGMA = "Σ", "ς"
# Code points have 21 bits, so that two of them make one integer.
BITS = 21
# Mark of a code point that became part of the one before it.
GONE = -1
# Class of a first code point that nothing combines with.
ALONE = 256


class Table(NamedTuple):
    """A map from sorted keys `(n,)` to sequences: `values[starts[i]:starts[i] + lengths[i]]` belongs to `keys[i]`."""

    keys: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    values: np.ndarray


class Tables(NamedTuple):
    """What Unicode says of code points.

    Attributes:
        white: code points at which `str.split` splits.
        decompositions: code point → its full canonical decomposition.
        compositions: first · 2²¹ + second → the one code point that both compose to.
        classes: code point → canonical combining class, if it is not 0.
        changing: code points that may change in form C, by themselves or with the one before.
        lower: code point → its lower case.
        cased, ignorable: code points that decide whether a sigma ends a word.
    """

    white: np.ndarray
    decompositions: Table
    compositions: Table
    classes: Table
    changing: np.ndarray
    lower: Table
    cased: np.ndarray
    ignorable: np.ndarray


@functools.cache
def unicode_tables() -> Tables:
    """Collect the tables from Python's `unicodedata` and `str`."""
    characters = [chr(point) for point in range(sys.maxunicode + 1)]
    decomposed = [one for one in characters if unicodedata.decomposition(one)[:1] not in ("", "<")]
    changed = {ord(one) for one in decomposed if not unicodedata.is_normalized("NFC", one)}
    pairs = {}
    for character in decomposed:
        first, *second = (int(part, 16) for part in unicodedata.decomposition(character).split())
        if second and ord(character) not in changed:
            pairs[first << BITS | second[0]] = [ord(character)]
    for point in range(0xAC00, 0xD7A4):  # syllables of Korean, which are composed by a rule
        parts = unicodedata.normalize("NFD", chr(point))
        pairs[ord(unicodedata.normalize("NFC", parts[:-1])) << BITS | ord(parts[-1])] = [point]
    seconds = {pair & ((1 << BITS) - 1) for pair in pairs}
    cased = {ord(one) for one in characters if (one + SIGMA).lower().endswith(FINAL_SIGMA)}
    beside_cased = {ord(one) for one in characters if ("A" + one + SIGMA).lower().endswith(FINAL_SIGMA)}
    return Tables(
        _sorted(ord(one) for one in characters if one.isspace()),
        _table({ord(one): list(map(ord, unicodedata.normalize("NFD", one))) for one in decomposed}),
        _table(pairs, "int64"),
        _table({ord(one): [unicodedata.combining(one)] for one in characters if unicodedata.combining(one)}),
        _sorted(changed | seconds),
        _table({ord(one): list(map(ord, one.lower())) for one in characters if one.lower() != one}),
        _sorted(cased),
        _sorted(beside_cased - cased),
    )


def token_ids(texts: Any, kind: Tokens, words: Sequence[str]) -> Any:
    """Read texts as ids, as `load(…).predict` does.

    Args:
        texts: string tensor `(batch,)` in UTF-8; to compute the result of any other text is an error.
        kind: kind of the input, which says how a text is split and whether it becomes lower case.
        words: tokens of the vocabulary, special ones first.

    Returns:
        int32 `RaggedTensor` `(batch, None)`, without the end of the sentence.
    """
    tables = unicode_tables()
    known = vocabulary_table(words)
    points = tf.strings.unicode_decode(texts, "UTF-8", errors="strict")
    points = tf.ragged.map_flat_values(lambda x: tf.where(contains(tables.white, x), SPACE, x), points)
    count = tf.shape(texts, out_type="int64")[0]
    # All texts in a row, each followed by the only line feed. Traced apart, the large tables are stored once.
    normal = tf.function(nfc, input_signature=[tf.TensorSpec([None], "int32")], autograph=False)
    line = normal(tf.concat([points, tf.fill([count, 1], END)], axis=1).values)
    if kind.lower:
        line = normal(lower(line))
    if kind.unit == "word":
        lines = tf.strings.split(tf.strings.unicode_encode(line, "UTF-8"), "\n")[:-1]
        tokens = tf.strings.split(lines)
    else:
        line = tf.boolean_mask(line, line != SPACE)
        rows = tf.cumsum(tf.cast(line == END, "int64"), exclusive=True)
        letters = tf.strings.unicode_encode(line[:, None], "UTF-8")
        tokens = tf.RaggedTensor.from_value_rowids(
            tf.boolean_mask(letters, line != END), tf.boolean_mask(rows, line != END), nrows=count
        )
    return tf.ragged.map_flat_values(known.ids, tokens)


def sentences(ids: Any, words: Sequence[str]) -> Any:
    """Write tokens as texts, as `Vocabulary.decode` does, with a space between tokens.

    Args:
        ids: int32 `(…, T)`.
        words: tokens of the vocabulary, special ones first.

    Returns:
        String tensor `(…)`.
    """
    ended = tf.cumsum(tf.cast(ids == EOS, "int32"), axis=-1) > 0
    kept = ~ended & (ids != PAD) & (ids != BOS)
    spaced = tf.constant([f"{word} " for word in words])
    return tf.strings.regex_replace(
        tf.strings.reduce_join(tf.where(kept, tf.gather(spaced, ids), ""), axis=-1), " $", ""
    )


class VocabularyTable(NamedTuple):
    """A vocabulary as constants: fingerprints of its tokens in order, the tokens, and their ids."""

    fingerprints: np.ndarray
    tokens: np.ndarray
    numbers: np.ndarray

    def ids(self, tokens: Any) -> Any:
        """Return the ids int32 `(n,)` of tokens in form C, strings `(n,)`; 3 for unknown ones."""
        place = place_of(self.fingerprints, fingerprints(tokens))
        found = tf.equal(tf.gather(self.tokens, place), tokens)
        return tf.where(found, tf.gather(self.numbers, place), UNK)


def vocabulary_table(words: Sequence[str]) -> VocabularyTable:
    """Return a vocabulary as constants. Only the tokens that a text can hold are in it, without the special ones.

    Raises:
        ValueError: if two tokens have the same fingerprint of 63 bits.
    """
    own = Vocabulary(words[UNK + 1 :])
    numbers = {normalized(token): own.encode([token])[0] for token in words[UNK + 1 :]}
    numbers[""] = UNK  # no token is empty, but a table must not be
    tokens = np.array([token.encode() for token in numbers], dtype=object)
    with tf.init_scope():
        prints = fingerprints(tf.constant(tokens)).numpy()
    if len(set(prints.tolist())) < len(prints):
        raise ValueError("two tokens of the vocabulary have one fingerprint: leave out one of them")
    order = np.argsort(prints)
    return VocabularyTable(prints[order], tokens[order], np.array([*numbers.values()], "int32")[order])


def fingerprints(tokens: Any) -> Any:
    """Return a number of 63 bits for each string."""
    return tf.strings.to_hash_bucket_fast(tokens, np.iinfo("int64").max)


def nfc(points: Any) -> Any:
    """Convert code points int32 `(n,)`, the last of which combines with nothing, to Unicode's normal form C."""
    tables = unicode_tables()
    classes = classes_of(points)
    disordered = (classes[1:] > 0) & (classes[:-1] > classes[1:])
    changes = tf.reduce_any(contains(tables.changing, points)) | tf.reduce_any(disordered)
    # The loop of the composition takes one step per code point, and most texts are in form C already.
    return tf.cond(changes, lambda: composed(ordered(substituted(tables.decompositions, points))), lambda: points)


def ordered(points: Any) -> Any:
    """Sort the combining marks behind each code point by their classes (Unicode's canonical ordering)."""
    classes = tf.cast(classes_of(points), "int64")
    runs = tf.cumsum(tf.cast(classes == 0, "int64"))
    return tf.gather(points, tf.argsort(runs * ALONE + classes, stable=True))


def composed(points: Any) -> Any:
    """Compose decomposed code points in canonical order (Unicode's canonical composition)."""
    keys, _, _, values = unicode_tables().compositions
    classes = classes_of(points)
    count = tf.size(points)

    def body(i: Any, place: Any, starter: Any, last: Any, written: Any) -> tuple[Any, ...]:
        point, own = points[i], classes[i]
        pair = tf.bitwise.left_shift(tf.cast(starter, "int64"), tf.constant(BITS, "int64")) + tf.cast(point, "int64")
        found = place_of(keys, pair[None])[0]
        joins = tf.equal(tf.gather(keys, found), pair) & ((last < own) | (last == 0))
        begins = ~joins & (own == 0)
        # Every place is written once: a starter when it can no longer change, all else at once.
        value = tf.where(joins, GONE, tf.where(begins, starter, point))
        written = written.write(tf.where(begins, place, i), value)
        starter = tf.where(joins, tf.gather(values, found), tf.where(begins, point, starter))
        return i + 1, tf.where(begins, i, place), starter, tf.where(joins, last, own), written

    written = tf.TensorArray("int32", size=count, element_shape=())
    first = tf.where(classes[0] > 0, ALONE, 0)
    start = (1, 0, points[0], first, written)
    _, place, starter, _, written = tf.while_loop(lambda i, *_: i < count, body, start)
    done = written.write(place, starter).stack()
    return tf.boolean_mask(done, done != GONE)


def lower(points: Any) -> Any:
    """Convert code points int32 `(n,)` to lower case, as `str.lower` does."""
    tables = unicode_tables()
    # A sigma is a final one if the next letter before it is cased and the next one behind it is not.
    solid = tf.where(~contains(tables.ignorable, points))[:, 0]
    cased = tf.pad(contains(tables.cased, tf.gather(points, solid)), [[1, 1]])
    place = tf.range(tf.size(points, out_type="int64"))
    before, behind = (tf.searchsorted(solid, place, side) + shift for side, shift in (("left", 0), ("right", 1)))
    final = (points == ord(SIGMA)) & tf.gather(cased, before) & ~tf.gather(cased, behind)
    return substituted(tables.lower, tf.where(final, ord(FINAL_SIGMA), points))


def substituted(table: Table, points: Any) -> Any:
    """Replace every code point that is a key of the table by the sequence of that key."""
    place = place_of(table.keys, points)
    found = tf.equal(tf.gather(table.keys, place), points)
    lengths = tf.where(found, tf.gather(table.lengths, place), 1)
    rows = tf.repeat(tf.range(tf.size(points)), lengths)
    within = tf.range(tf.size(rows)) - tf.gather(tf.cumsum(lengths, exclusive=True), rows)
    source = tf.where(tf.gather(found, rows), tf.gather(table.starts, tf.gather(place, rows)) + within, 0)
    return tf.where(tf.gather(found, rows), tf.gather(table.values, source), tf.gather(points, rows))


def classes_of(points: Any) -> Any:
    """Return the canonical combining classes int32 of code points."""
    table = unicode_tables().classes
    place = place_of(table.keys, points)
    return tf.where(tf.equal(tf.gather(table.keys, place), points), tf.gather(table.values, place), 0)


def contains(keys: np.ndarray, values: Any) -> Any:
    """Return whether each of the values `(n,)` is one of the sorted keys."""
    return tf.equal(tf.gather(keys, place_of(keys, values)), values)


def place_of(keys: np.ndarray, values: Any) -> Any:
    """Return the index int32 of each value `(n,)` among sorted keys, or of any other key if it is none of them."""
    return tf.minimum(tf.searchsorted(keys, values), len(keys) - 1)


def _sorted(points: Any) -> np.ndarray:
    return np.array(sorted(points), "int32")


def _table(entries: Mapping[int, Sequence[int]], dtype: str = "int32") -> Table:
    ordered_ = sorted(entries.items())
    lengths = np.array([len(values) for _, values in ordered_], "int32")
    starts = np.cumsum(lengths, dtype="int32") - lengths
    flat = [value for _, values in ordered_ for value in values]
    return Table(np.array([key for key, _ in ordered_], dtype), starts, lengths, np.array(flat, "int32"))
