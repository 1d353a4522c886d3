"""`segattn export` and `segattn verify`."""

import json
import zipfile

import pytest
from harness import randomise
from sequence_exports import LETTERS, RULES, WORDS

import keras_segattn as ks
from keras_segattn import export
from keras_segattn.application import save


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-o", "models", "--quantize", "int8"], 1, "are for .tflite files"),
        (["-o", "a.tflite", "--calibration", "nowhere"], 2, "does not exist"),
        (["-o", "a.tflite", "--name", "lakes"], 1, "--name is of a SavedModel"),
        (["-o", "a.tflite"], 1, "give sizes={'image': (…)}"),
        (["-o", "a.tflite", "--size", "question=3"], 1, "sizes are of the inputs ['image']"),
        (["-o", "a.tflite", "--size", "32x32", "--labels", "sea,land"], 1, "received ('sea', 'land')"),
        (["-o", "a.tflite", "--weights", "imagenet"], 1, "weights and arguments are for builders"),
    ],
)
def test_contradicting_options(segattn, trained, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    assert message in segattn("export", trained / "model.keras", *arguments, code=code).err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_model_is_named(segattn, trained, tmp_path):
    content = bytearray((trained / "model.keras").read_bytes())
    with zipfile.ZipFile(trained / "model.keras") as archive:
        start = archive.getinfo("model.weights.h5").header_offset
    content[start + 5000] ^= 255
    (tmp_path / "bad.keras").write_bytes(content)
    done = segattn("export", tmp_path / "bad.keras", "-o", tmp_path / "a.tflite", "--size", "32x32", code=1)
    assert "bad.keras is not a readable Keras model" in done.err


@pytest.mark.thorough
def test_somebody_s_weights_become_a_phone_file_that_is_verified_and_holds_the_facts(
    segattn, objects, trained, segmenter_options, tmp_path
):
    phone = tmp_path / "model.tflite"
    model = ["fcn8s", "--weights", trained / "model.safetensors", *segmenter_options, "--labels", "sea,land,lake"]
    calibration = ["--calibration", trained / "images"]
    segattn("export", *model, "-o", phone, "--size", "32x48", "--quantize", "int8", *calibration)
    facts = ks.read_facts(phone)
    assert (facts.labels, facts.quantization) == (("sea", "land", "lake"), "int8")
    (report,) = objects("verify", phone)
    assert report["passed"]
    assert report["flex_operators"] == []
    phone.write_bytes(phone.read_bytes()[:1000])
    assert "Traceback" not in segattn("verify", phone, code=1).err


def test_the_name_and_size_of_a_server_s_model_reach_the_export(segattn, trained, tmp_path, monkeypatch):
    given = {}

    def refuse(_, folder, **arguments):
        given[folder] = arguments
        raise export.ExportError("seen")

    monkeypatch.setattr(export, "saved_model", refuse)
    options = ["-o", tmp_path / "models", "--name", "lakes", "--size", "32x48"]
    assert segattn("export", trained / "model.keras", *options, code=1).err == "error: seen\n"
    found = given[tmp_path / "models"]
    assert (found["name"], found["sizes"]) == ("lakes", {"image": (32, 48)})
    assert found["facts"].labels == ("sea", "land", "lake")


@pytest.mark.thorough
def test_a_server_s_folder_is_named_and_numbered(segattn, trained, tmp_path):
    segattn("export", trained / "model.keras", "-o", tmp_path / "models", "--name", "lakes", "--size", "32x48")
    assert (tmp_path / "models" / "lakes" / "1" / "assets.extra" / "facts.json").is_file()
    assert ks.read_facts(tmp_path / "models" / "lakes").labels == ("sea", "land", "lake")


@pytest.fixture
def translation(tmp_path):
    """Make a file of a small translator; return it with options that name its vocabularies and the search's rules."""
    model = ks.RNNSearch(len(LETTERS), len(WORDS), units=6, embedding=5, maxout=4, alignment=7)
    randomise(model)  # initial weights make all sentences equally likely, so that rounding would decide
    LETTERS.save(tmp_path / "letters.txt")
    WORDS.save(tmp_path / "words.txt")
    save(model, tmp_path / "speller.keras")
    words = ("--vocabulary", f"source={tmp_path / 'letters.txt'}", "--vocabulary", f"target={tmp_path / 'words.txt'}")
    rules = ("--option", f"beams={RULES.beams}", "--option", f"length={RULES.length}")
    return (tmp_path / "speller.keras", *words, *rules)


def assert_vocabularies_and_rules(facts):
    assert facts.options["beams"] == RULES.beams
    assert facts.options["length"] == RULES.length
    assert facts.vocabularies == {"source": LETTERS.tokens, "target": WORDS.tokens}


def test_vocabularies_and_rules_reach_the_export(segattn, translation, tmp_path, monkeypatch):
    given = {}

    def refuse(_, path, **arguments):
        given[path] = arguments["facts"]
        raise export.ExportError("seen")

    monkeypatch.setattr(export, "tflite", refuse)
    phone = tmp_path / "speller.tflite"
    assert segattn("export", *translation, "-o", phone, code=1).err == "error: seen\n"
    assert_vocabularies_and_rules(given[phone])


@pytest.mark.thorough
def test_a_translator_is_exported_with_its_vocabularies_and_rules(segattn, objects, translation, tmp_path):
    phone = tmp_path / "speller.tflite"
    segattn("export", *translation, "-o", phone)
    assert_vocabularies_and_rules(ks.read_facts(phone))
    (found,) = objects("predict", phone, "bad", "--best", 3)
    assert len(found["sentences"]) == 3
    assert json.dumps(found)


def test_weights_that_do_not_fit_are_cut_short(segattn, detector, tmp_path):
    file = detector / "model.safetensors"
    done = segattn("export", "resnet18", "--weights", file, "-o", tmp_path / "x.tflite", code=1)
    assert "more" in done.err
    assert len(done.err) < 3000
    error = segattn("export", "mask_rcnn", "--weights", file, "-o", "x", "--argument=3", code=1).err
    assert "expected NAME=VALUE, received '3'" in error
