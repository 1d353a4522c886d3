"""Sequence models exported for servers: outputs for C clients, and sentences from texts and pictures."""

import dataclasses
import json
import shutil
from importlib.metadata import version

import keras
import numpy as np
import pytest
from PIL import Image
from sequence_exports import LETTERS, RULES, WORDS

from keras_segattn import export, facts_of, load, preprocessing_of, read_facts
from keras_segattn.attention import RNNSearch, captioner, translator
from keras_segattn.data import Vocabulary
from keras_segattn.export.runtimes.libtensorflow import Call, run_saved_model
from keras_segattn.export.serving.signatures import png_files
from keras_segattn.facts import FactsError
from keras_segattn.fields import Tokens
from keras_segattn.tasks.write import grid_of_places

# One worker runs these tests and those of the commands that read the same exported models.
pytestmark = pytest.mark.xdist_group("sequences")
SIGNATURES = {"serving_default", "decode_beam", "decode_greedy", "encode", "step", "score"}
# A model whose only input is a picture also takes files, and one that reads sentences takes texts.
SIGNATURES_OF = {"speller": SIGNATURES | {"text"}, "describer": SIGNATURES | {"encoded"}}
# Every run exports the model that reads sentences.
EVERY = ["speller", pytest.param("describer", marks=pytest.mark.thorough)]
# Letters and marks in both Unicode forms, unknown ones, and spellings of control tokens.
TEXTS = ["Bad", "  b\u00a0a\td ", "e\u0301de\u0301", "ÉDÉ", "<eos> a", "ab<pad>", "हिन्दी", "a\u0323\u0302b", "?!"]


@pytest.mark.parametrize("name", EVERY)
def test_every_signature_is_measured_in_the_c_api(written_models, name):
    _, report = written_models[name]
    assert report.passed
    assert set(report.signatures) == SIGNATURES_OF[name]
    assert report.path == written_models.folder / name / "1"
    ran = {result.runtime for result in report.runtimes}
    assert {f"libtensorflow {version('tensorflow')} {signature}" for signature in SIGNATURES_OF[name]} <= ran
    assert (written_models.folder / "models.config").read_text().count(f'name: "{name}"') == 1


@pytest.mark.parametrize("name", EVERY)
def test_the_server_is_told_that_sentences_of_several_lengths_cannot_share_a_batch(written_models, name):
    _, report = written_models[name]  # has signatures for targets of any length
    assert not (report.path / "batching_params.pbtxt").exists()
    text = (written_models.folder / "batching_parameters.txt").read_text()
    assert "pictures" not in text
    assert "lengths" in text
    assert "Never set pad_variable_length_inputs" in text


@pytest.mark.parametrize("name", EVERY)
def test_facts_hold_vocabularies_and_the_rules_of_the_search(written_models, name):
    model, report = written_models[name]
    facts = read_facts(report.path)
    known = {"source": LETTERS, "target": WORDS}
    assert facts.vocabularies == {key: known[key].tokens for key in known if key in model.input}
    assert facts.options == {"activation": None} | dataclasses.asdict(RULES) | {"forbidden": list(RULES.forbidden)}
    assert facts.inputs["target"] == Tokens("target", len(WORDS), unit="word", lower=True, target=True)
    if name == "speller":
        assert facts.inputs["source"] == Tokens("source", len(LETTERS), unit="letter", lower=True)
    else:
        assert facts.inputs["image"] == preprocessing_of(model)
    plain = facts_of(model, vocabularies=facts.vocabularies, options=RULES)
    assert facts == dataclasses.replace(plain, files=facts.files)
    assert (facts.files is None) is (name == "speller")
    assert json.loads((report.path / "assets.extra" / "facts.json").read_text())["task"] == "write"


def test_a_c_client_gets_keras_s_tokens_for_any_batch(written_models):
    model, report = written_models["speller"]
    random = np.random.default_rng(3)
    sources = [random.integers(4, len(LETTERS), shape).astype("int32") for shape in ((1, 3), (37, 6))]
    for source in sources:
        source[:, -1] = 2
    _, answers = run_saved_model(report.path, [Call("decode_beam", {"source": source}) for source in sources])
    search = translator(model, RULES)
    for source, answer in zip(sources, answers, strict=True):
        expected = search(source)
        np.testing.assert_array_equal(answer.outputs["tokens"], expected["tokens"])
        np.testing.assert_allclose(answer.outputs["scores"], expected["scores"], atol=1e-5)


