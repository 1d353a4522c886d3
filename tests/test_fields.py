"""Kinds of inputs: drawing, preparing and storing of each."""

import json
from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from keras_segattn.fields import (
    BOS,
    EOS,
    IMAGENET,
    KINDS,
    PAD,
    PATCH,
    UNK,
    Boxes,
    Field,
    Noise,
    OneHot,
    Picture,
    PictureSize,
    Tokens,
    Vectors,
    field_from,
)

FIELDS = [
    (IMAGENET, (2, 12, 20, 3), "uint8"),
    (Picture("grey", mean=(1.0,), std=(2.0,)), (1, 9, 5, 1), "uint8"),
    (Tokens("source", 11, unit="letter", lower=True), (4, 6), "int32"),
    (Tokens("target", 7, target=True), (2, 5), "int32"),
    (OneHot(4), (3, 4), "float32"),
    (Noise("uniform"), (2, 3, 8), "float32"),
    (Noise("normal"), (2, 8), "float32"),
    (Vectors(), (2, 4, 3), "float32"),
    (PictureSize("picture"), (2, 2), "float32"),
    (Boxes("picture"), (2, 5, 4), "float32"),
]
EACH = pytest.mark.parametrize(("field", "shape", "dtype"), FIELDS, ids=lambda value: getattr(value, "kind", None))


def test_every_kind_is_tried():
    assert {type(field) for field, _, _ in FIELDS} == set(KINDS.values())


@EACH
def test_draw_has_shape_and_dtype_and_follows_the_seed(field, shape, dtype):
    drawn = field.draw(shape, seed=3)
    assert (drawn.shape, drawn.dtype) == (shape, dtype)
    np.testing.assert_array_equal(drawn, field.draw(shape, seed=3))
    assert any((field.draw(shape, seed) != drawn).any() for seed in (4, 5))
    assert np.isfinite(ops.convert_to_numpy(field.prepare(drawn))).all()


@EACH
def test_description_is_json_and_comes_back(field, shape, dtype):
    stored = json.loads(json.dumps(field.describe()))
    assert stored["kind"] == field.kind
    assert field_from(stored) == field


def test_what_a_user_gives():
    assert [field.given for field in (IMAGENET, Tokens("a", 9), OneHot(2), Vectors(), Boxes())] == [True] * 5
    assert [field.given for field in (Tokens("a", 9, target=True), Noise(), PictureSize())] == [False] * 3


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({}, "expected a kind of input among picture, tokens, .*, received None"),
        ({"kind": "smell"}, "received 'smell'"),
        ({"kind": "noise", "loud": True}, "the facts of a noise do not fit: .*loud"),
        ({"kind": "tokens"}, "the facts of a tokens do not fit: .*vocabulary"),
        ({"kind": "noise", "distribution": "pink"}, "distribution must be one of 'normal', 'uniform', received 'pink'"),
    ],
)
def test_facts_that_do_not_fit_are_named(facts, message):
    with pytest.raises(ValueError, match=message):
        field_from(facts)


def test_the_base_draws_nothing():
    with pytest.raises(NotImplementedError):
        Field().draw((1,))


# Pictures.


def test_drawn_pictures_are_squares_of_one_colour():
    drawn = IMAGENET.draw((2, 3 * PATCH, 2 * PATCH + 1, 3))
    squares = drawn[:, :, : 2 * PATCH].reshape(2, 3, PATCH, 2, PATCH, 3)
    assert (squares == squares[:, :, :1, :, :1]).all()
    assert len(np.unique(drawn)) > 10


def test_pictures_are_normalised_in_the_order_of_the_network():
    picture = Picture("BGR", mean=(1.0, 2.0, 3.0), std=(1.0, 2.0, 4.0))
    given = np.array([[[10, 20, 31]]], "uint8")
    found = ops.convert_to_numpy(picture.prepare(given))
    np.testing.assert_array_equal(found, [[[30.0, 9.0, 1.75]]])
    assert found.dtype == "float32"
    np.testing.assert_array_equal(ops.convert_to_numpy(Picture()(given)), given)


