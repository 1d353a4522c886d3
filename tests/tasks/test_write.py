"""Interpretation of the outputs of models that write sentences."""

import numpy as np
import pytest

from keras_segattn.data import Vocabulary
from keras_segattn.facts import Facts
from keras_segattn.fields import Picture, Tokens
from keras_segattn.tasks import task_of
from keras_segattn.tasks.closeness import closeness_checks
from keras_segattn.tasks.options import checked_options
from keras_segattn.tasks.write import grid_of_places

TASK = task_of("write")
LETTERS, WORDS = Vocabulary("abcdeé"), Vocabulary(["dog", "cat", "$x$"])
SOURCE = Tokens("source", len(LETTERS), unit="letter", lower=True)
TARGET = Tokens("target", len(WORDS), target=True)
PICTURE = np.random.default_rng(0).integers(0, 256, (50, 90, 3), np.uint8)


def facts_of(vocabularies=True, **inputs):
    words = {"source": LETTERS.tokens, "target": WORDS.tokens} if vocabularies else {}
    return Facts(task="write", inputs={**inputs, "target": TARGET}, vocabularies=words)


def outputs_of(places):
    attention = np.zeros((2, 4, places), "float32")
    attention[:, :3, 0], attention[:, 0, -1] = 0.95, 0.05
    return {
        "tokens": np.array([[4, 5, 2, 2], [6, 2, 2, 2]], "int32"),
        "scores": np.array([-0.5, -1.25], "float32"),
        "lengths": np.array([3, 2], "int32"),
        "attention": attention,
    }


def written(facts, shapes, given, places, outputs=None, **options):
    chosen = checked_options("write", options)
    example = TASK.read(facts, shapes, given, chosen)
    return example, TASK.interpret(outputs or outputs_of(places), facts, example, chosen)


def test_a_text_becomes_sentences_with_a_row_of_attention_for_every_word():
    example, found = written(facts_of(source=SOURCE), {"source": (None,)}, ["Bad"], 4, best=2)
    assert example.given["source"] == ["b", "a", "d", "<eos>"]
    assert example.arrays["source"].tolist() == [*LETTERS.encode("bad"), 2]
    assert found.rows() == [("sentence", "score"), ("dog cat", "-0.500"), ("$x$", "-1.250")]
    assert found.sentences[0].words == ["dog", "cat", "<eos>"]
    assert [one.attention.shape for one in found.sentences] == [(3, 4), (2, 4)]
    assert found.notes() == ["dog: b 0.95", "cat: b 0.95", "<eos>: b 0.95"]
    assert found.to_json()["sentences"][0] == {"tokens": ["dog", "cat"], "score": -0.5}
    assert found.draw().mode == "RGB"
    assert found.warnings() == []


def test_unknown_tokens_are_told():
    _, found = written(facts_of(source=SOURCE), {"source": (None,)}, ["axé y"], 5)
    assert found.warnings() == ["unknown to the model: x y"]
    assert len(found.rows()) == 2  # headings and the best sentence only


def test_words_are_split_at_white_space_and_keep_their_case():
    words = Vocabulary(["Hund", "a"])
    facts = Facts(inputs={"source": Tokens("source", len(words))}, vocabularies={"source": words.tokens})
    example = TASK.read(facts, {"source": (None,)}, [" Hund  a A"], {})
    assert example.given["source"] == ["Hund", "a", "A", "<eos>"]
    assert example.arrays["source"].tolist() == [4, 5, 3, 2]


def test_a_fixed_length_is_padded_and_the_padding_is_not_looked_at():
    example, found = written(facts_of(source=SOURCE), {"source": (6,)}, ["bad"], 6)
    assert example.arrays["source"].tolist() == [5, 4, 7, 2, 0, 0]
    assert found.sentences[0].attention.shape == (3, 4)
    with pytest.raises(ValueError, match="at most 5 tokens, received 6"):
        written(facts_of(source=SOURCE), {"source": (6,)}, ["badbad"], 6)