def test_a_text_becomes_translations_with_a_row_of_attention_for_every_word(written_models):
    model, report = written_models["speller"]
    speller = load(report.path)
    assert speller.predict("Éd a").read == ("é", "d", "a", "<eos>")
    found = speller.predict("Bad").sentences
    expected = translator(model, RULES)(np.array([[*LETTERS.encode("bad"), 2]]))
    assert [list(one.tokens) for one in found] == [WORDS.decode(ids) for ids in np.asarray(expected["tokens"])[0]]
    np.testing.assert_allclose([one.score for one in found], expected["scores"][0], atol=1e-5)
    for one in found:
        assert one.words == [*one.tokens, "<eos>"][:5]
        assert one.attention.shape == (len(one.words), 4)
        np.testing.assert_allclose(one.attention.sum(axis=1), 1, atol=1e-5)


def test_a_server_takes_and_gives_texts(written_models):
    _, report = written_models["speller"]
    speller = load(report.path)
    files = [np.array([text.encode() for text in texts], dtype=object) for texts in (TEXTS, TEXTS[:1])]
    _, (answer, alone) = run_saved_model(report.path, [Call("text", {"source": one}) for one in files])
    assert answer.outputs["sentences"].shape == (len(TEXTS), RULES.beams)
    for row, text in enumerate(TEXTS):
        expected = speller.predict(text).sentences
        assert [one.decode() for one in answer.outputs["sentences"][row]] == [" ".join(one.tokens) for one in expected]
        np.testing.assert_allclose(answer.outputs["scores"][row], [one.score for one in expected], atol=1e-5)
    np.testing.assert_array_equal(alone.outputs["sentences"], answer.outputs["sentences"][:1])
    assert len(set(answer.outputs["scores"][:, 0].round(4).tolist())) > 4  # it reads what it is given


@pytest.mark.thorough
def test_captions_of_files_are_texts(written_models):
    _, report = written_models["describer"]
    picture = np.random.default_rng(0).integers(0, 256, (64, 48, 3)).astype("uint8")
    _, (answer,) = run_saved_model(report.path, [Call("encoded", {"image_bytes": png_files(picture[None])})])
    expected = [" ".join(one.tokens) for one in load(report.path).predict(picture).sentences]
    assert [one.decode() for one in answer.outputs["sentences"][0]] == expected


@pytest.mark.thorough
def test_a_picture_of_any_size_becomes_captions(written_models):
    model, report = written_models["describer"]
    describer = load(report.path)
    picture = np.random.default_rng(0).integers(0, 256, (50, 90, 3)).astype("uint8")
    found = describer.predict(picture)
    scaled = np.asarray(Image.fromarray(picture).resize((48, 64), Image.Resampling.BILINEAR))[None]
    expected = captioner(model, RULES)(preprocessing_of(model)(scaled))
    tokens = [WORDS.decode(ids) for ids in np.asarray(expected["tokens"])[0]]
    assert [list(one.tokens) for one in found.sentences] == tokens
    assert found.grid == (3, 2)
    assert grid_of_places(48, (100, 300)) == (4, 12)
    with pytest.raises((ValueError, OSError)):  # the model reads no text
        describer.predict("bad")


def test_words_are_split_at_white_space_and_keep_their_case(written_models):
    _, report = written_models["speller"]
    words = Vocabulary(["Hund", "a", "b", "c", "d", "e"])
    speller = load(report.path, vocabularies={"source": words, "target": WORDS})
    assert speller.predict(" Hund  a x").read == ("Hund", "a", "x", "<eos>")
    for text in ("", "  "):
        with pytest.raises(ValueError, match="expected a text"):
            speller.predict(text)
    with pytest.raises(ValueError, match=r"expected ids of tokens|expected a text"):  # the model takes no pictures
        speller.predict(np.zeros((4, 4, 3), "uint8"))


