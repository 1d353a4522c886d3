"""Facts about live models, and facts that are stored with a model."""

import json
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest
from harness import without_weights
from keras import layers

import keras_segattn as ks
from keras_segattn import facts_of, get_model, model_card, preprocessing_of, read_facts
from keras_segattn.data import Vocabulary
from keras_segattn.decoding import BeamRules
from keras_segattn.facts import Facts, FactsError, endpoints_of, holds_facts, write_facts
from keras_segattn.fields import IMAGENET, Noise, Picture, PictureSize, Tokens, Vectors
from keras_segattn.inputs import stamped

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
PICTURE = Picture("BGR", mean=(1.0, 2.0, 3.0))
FULL = Facts(
    card="FCN8s",
    task="segment",
    inputs={"image": PICTURE, "source": Tokens("source", 6), "z": Noise()},
    labels=("sea", "Straße"),
    vocabularies={"source": (*SPECIAL, "a", "Übung")},
    options={"activation": None, "beams": 5, "forbidden": [3]},
    training="of a few pictures",
    licence="MIT",
    version="1.0",
    quantization="int8",
)


def tiny(name, **changes):
    with without_weights():
        return get_model(name, **{**model_card(name).tiny, **changes})


def foreign(classes=3, activation="softmax"):
    image = keras.Input((4, 4, 3), name="image")
    return keras.Model(image, layers.Dense(classes, activation)(layers.Flatten()(image)), name="foreign")


def test_facts_are_the_same_after_json():
    assert Facts.from_json(FULL.to_json()) == FULL
    assert Facts.from_json(FULL.to_json().encode()) == FULL
    assert Facts.from_json(Facts().to_json()) == Facts()
    assert "Straße" in FULL.to_json()


def test_what_a_user_gives():
    assert list(FULL.given) == ["image", "source"]


@pytest.mark.parametrize("damage", ["", "[]", "null", "{", b"\xff", "{}", '{"format": 1}'])
def test_damaged_facts_are_named(damage):
    with pytest.raises(FactsError, match=r"the facts of a model are damaged|expected facts of format 1, found None"):
        Facts.from_json(damage)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "expected facts of format 1, found 2; a newer keras_segattn wrote them"),
        ({"colour": "red"}, "damaged.*colour"),
        ({"labels": 5}, "damaged"),
        ({"inputs": ["image"]}, "damaged"),
        ({"inputs": {"image": {"kind": "smell"}}}, "damaged.*received 'smell'"),
        ({"inputs": {"image": {"kind": "picture", "std": [0, 0, 0]}}}, "damaged.*std must be positive"),
        ({"vocabularies": None}, "damaged"),
        ({"vocabularies": {"source": "abc"}, "digests": {}}, "damaged.*source must be a list of texts, received 'abc'"),
        ({"labels": [1, 2]}, "damaged.*labels must be a list of texts"),
        ({"options": [1]}, "damaged"),
        (
            {"inputs": {"source": {"kind": "tokens", "vocabulary": "source", "size": 9, "lower": "no"}}},
            "damaged.*lower",
        ),
    ],
)
def test_facts_with_a_damaged_entry_are_refused(changes, message):
    with pytest.raises(FactsError, match=message):
        Facts.from_json(json.dumps(json.loads(FULL.to_json()) | changes))


# Stored.


def test_facts_in_a_keras_file(tmp_path):
    path, model = tmp_path / "model.keras", foreign()
    model.save(path)
    write_facts(path, FULL)
    assert read_facts(path) == read_facts(str(path)) == FULL
    again = keras.models.load_model(path)
    x = np.ones((1, 4, 4, 3), "float32")
    np.testing.assert_array_equal(again.predict_on_batch(x), model.predict_on_batch(x))


def test_facts_behind_a_flatbuffer(tmp_path):
    files = [tmp_path / "a.tflite", tmp_path / "b.tflite"]
    for path in files:
        path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(300))
        write_facts(path, FULL)
    assert read_facts(files[0]) == FULL
    assert files[0].read_bytes()[:308] == b"\x1c\0\0\0TFL3" + bytes(300)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_facts_in_a_folder(tmp_path):
    write_facts(tmp_path, FULL)
    write_facts(tmp_path, FULL)  # again, over the others
    assert [path.name for path in tmp_path.rglob("*.json")] == ["facts.json"]
    assert read_facts(tmp_path) == FULL


def served(folder, weights):
    """Write what the facts of a SavedModel look at: the index of its variables."""
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "variables.index").write_bytes(weights)
    write_facts(folder, FULL)
    return folder