def test_other_numbers_of_channels():
    assert IMAGENET.of_channels(3) is IMAGENET
    grey = IMAGENET.of_channels(1)
    assert (grey.channels, grey.mean, grey.std) == ("grey", (np.mean(IMAGENET.mean),), (np.mean(IMAGENET.std),))
    other = IMAGENET.of_channels(4)
    assert (other.channels, other.mean, other.std) == ("other", (0.0,) * 4, (1.0,) * 4)
    assert all((field.size, field.fit) == (IMAGENET.size, IMAGENET.fit) for field in (grey, other))
    with pytest.raises(ValueError, match=r"expected 1 channels last, received shape \(2, 2, 3\)"):
        grey(np.zeros((2, 2, 3)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": "RGBA"}, "channels must be one of 'RGB', 'BGR', 'grey', 'other', received 'RGBA'"),
        ({"fit": "squeeze"}, "fit must be one of 'stretch', 'crop', 'pad', received 'squeeze'"),
        ({"mean": (1.0, 2.0)}, r"mean and std need one value per channel, received \(1.0, 2.0\)"),
        ({"mean": (0.0,), "std": (1.0,)}, r"RGB pictures have 3 channel\(s\), received mean \(0.0,\)"),
        ({"channels": "grey"}, r"grey pictures have 1 channel\(s\)"),
        ({"std": (1.0, 0.0, 1.0)}, r"std must be positive, received \(1.0, 0.0, 1.0\)"),
    ],
)
def test_bad_pictures_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Picture(**arguments)


# Tokens.


def test_drawn_sentences_end_once_and_are_padded():
    ids = Tokens("words", 50).draw((7, 5))
    lengths = []
    for row in ids:
        end = list(row).index(EOS)
        assert (row[:end] >= UNK).all()
        assert (row[end + 1 :] == PAD).all()
        lengths.append(end + 1)
    assert sorted(set(lengths)) == [1, 2, 3, 4, 5]
    assert (lengths[0], BOS in ids) == (5, False)


def test_drawn_sentences_have_words_from_all_over_the_vocabulary():
    ids = Tokens("words", 20).draw((6, 40))
    assert set(range(UNK, 20)) <= set(ids[0]) | set(ids[1])


@pytest.mark.parametrize("seed", range(20))
def test_few_drawn_words_are_the_unknown_and_the_last_among_others(seed):
    assert {UNK, 29999} <= set(Tokens("words", 30000).draw((1, 3), seed)[0])
    assert Tokens("words", 30000).draw((1, 2), seed).tolist() == [[29999, EOS]]
    assert Tokens("words", 30000).draw((1, 1), seed).tolist() == [[EOS]]


def test_the_smallest_vocabulary_has_sentences_too():
    assert Tokens("words", EOS + 1).draw((2, 3)).max() == EOS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size must be a positive integer, received 0"),
        ({"size": 9, "unit": "syllable"}, "unit must be one of 'word', 'letter', received 'syllable'"),
    ],
)
def test_bad_tokens_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Tokens("words", **arguments)


# Numbers.


def test_noise_is_of_its_distribution():
    normal, uniform = (Noise(name).draw((50, 200)) for name in ("normal", "uniform"))
    assert abs(normal.mean()) < 0.05
    assert abs(normal.std() - 1) < 0.05
    assert np.abs(normal).max() > 3
    assert abs(uniform.mean()) < 0.05
    assert abs(uniform.std() - 3**-0.5) < 0.02
    assert np.abs(uniform).max() <= 1
    with pytest.raises(ValueError, match="distribution must be one of 'normal', 'uniform', received 'pink'"):
        Noise("pink")


def test_drawn_classes_are_ones_among_zeros():
    drawn = OneHot(3).draw((60, 3))
    assert (drawn.sum(axis=1) == 1).all()
    assert set(np.unique(drawn)) == {0, 1}
    assert (drawn.sum(axis=0) > 5).all()


def test_drawn_sizes_are_whole_pixels():
    sizes = PictureSize().draw((20, 2))
    assert (sizes == sizes.round()).all()
    assert sizes.min() >= 1


def test_fields_do_not_change():
    with pytest.raises(AttributeError):
        Noise().distribution = "uniform"
    assert replace(Noise(), distribution="uniform") == Noise("uniform")