def test_tokens_and_ids_may_be_given_and_ids_need_no_vocabulary():
    shapes = {"source": (None,)}
    for given in (["b", "a"], [5, 4], np.array([5, 4, 2])):
        example, _ = written(facts_of(source=SOURCE), shapes, [given], 3)
        assert example.given["source"] == ["b", "a", "<eos>"]
        assert example.arrays["source"].tolist() == [5, 4, 2]
    _, found = written(facts_of(False, source=SOURCE), shapes, [[5, 4]], 3)
    assert found.sentences[0].tokens == ("4", "5")
    with pytest.raises(ValueError, match="holds no vocabulary 'source': load it with vocabularies="):
        written(facts_of(False, source=SOURCE), shapes, ["bad"], 3)
    with pytest.raises(ValueError, match=r"ids of tokens in 0\.\.9"):
        written(facts_of(source=SOURCE), shapes, [[4, 10]], 3)
    for empty in ("", "  ", []):
        with pytest.raises(ValueError, match="expected a text"):
            written(facts_of(source=SOURCE), shapes, [empty], 3)


def test_a_model_without_attention_read_everything():
    _, found = written(facts_of(source=SOURCE), {"source": (None,)}, ["bad"], 1)
    assert found.read == ("everything",)
    assert found.draw() is not None


def test_a_picture_of_any_size_becomes_captions():
    example, found = written(facts_of(image=Picture(size=(64, 48))), {"image": (None, None, 3)}, [PICTURE], 6)
    assert example.arrays["image"].shape == (64, 48, 3)
    assert found.grid == (3, 2)
    assert found.notes() == []
    assert found.draw().width > found.draw().height


def test_a_picture_and_a_question_are_read_together():
    facts = facts_of(image=Picture(size=(64, 48)), source=SOURCE)
    shapes = {"source": (None,), "image": (64, 48, 3)}
    example, found = written(facts, shapes, [PICTURE, "bad"], 6)
    assert set(example.arrays) == {"image", "source"}
    assert found.grid == (3, 2)  # the text has four tokens, so the six places are in the picture
    assert found.draw() is not None
    assert written(facts, shapes, [PICTURE, "bad"], 4)[1].read == ("b", "a", "d", "<eos>")
    with pytest.raises(ValueError, match=r"takes 2 inputs, image \(picture\), source \(tokens\); received 1"):
        written(facts, shapes, [PICTURE], 6)


def test_grids_have_the_squarest_cells():
    assert grid_of_places(6, (64, 48)) == (3, 2)
    assert grid_of_places(48, (100, 300)) == (4, 12)


def test_wrong_outputs_are_named():
    facts, shapes = facts_of(source=SOURCE), {"source": (None,)}
    for score in (np.nan, -1e9):
        with pytest.raises(ValueError, match="it found no sentence"):
            written(facts, shapes, ["bad"], 4, outputs_of(4) | {"scores": np.array([score, score])})
    with pytest.raises(ValueError, match="must give tokens, scores, attention, lengths; this one gives logits"):
        written(facts, shapes, ["bad"], 4, {"logits": np.zeros(3)})


def test_sentences_that_rounding_loses_are_counted_and_the_others_compared():
    found = {"decode_beam": {name: array[None, None] for name, array in outputs_of(4).items()}}
    other = {"decode_beam": {name: array[:, :, ::-1].copy() for name, array in found["decode_beam"].items()}}
    assert TASK.compare(other, found, "float32").relative > 0.5
    swapped = TASK.compare(other, found, "float16")
    assert swapped.relative == 0
    assert [check.passed for check in closeness_checks(swapped, "to Keras", "float16")] == [True, True, True]
    other["decode_beam"]["scores"][0, 0, 0] += 0.3
    assert TASK.compare(other, found, "float16").relative == pytest.approx(0.3 / 0.75)
    other["decode_beam"]["tokens"][0, 0, 0, 0] = 4
    lost = TASK.compare(other, found, "float16")
    assert lost.relative == 0
    assert [str(check) for check in lost.further] == [
        "Check(name='sentences', passed=False, measured='1 of 2 written again', expected='>= 90%')"
    ]
    assert closeness_checks(lost, "to Keras", "float16")[-1].name == "sentences to Keras"


def test_the_log_probability_of_a_sentence_is_compared_in_the_unit_of_its_distance_from_0():
    wanted = {"decode_greedy": {"log_probabilities": np.array([[-40.0], [-40.1]], "float32")}}
    got = {"decode_greedy": {"log_probabilities": np.array([[-40.0], [-40.08]], "float32")}}
    assert TASK.compare(got, wanted, "dynamic").relative == pytest.approx(0.02 / 40.1, rel=1e-3)