def test_facts_of_another_model_are_refused(tmp_path):
    one, other = (served(tmp_path / name, name.encode()) for name in ("one", "other"))
    assert read_facts(one) == read_facts(other) == FULL
    (one / "assets.extra" / "facts.json").write_bytes((other / "assets.extra" / "facts.json").read_bytes())
    bodies = [tmp_path / "one.tflite", tmp_path / "other.tflite"]
    for number, path in enumerate(bodies):
        path.write_bytes(bytes([number]) * 300)
        write_facts(path, FULL)
        assert read_facts(path) == FULL
    bodies[0].write_bytes(bytes([0]) * 300 + bodies[1].read_bytes()[300:])
    models = [tmp_path / "one.keras", tmp_path / "other.keras"]
    for seed, path in enumerate(models):
        keras.utils.set_random_seed(seed)
        foreign().save(path)
        write_facts(path, FULL)
        assert read_facts(path) == FULL
    with zipfile.ZipFile(models[1]) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(models[0]) as archive:
        parts["model.weights.h5"] = archive.read("model.weights.h5")
    with zipfile.ZipFile(models[0], "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    for path in (one, bodies[0], models[0]):
        with pytest.raises(FactsError, match=f"{path.name}: the facts are of another model, or the model was changed"):
            read_facts(path)


def test_of_several_versions_the_highest_is_read(tmp_path):
    for version, training in (("9", "old"), ("10", "new")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").touch()
        write_facts(tmp_path / version, replace(FULL, training=training))
    assert read_facts(tmp_path).training == "new"
    assert holds_facts(tmp_path)


def test_a_file_without_facts_is_named(tmp_path):
    foreign().save(tmp_path / "model.keras")
    (tmp_path / "model.tflite").write_bytes(bytes(50))
    for name in ("model.keras", "model.tflite", "missing.keras", "."):
        with pytest.raises(FactsError, match=r"holds no facts\.json written by keras_segattn") as error:
            read_facts(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)


def test_a_file_of_damaged_facts_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("facts.json", FULL.to_json()[:40])
    with pytest.raises(FactsError, match="damaged"):
        read_facts(tmp_path / "model.keras")


# Live.


def test_nothing_is_known_of_a_foreign_model():
    facts = facts_of(foreign())
    assert (facts.card, facts.task, facts.inputs) == (None, None, {"image": Vectors()})
    assert facts.options == {"activation": "softmax"}
    assert facts.version == ks.__version__
    with pytest.raises(ValueError, match="model 'foreign' holds no registered architecture that takes one picture"):
        preprocessing_of(foreign())


def test_what_is_not_known_can_be_said():
    said = {"labels": ["a", "b", "c"], "training": "some", "licence": "MIT", "options": {"blank": -1}}
    facts = facts_of(foreign(), task="classify", inputs={"image": PICTURE}, **said)
    assert (facts.task, facts.inputs, facts.labels) == ("classify", {"image": PICTURE}, ("a", "b", "c"))
    assert (facts.training, facts.licence) == ("some", "MIT")
    assert facts.options == {"activation": "softmax", "blank": -1}
    assert Facts.from_json(facts.to_json()) == facts


def test_the_card_of_a_model_without_stamps_can_be_said():
    image = keras.Input((32, 32, 3), name="image")
    model = keras.Model(image, layers.Conv2D(5, 1)(image))
    facts = facts_of(model, card="fcn-8s")
    assert (facts.card, facts.task) == ("FCN8s", "segment")
    assert facts.inputs == model_card("FCN8s").inputs
    four = keras.Input((32, 32, 4), name="image")
    other = facts_of(keras.Model(four, layers.Conv2D(5, 1)(four)), card="FCN8s")
    assert other.inputs["image"].channels == "other"
    with pytest.raises(ValueError, match="unknown model 'FCN7s'"):
        facts_of(model, card="FCN7s")


def test_a_stamp_of_a_builder_that_is_not_registered_says_what_it_can():
    image = keras.Input((4, 4, 3), name="image")
    facts = facts_of(keras.Model(image, layers.Flatten()(stamped(image, "Somebodys", "image", PICTURE))))
    assert (facts.card, facts.task, facts.inputs) == ("Somebodys", None, {"image": PICTURE})


def test_kinds_of_inputs_that_there_are_not_are_refused():
    with pytest.raises(ValueError, match=r"'foreign' has the inputs \['image'\], received kinds of \['picture'\]"):
        facts_of(foreign(), inputs={"picture": PICTURE})


def test_inputs_are_in_the_order_of_the_card():
    assert list(facts_of(tiny("ShowAttendTell")).inputs) == ["image", "target"]
    assert list(facts_of(tiny("ConditionalDCGANGenerator")).inputs) == ["z", "label"]


@pytest.mark.parametrize(
    "labels", [["a", "b"], ["a", "b", "c", "d"], "abc", ["a", "b", 3], ["a", "b\nc", "d"], ["a", "", "c"]]
)
def test_labels_that_do_not_fit_are_refused(labels):
    with pytest.raises(ValueError, match=r"labels must name the 3 classes of the model's outputs, a line of text"):
        facts_of(foreign(), labels=labels)


def test_the_background_of_a_detector_has_no_name():
    model = tiny("MaskRCNN")
    classes = model_card("MaskRCNN").tiny["classes"]
    assert facts_of(model, labels=["a"] * (classes - 1)).labels == ("a",) * (classes - 1)
    with pytest.raises(ValueError, match=rf"labels must name the {classes - 1} classes"):
        facts_of(model, labels=["a"] * classes)


def test_labels_of_several_outputs_are_those_of_the_logits():
    model = tiny("SpatialTransformerNetwork")
    assert facts_of(model, labels=list("abcde")).labels == tuple("abcde")
    with pytest.raises(ValueError, match=r"labels must name the 5 classes"):
        facts_of(model, labels=list("abcdef"))


def test_sizes_of_padded_pictures_are_not_given():
    facts = facts_of(tiny("MaskRCNN", padded_images=True))
    assert facts.inputs["image_size"] == PictureSize("image")
    assert list(facts.given) == ["image"]


def words(count, last="word"):
    return (*SPECIAL, *(f"word{i}" for i in range(count - 5)), last)


@pytest.mark.parametrize(
    "vocabularies",
    [
        {"source": words(11)},
        {"source": words(11), "target": words(11)},
        {"source": words(11), "goal": words(9)},
        {"source": words(11), "target": words(9), "third": words(9)},
    ],
)
def test_vocabularies_that_do_not_fit_are_refused(vocabularies):
    expected = r"vocabularies must have the model's names and sizes \{'source': 11, 'target': 9\}, received"
    with pytest.raises(ValueError, match=expected):
        facts_of(tiny("RNNSearch"), vocabularies=vocabularies)


def test_vocabularies_say_how_texts_are_split():
    model = tiny("RNNSearch")
    letters = Vocabulary("abcde").tokens
    given = {"source": words(11, "Word"), "target": Vocabulary("abcde")}
    facts = facts_of(model, vocabularies=given, options=BeamRules(beams=12))
    assert facts.vocabularies == {"source": words(11, "Word"), "target": letters}
    assert facts.inputs["source"] == Tokens("source", 11, unit="word", lower=False, form="NFC")
    assert facts.inputs["target"] == Tokens("target", 9, unit="letter", lower=True, target=True)
    apart = facts_of(model, vocabularies=given | {"source": (*words(11, "Word")[:-1], "e\u0301")})
    assert apart.inputs["source"].form is None
    assert facts.options["beams"] == 12
    assert facts.options["length"] == BeamRules().length
    assert Facts.from_json(facts.to_json()) == facts


@pytest.mark.parametrize(
    ("name", "options", "mean"),
    [
        ("AlexNet", {"variant": "torchvision"}, IMAGENET.mean),
        ("GoogLeNet", {"variant": "torchvision"}, (127.5,) * 3),
        ("EfficientNetLite0", {"padding": "symmetric"}, IMAGENET.mean),
        ("InceptionResNetV2", {"variant": "paper", "blocks": (1, 1, 1)}, (127.5,) * 3),
    ],
)
def test_other_forms_have_the_preprocessing_of_their_weights(name, options, mean):
    with without_weights():
        model, usual = (get_model(name, alpha=0.0625, **arguments) for arguments in (options, {}))
    assert facts_of(model).card == name
    assert preprocessing_of(model).mean == mean
    assert preprocessing_of(usual) == model_card(name).inputs["image"]


def test_a_head_of_ones_own_keeps_what_is_known():
    backbone = tiny("ResNet18", include_top=False, pooling="avg")
    with without_weights():
        model = keras.Model(backbone.inputs, layers.Dense(2)(backbone.output))
    assert facts_of(model).card == "ResNet18"
    assert preprocessing_of(model) == IMAGENET


@pytest.mark.parametrize(("name", "default"), [("SqueezeNet1_1", "serving_default"), ("RNNSearch", "decode_beam")])
def test_endpoints_are_those_of_the_card(name, default):
    model = tiny(name)
    assert next(iter(endpoints_of(model, facts_of(model)))) == default


def test_endpoints_of_a_foreign_model_are_the_model():
    model = foreign()
    found = endpoints_of(model, facts_of(model))["serving_default"]
    outputs = found.function({"image": np.ones((2, 4, 4, 3), "float32")})
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {"probabilities": (2, 3)}
    assert {name: spec.shape for name, spec in found.inputs.items()} == {"image": (None, 4, 4, 3)}
