"""Models of every form, opened in one way."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from agreement import assert_agree
from harness import randomise, tiny_model
from PIL import Image

import keras_segattn
from keras_segattn import FCN8s, SqueezeNet1_1, facts_of, load, model_card, read_facts, save
from keras_segattn.data import Vocabulary
from keras_segattn.facts import Facts
from keras_segattn.fields import OneHot, Picture, Tokens

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8).repeat(2, axis=0).repeat(2, axis=1)
# Examples of inputs, by kind; tokens are given as ids, because miniatures have no vocabulary.
GIVEN = {Picture: PICTURE, Tokens: [4, 5, 6], OneHot: 1}
# Size that a file for phones has if the miniature leaves it open.
LENGTH = 5
# Float32 sums in another order change probabilities, shares of pixels, scores and pixels of boxes by less than this,
# absolutely or relative to the number.
ABSOLUTE, RELATIVE = 5e-3, 1e-3
RELEASED = Path(__file__).parents[1] / "savedmodels"
LABELS = ["sea", "land", "lake"]


@pytest.fixture
def segmenter():
    model = FCN8s(classes=3, alpha=0.0625, input_shape=(32, 48, 3))
    randomise(model)
    return model


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(PICTURE).save(path)
    return path


def test_the_facts_of_a_keras_file_return_and_keras_opens_it_as_any_other(segmenter, tmp_path):
    path = tmp_path / "lakes.keras"
    save(segmenter, path, facts=facts_of(segmenter, labels=LABELS, training="lakes"))
    assert read_facts(path).training == "lakes"
    assert load(path).facts.labels == tuple(LABELS)
    again = keras.saving.load_model(path)
    np.testing.assert_array_equal(again.get_weights()[0], segmenter.get_weights()[0])
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match=r"ends in \.keras"):
        save(segmenter, tmp_path / "lakes.h5")


def test_what_the_caller_says_wins(segmenter, tmp_path):
    save(segmenter, tmp_path / "m.keras", facts=facts_of(segmenter, labels=LABELS, options={"tint": 1, "shade": 2}))
    told = load(tmp_path / "m.keras", labels=["a", "b", "c"], options={"tint": 5}).facts
    assert told.labels == ("a", "b", "c")
    assert (told.options["tint"], told.options["shade"]) == (5, 2)
    assert load(tmp_path / "m.keras", facts=Facts(task="segment", labels=("x", "y", "z"))).facts.labels[0] == "x"
    for what in (tmp_path / "m.keras", segmenter):
        with pytest.raises(ValueError, match=r"name the 3 classes"):
            load(what, labels=["a", "b"])
    words = {"source": Vocabulary("abc"), "target": Vocabulary("ab")}
    speller = keras_segattn.RNNSearch(7, 6, units=3, embedding=3, maxout=2, alignment=3)
    assert load(speller, vocabularies=words).facts.inputs["source"].unit == "letter"
    with pytest.raises(ValueError, match="vocabularies must have"):
        load(speller, vocabularies=words | {"target": Vocabulary("abc")})


def test_paths_and_arrays_one_by_one_or_many(segmenter, picture):
    application = load(segmenter, labels=LABELS)
    expected = application.predict(PICTURE)
    sizes = []
    call = application.call
    counted = keras_segattn.Application(
        application.name,
        application.facts,
        application.shapes,
        application.outputs,
        lambda given: (sizes.append(len(given["image"])), call(given))[1],
    )
    found = list(counted.predict_many([picture, (str(picture),), PICTURE[:, ::-1]], batch_size=2))
    assert sizes == [2, 1]
    for one in found[:2]:
        np.testing.assert_array_equal(one.mask, expected.mask)
    assert not np.array_equal(found[2].mask, expected.mask)
    assert np.array_equal(np.asarray(application.draw(picture)), np.asarray(expected.draw()))
    with pytest.raises(ValueError, match="unknown option of the task 'segment' 'top'"):
        application.predict(picture, top=3)


def test_neighbours_of_other_sizes_are_no_batch():
    model = FCN8s(classes=3, alpha=0.0625)
    randomise(model)
    application = load(model)
    found = list(application.predict_many([PICTURE, PICTURE[:40], PICTURE[:40]]))
    assert [one.mask.shape for one in found] == [(80, 112), (40, 112), (40, 112)]
    np.testing.assert_array_equal(found[0].mask, application.predict(PICTURE).mask)


def test_tokens_of_several_lengths_keep_their_order():
    model = tiny_model(model_card("RNNSearch"))
    application = load(model)
    texts = [[4, 5], [6], [7], [4, 5, 6]]
    found = [one.to_json() for one in application.predict_many([(text,) for text in texts])]
    for one, text in zip(found, texts, strict=True):
        assert_agree(one, application.predict(text).to_json())


def test_classification_is_as_in_training(picture):
    from keras_segattn.training import classify

    model = SqueezeNet1_1(classes=5, alpha=0.125)
    randomise(model)
    found = load(model).predict(picture)
    (expected,) = classify(model, [PICTURE])
    # The crop is rounded, as files of pictures hold integers.
    for one in found.places[0]:
        assert one.probability == pytest.approx(expected[one.index], abs=0.02)


def test_builders_need_weights(tmp_path, picture):
    arguments = {"classes": 3, "alpha": 0.125}
    model = SqueezeNet1_1(**arguments)
    randomise(model)
    keras_segattn.weights.save(model, tmp_path / "weights.safetensors")
    opened = load("squeezenet1_1", weights=tmp_path / "weights.safetensors", arguments=arguments, labels=LABELS)
    assert_agree(opened.predict(picture).to_json(), load(model, labels=LABELS).predict(picture).to_json())
    with pytest.raises(ValueError, match="no package ships weights of ResNet18: give weights="):
        load("resnet18")
    with pytest.raises(ValueError, match="are for builders; 'squeezenet1_1' has its own"):
        load(model, weights="imagenet")


def test_ambiguous_names_are_errors_that_list_what_they_could_mean(tmp_path, monkeypatch, segmenter):
    for name in ("fcn8s", "FCN8s"):
        with pytest.raises(ValueError, match=r"may mean .*savedmodels/fcn8s/1 or the builder FCN8s: give the path"):
            load(name)
    with pytest.raises(ValueError, match="no package ships weights of FCN8s"):
        load("fcn8s", arguments={"classes": 3})
    monkeypatch.chdir(tmp_path)
    for version in ("2", "10"):
        (tmp_path / "savedmodels" / "g2p" / version).mkdir(parents=True)
        (tmp_path / "savedmodels" / "g2p" / version / "saved_model.pb").touch()
    with pytest.raises(ValueError, match=r"'g2p' may mean .*g2p/1 or savedmodels/g2p/10"):
        load("g2p")
    with pytest.raises(ValueError, match=r"savedmodels/g2p/10 holds no facts .*card=, one of list_models.*labels="):
        load("savedmodels/g2p")
    with pytest.raises(ValueError, match="is not a readable SavedModel"):
        load("savedmodels/g2p", card="RNNSearch")


def test_nothing_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no model is stored as fcn9s .*did you mean 'FCN8s'"):
        load("fcn9s")
    (tmp_path / "notes.txt").touch()
    for path in (tmp_path / "notes.txt", tmp_path, "nowhere/model.keras"):
        with pytest.raises(ValueError, match=r"is neither a \.keras or \.tflite file nor a SavedModel"):
            load(path)
    (tmp_path / "broken.keras").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"broken\.keras is not a readable Keras model"):
        load(tmp_path / "broken.keras")
    (tmp_path / "broken.tflite").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"broken\.tflite is not a readable \.tflite file"):
        load(tmp_path / "broken.tflite", card="FCN8s")


def test_a_foreign_model_needs_a_task_only(picture):
    x = inputs = keras.Input((8, 8, 3), name="photo")
    x = keras.layers.Dense(2, name="scores")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, x)
    with pytest.raises(ValueError, match="nobody said what its outputs mean: give task="):
        load(model)
    application = load(model, task="classify", inputs={"photo": Picture(size=(8, 8))})
    assert len(application.predict(picture).places[0]) == 2


def test_code_in_a_file_is_not_run(tmp_path):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x + 1)(inputs))
    model.save(tmp_path / "code.keras")
    with pytest.raises(ValueError, match="is not a readable Keras model"):
        load(tmp_path / "code.keras")


@pytest.mark.parametrize("stored", ["1", "stn_rotated_float16.tflite"], ids=["served", "phone"])
def test_a_file_without_facts_opens_with_its_card(stored):
    """Files for servers and phones that have no facts, as older versions wrote them, need the name of their card."""
    path = RELEASED / "stn_rotated" / stored
    application = load(path, card="SpatialTransformerNetwork", facts=Facts(), labels=[*"0123456789"])
    assert application.shapes == {"image": (28, 28, 1)}
    assert set(application.outputs) == {"logits", "theta", "transformed"}
    pictures = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    # A batch may have any size, although it is always 1 in files for phones.
    together = application.call({"image": pictures})["logits"]
    apart = [application.call({"image": one[None]})["logits"][0] for one in pictures]
    np.testing.assert_allclose(together, apart, atol=1e-4)
    found = application.predict(PICTURE)
    assert len(found.places[0]) == 5
    assert found.draw() is not None


def test_released_forms_agree():
    served, phone = (
        load(RELEASED / "stn_rotated" / name, card="SpatialTransformerNetwork", facts=Facts())
        for name in ("1", "stn_rotated_float16.tflite")
    )
    # The weights in the file for phones are float16, and logits are about 10.
    half = 0.05
    pictures = {"image": np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)}
    expected, found = served.call(pictures), phone.call(pictures)
    assert np.ptp(expected["logits"], axis=0).max() > 10 * half
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=half)


def test_a_file_of_a_phone_may_be_called_from_several_threads():
    application = load(RELEASED / "stn_rotated" / "stn_rotated_float16.tflite")
    digits = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 1), dtype=np.uint8)
    expected = [application.predict(digit).rows() for digit in digits]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda place: application.predict(digits[place % 4]).rows(), range(40)))
    assert found == expected * 10


def test_a_missing_signature_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"has no signature a or b, only .*serving_default"):
        keras_segattn.runtimes.open_saved_model(RELEASED / "stn_rotated" / "1", ("a", "b"), {})


def test_a_released_generator_draws_digits_that_a_released_reader_reads():
    draw = load(RELEASED / "dcgan_mnist", card="ConditionalDCGANGenerator", facts=Facts())
    read = load(RELEASED / "stn_rotated", card="SpatialTransformerNetwork", facts=Facts())
    found = draw.predict(count=40)
    digits = [one.best.index for one in read.predict_many(found.images, batch_size=40)]
    assert np.mean(np.array(digits) == found.classes) >= 0.8
