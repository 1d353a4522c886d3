"""Models that write sentences, as SavedModels and `.tflite` files: every signature gives Keras' tokens."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_segattn import export, facts_of
from keras_segattn.attention import RNNSearch, ShowAttendTell, captioner, translator
from keras_segattn.decoding import BeamRules
from keras_segattn.export.archive import write_archive
from keras_segattn.export.preparation import prepared
from keras_segattn.facts import endpoints_of

RULES = BeamRules(3, 6, normalize="gnmt")
TARGET = np.array([[4, 5, 6, 2], [7, 8, 2, 0]], "int32")
# A dozen steps in two float32 runtimes, with sums in different orders.
TOLERANCE = 1e-4


def rnnsearch(attention, order="bahdanau"):
    model = RNNSearch(11, 9, units=8, embedding=6, maxout=5, alignment=7, attention=attention, order=order)
    source = {"source": np.array([[4, 5, 6, 7, 2], [8, 9, 2, 0, 0]], "int32")}
    return model, source


def show_attend_tell(attention):
    model = ShowAttendTell(9, backbone=None, input_shape=(4, 6), units=8, embedding=5, attention=attention)
    return model, {"annotations": np.random.default_rng(0).normal(size=(2, 4, 6)).astype("float32")}


MODELS = {
    "rnnsearch-location": (rnnsearch, "location"),
    "rnnsearch-local-p": (rnnsearch, "local-p", "luong"),
    "show_attend_tell-hard": (show_attend_tell, "hard"),
}


def of_models(*slow):
    """Run a test for every model, for some of them only by `make thorough`."""
    params = [
        pytest.param(model, id=name, marks=[pytest.mark.thorough] if name in slow else [])
        for name, model in MODELS.items()
    ]
    return pytest.mark.parametrize("trained", params, indirect=True)


@pytest.fixture
def trained(request):
    make, *variant = request.param
    model, inputs = make(*variant)
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype == "float32":
            weight.assign(random.normal(0, 0.6, weight.shape))
    return model, inputs


def by_steps(encode, step, inputs, count):
    """Search greedily as a client does that calls `step` for one token after the other."""
    state = {name: np.asarray(value) for name, value in encode(**inputs).items()}
    tokens, found = np.ones(len(next(iter(inputs.values()))), "int32"), []
    for _ in range(count):
        answer = {name: np.asarray(value) for name, value in step(tokens=tokens, **state).items()}
        allowed = answer["log_probabilities"].copy()
        allowed[:, :2] = -np.inf
        tokens = allowed.argmax(axis=-1).astype("int32")
        found.append(tokens)
        state |= {name: value for name, value in answer.items() if name.startswith("state")}
    return np.stack(found, axis=1)


def assert_all_signatures(signatures, model, inputs):
    """Compare the outputs of every signature with Keras."""
    search = translator if "source" in inputs else captioner
    (given,) = inputs.values()
    beams = search(model, RULES)(given)
    found = signatures["decode_beam"](**inputs)
    assert set(found) == set(beams)
    for name, value in beams.items():
        np.testing.assert_allclose(found[name], value, rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_array_equal(found["tokens"], beams["tokens"])
    greedy = signatures["decode_greedy"](**inputs)
    single = search(model, BeamRules(1, 6))(given)["tokens"][:, 0]
    np.testing.assert_array_equal(greedy["tokens"], single)
    steps = by_steps(signatures["encode"], signatures["step"], inputs, 6)
    for row, tokens, length in zip(steps, np.asarray(single), np.asarray(greedy["lengths"]), strict=True):
        np.testing.assert_array_equal(row[:length], tokens[:length])
    target = TARGET[: len(given)]
    scores = np.asarray(signatures["score"](**inputs, target=target)["log_probabilities"])
    begun = np.concatenate([np.ones_like(target[:, :1]), target[:, :-1]], axis=1)
    log = tf.nn.log_softmax(model(inputs | {"target": begun})["logits"]).numpy()
    expected = np.take_along_axis(log, target[..., None], axis=-1)[..., 0] * (target != 0)
    np.testing.assert_allclose(scores, expected, rtol=TOLERANCE, atol=TOLERANCE)


@of_models("rnnsearch-location", "rnnsearch-local-p")
def test_a_served_model_of_any_batch(trained, tmp_path):
    model, inputs = trained
    endpoints = prepared(model, facts_of(model, options=RULES), None, None, batch=None).endpoints
    assert list(endpoints) == ["decode_beam", "decode_greedy", "encode", "step", "score"]
    write_archive(endpoints, tmp_path / "model")
    served = tf.saved_model.load(str(tmp_path / "model"))
    one = {name: value[:1] for name, value in inputs.items()}
    for given in (inputs, one):
        assert_all_signatures(served.signatures, model, given)


@of_models(*MODELS)  # in every run, `test_every_model.py` exports a translator for phones
def test_a_phone_s_file(trained, tmp_path):
    model, inputs = trained
    one = {name: value[:1] for name, value in inputs.items()}
    sizes = {"source": (5,)} if "source" in inputs else {}
    report = export.tflite(
        model, tmp_path / "model.tflite", facts=facts_of(model, options=RULES), sizes=sizes | {"target": (4,)}
    )
    assert report.flex_operators == ()
    interpreter = Interpreter(str(tmp_path / "model.tflite"))
    signatures = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}
    assert_all_signatures(signatures, model, one)


@of_models()
def test_python_and_servers_search_by_one_function(trained):
    """Their outputs are equal bit for bit: `decode_beam` calls what `translator` and `captioner` call."""
    model, inputs = trained
    (given,) = inputs.values()
    python = (translator if "source" in inputs else captioner)(model, RULES)(given)
    served = endpoints_of(model, facts_of(model, options=RULES))["decode_beam"].function(inputs)
    assert set(served) == set(python)
    for name, value in python.items():
        np.testing.assert_array_equal(served[name], value)


def test_sentences_are_as_long_as_the_search_s_unless_sizes_say_otherwise():
    model, _ = rnnsearch("additive")
    facts = facts_of(model, options=RULES)
    for sizes, lengths in (({}, (6, 6)), ({"source": (9,)}, (9, 6)), ({"source": (2,), "target": (3,)}, (2, 3))):
        endpoints = prepared(model, facts, None, sizes, batch=1).endpoints
        found = endpoints["score"].inputs
        assert (found["source"].shape, found["target"].shape) == ((1, lengths[0]), (1, lengths[1]))
        assert endpoints["step"].inputs["annotations"].shape == (1, lengths[0], 16)
    for sizes in ({"source": (0,)}, {"target": (3, 4)}):
        with pytest.raises(ValueError, match=r"sizes\['(source|target)'\] must fit the model's \(None,\)"):
            prepared(model, facts, None, sizes, batch=1)
    with pytest.raises(ValueError, match=r"sizes are of the inputs \['source', 'target', 'tokens'\], received some of"):
        prepared(model, facts, None, {"image": (3, 4)}, batch=1)


def test_models_that_write_nothing_have_no_search(tmp_path):
    x = tf.keras.Input((3,), name="features")
    other = tf.keras.Model(x, tf.keras.layers.Dense(2)(x))
    assert list(endpoints_of(other, facts_of(other, options=RULES))) == ["serving_default"]
    with pytest.raises(ValueError, match="expected a model that RNNSearch built"):
        export.tflite(other, tmp_path / "a.tflite", facts=facts_of(other, card="RNNSearch"))
    assert not list(tmp_path.iterdir())