def test_what_cannot_be_exported_leaves_nothing_behind(tmp_path):
    model = RNNSearch(9, 8, units=4, embedding=3, maxout=2, alignment=4)
    words = {"source": Vocabulary("abcde"), "target": Vocabulary("abcd")}
    with pytest.raises(ValueError, match=r"sizes {'source': 9, 'target': 8}, received {'target': 8}"):
        facts_of(model, vocabularies={"target": words["target"]})
    with pytest.raises(ValueError, match=r"received {'source': 8, 'target': 8}"):
        facts_of(model, vocabularies=words | {"source": words["target"]})
    facts = facts_of(model, vocabularies=words)
    with pytest.raises(ValueError, match="name must be letters"):
        export.saved_model(model, tmp_path / "a", facts=facts, name="a b")
    with pytest.raises(ValueError, match=r"sizes\['source'\] must fit"):
        export.saved_model(model, tmp_path / "a", facts=facts, sizes={"source": (0,)})
    model.get_layer("logits").bias.assign(np.full(8, np.nan))
    with pytest.raises(export.ExportError, match="NaN"):
        export.saved_model(model, tmp_path / "a", facts=facts)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def edited(change):
    """Return a damage to the vocabularies of a SavedModel."""

    def damage(folder):
        file = folder / "assets.extra" / "facts.json"
        facts = json.loads(file.read_text())
        change(facts["vocabularies"], facts)
        file.write_text(json.dumps(facts))

    return damage


def swap(words):
    words[4], words[5] = words[5], words[4]


def of_another_model(words, facts):
    """Change the facts consistently: only the weights tell that they are of another model."""
    words["source"] += [f"word{number}" for number in range(90)]
    facts["inputs"]["source"]["size"] = len(words["source"])
    del facts["digests"]


def consistent(change):
    """Return a change without the checksums, as in facts of earlier versions."""

    def changed(words, facts):
        change(words)
        del facts["digests"]

    return changed


def cut_variables(folder):
    next(folder.rglob("variables.data*")).write_bytes(b"x" * 1000)


def lost_variables(folder):
    shutil.rmtree(folder / "variables")


DAMAGES = {
    "shorter": (edited(lambda words, _: words["target"].pop()), "vocabular.* 'target' "),
    "shorter, without checksum": (edited(consistent(lambda words: words["target"].pop())), "vocabular.*'target'"),
    "longer": (edited(lambda words, _: words["source"].append("β")), "vocabular.* 'source' "),
    "swapped": (edited(lambda words, _: swap(words["target"])), "'target' is not the one that was stored"),
    "duplicated": (edited(consistent(lambda words: words["target"].__setitem__(5, "dog"))), "'dog' more than once"),
    "of another model": (edited(of_another_model), "no weight of the model has that size"),
    "cut variables": (cut_variables, "readable|C API"),
    "lost variables": (lost_variables, "the model was changed"),
}


QUICK_DAMAGES = {"swapped", "cut variables"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(*damage, id=name, marks=[] if name in QUICK_DAMAGES else [pytest.mark.thorough])
        for name, damage in DAMAGES.items()
    ],
)
def test_parts_that_do_not_fit_are_refused_when_opened(written_models, segattn, tmp_path, damage, message):
    folder = tmp_path / "1"
    shutil.copytree(written_models["speller"][1].path, folder)
    damage(folder)
    with pytest.raises(ValueError, match=message):
        load(folder)
    with pytest.raises(export.ExportError, match=message):
        export.verify(folder).raise_if_failed()
    done = segattn("predict", folder, "bad", code=1)
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    assert done.out == ""


def test_a_vocabulary_without_checksum_is_compared_with_the_weights(written_models, tmp_path):
    """Only `load` is tried here: the verification would first run every signature."""
    shutil.copytree(written_models["speller"][1].path, tmp_path / "1")
    damage, message = DAMAGES["shorter, without checksum"]
    damage(tmp_path / "1")
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "1")


@pytest.mark.thorough
def test_other_saved_models_are_refused(written_models, tmp_path):
    folder = tmp_path / "1"
    shutil.copytree(written_models["speller"][1].path, folder)
    (folder / "assets.extra" / "facts.json").unlink()
    with pytest.raises(FactsError, match=r"holds no facts\.json"):
        read_facts(folder)
    with pytest.raises(ValueError, match="holds no facts"):
        load(folder)
    with pytest.raises(ValueError, match="holds no vocabulary 'source'"):
        load(folder, card="RNNSearch").predict("bad")
    archive = keras.export.ExportArchive()
    archive.add_endpoint(
        "serve", lambda x: x + 1.0, input_signature=[keras.InputSpec(shape=(None, 2), dtype="float32")]
    )
    archive.write_out(str(tmp_path / "other"), verbose=False)
    with pytest.raises(ValueError, match="must give tokens, scores"):
        load(tmp_path / "other", task="write").predict(np.zeros(2))
