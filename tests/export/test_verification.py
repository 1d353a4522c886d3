"""Verification covers typical faults: rows of an embedding, the distribution of noise, arithmetic in int8."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from harness import images, randomise, tiny_model
from keras import layers, ops

from keras_segattn import export, facts_of, model_card, read_facts
from keras_segattn.export.mobile.tflite import drawn_samples, quantized_parts
from keras_segattn.export.mobile.verification import plausible_value
from keras_segattn.export.preparation import drawn, prepared
from keras_segattn.fields import UNK, Noise
from keras_segattn.inputs import noise_input, source_input, token_input
from keras_segattn.layers import SpatialTransformer
from keras_segattn.layers.spatial_transformer import parameter_layer

WORDS = 300
VOCABULARY = ["<pad>", "<bos>", "<eos>", "<unk>", *(f"word{i}" for i in range(4, WORDS))]
LENGTH = 6


def bag_of_words():
    """Build a model that averages the embeddings of words and computes scores."""
    source = token_input("source", "BagOfWords", WORDS)
    table = layers.Embedding(WORDS, 5, name="table")(source)
    model = keras.Model(
        source_input(source), layers.Dense(3, name="scores")(ops.mean(table, axis=1)), name="bag_of_words"
    )
    randomise(model)
    return model


def change_row(model, row):
    """Change one row of the embedding."""
    values = model.get_layer("table").embeddings.numpy()
    values[row] += 1
    model.get_layer("table").set_weights([values])


def save(model, folder):
    return export.saved_model(model, folder, facts=facts_of(model, vocabularies={"source": VOCABULARY})).path


def save_tflite(model, folder):
    facts = facts_of(model, vocabularies={"source": VOCABULARY})
    return export.tflite(model, folder / "model.tflite", facts=facts, sizes={"source": (LENGTH,)}).path


FORMS = {
    "serving.saved_model": (save, export.verify_saved_model),
    "mobile.tflite": (save_tflite, export.verify_tflite),
}


# Both forms are verified by the same comparison with Keras.
EVERY_FORM = [pytest.param("serving.saved_model", marks=pytest.mark.thorough), "mobile.tflite"]


@pytest.fixture(scope="module", params=EVERY_FORM)
def written(request, tmp_path_factory):
    write, verify = FORMS[request.param]
    return write(bag_of_words(), tmp_path_factory.mktemp("words")), verify


def test_a_file_with_another_last_row_is_not_the_model_s(written):
    path, verify = written
    assert verify(path, reference=bag_of_words()).passed
    wrong = bag_of_words()
    change_row(wrong, WORDS - 1)
    assert not verify(path, reference=wrong).passed


def test_both_forms_hold_the_vocabulary(written):
    facts = read_facts(written[0])
    assert facts.vocabularies == {"source": tuple(VOCABULARY)}
    assert facts.inputs["source"].size == WORDS


@pytest.mark.parametrize("form", EVERY_FORM)
def test_a_wrong_row_late_in_a_table_is_noticed_before_the_file_has_its_name(form, tmp_path, monkeypatch):
    write, _ = FORMS[form]
    model = bag_of_words()
    module = f"keras_segattn.export.{form}.write_archive"
    from keras_segattn.export.archive import write_archive

    def write_wrongly(endpoints, directory):
        right = model.get_weights()
        change_row(model, WORDS - 1)
        write_archive(endpoints, directory)
        model.set_weights(right)

    monkeypatch.setattr(module, write_wrongly)
    with pytest.raises(export.ExportError, match=r"difference .*to Keras"):
        write(model, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("size", [12, WORDS])
def test_tokens_are_drawn_from_the_whole_vocabulary(size):
    source = token_input("source", "BagOfWords", size)
    model = keras.Model(source_input(source), layers.Dense(2)(ops.mean(layers.Embedding(size, 2)(source), axis=1)))
    ready = prepared(model, None, None, None, batch=None)
    tokens = np.concatenate([drawn(ready, batch, batch, pixels=True)["serving_default"]["source"] for batch in (3, 32)])
    found = np.unique(tokens)
    assert {0, 2, UNK, size - 1} <= {*found.tolist()}
    assert np.diff(found[found >= UNK]).max() <= max(1, size // 10)  # no large part of the table is left out
    assert found.max() < size


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_noise_is_drawn_as_the_generator_was_trained_with(distribution):
    z = noise_input(None, (40,), "Toy", Noise(distribution))
    model = keras.Model(source_input(z), layers.Dense(4)(z))
    ready = prepared(model, None, None, None, batch=1)
    unasked = plausible_value(Noise(distribution), np.zeros((2, 1, 40), "float32"))
    values = [drawn_samples(ready)["serving_default"]["z"], unasked]
    for z in values:
        assert z.shape == (2, 1, 40)
        assert bool(np.abs(z).max() <= 1) is (distribution == "uniform")
        assert (z[0] != z[1]).all()
        assert abs(z.mean()) < 0.3


def localised():
    """Build a convolution, a spatial transformer and another convolution."""
    image = keras.Input((12, 10, 3), name="image")
    features = layers.Conv2D(4, 3, activation="relu", name="features")(image)
    theta = parameter_layer("affine", None, "theta")(layers.GlobalAveragePooling2D()(features))
    seen = SpatialTransformer("affine", name="transformer")(features, theta)
    scores = layers.Dense(3, name="scores")(layers.Flatten()(layers.Conv2D(6, 3, name="read")(seen)))
    model = keras.Model(image, scores, name="localised")
    randomise(model)
    return model


def test_what_int8_leaves_alone_is_what_layers_say():
    assert quantized_parts(localised()) == {"layers_only": True, "exact_layers": ["global_average_pooling2d", "theta"]}
    assert quantized_parts(tiny_model(model_card("MaskRCNN"))) == {"layers_only": True, "exact_layers": []}
    assert quantized_parts(bag_of_words()) == {"layers_only": False, "exact_layers": []}


@pytest.mark.thorough
def test_int8_rounds_no_positions_and_takes_its_ranges_from_all_samples(tmp_path):
    model = localised()
    # Ranges from the first of these pictures alone would clip the others, by half the range.
    calibration = images((12, 10, 3), batch=16)
    report = export.tflite(model, tmp_path / "a.tflite", quantize="int8", calibration=calibration)
    assert report.integer_operators == {"CONV_2D": 2, "FULLY_CONNECTED": 1}  # all layers but theta
    interpreter = Interpreter(
        str(report.path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    types = {tensor["index"]: tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
    made_by = {int(i): one for one in interpreter._get_ops_details() for i in one["outputs"]}
    (theta,) = (one for i, one in made_by.items() if one["op_name"] == "FULLY_CONNECTED" and "theta" in names[i])
    features, kernel, *_ = theta["inputs"].tolist()
    # Only the weights of theta are int8; its inputs and outputs are floats.
    assert made_by[features]["op_name"] == "MEAN"
    assert made_by[kernel]["op_name"] == "DEQUANTIZE"
    assert types[int(made_by[kernel]["inputs"][0])] is np.int8
    assert {types[i] for i in (features, *theta["outputs"].tolist())} == {np.float32}
