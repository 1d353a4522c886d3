"""Models that write sentences, in SavedModels and `.tflite` files: every signature, token for token."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_segattn import export
from keras_segattn.attention import RNNSearch, ShowAttendTell, captioner, translator
from keras_segattn.decoding import BeamRules
from keras_segattn.export.archive import write_archive

RULES = BeamRules(3, 6, normalize="gnmt")
TARGET = np.array([[4, 5, 6, 2], [7, 8, 2, 0]], "int32")
# Two float32 runtimes, a dozen steps.
TOLERANCE = 1e-4


def rnnsearch(attention, order="bahdanau"):
    model = RNNSearch(11, 9, units=8, embedding=6, maxout=5, alignment=7, attention=attention, order=order)
    source = {"source": np.array([[4, 5, 6, 7, 2], [8, 9, 2, 0, 0]], "int32")}
    return model, source, {"source": (5,)}


def show_attend_tell(attention):
    model = ShowAttendTell(9, backbone=None, input_shape=(4, 6), units=8, embedding=5, attention=attention)
    return model, {"annotations": np.random.default_rng(0).normal(size=(2, 4, 6)).astype("float32")}, None


MODELS = [
    (rnnsearch, "location"),
    (rnnsearch, "local-p", "luong"),
    (show_attend_tell, "hard"),
]


@pytest.fixture(params=MODELS, ids=lambda param: f"{param[0].__name__}-{param[1]}")
def trained(request):
    make, *variant = request.param
    model, inputs, shapes = make(*variant)
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype == "float32":
            weight.assign(random.normal(0, 0.6, weight.shape))
    return model, inputs, shapes


def by_steps(encode, step, inputs, count):
    """Greedy search by a client that asks for one token after the other."""
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
    """Each against Keras."""
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


def test_a_served_model_of_any_batch(trained, tmp_path):
    model, inputs, _ = trained
    write_archive(export.sequence_endpoints(model, RULES), tmp_path / "model")
    served = tf.saved_model.load(str(tmp_path / "model"))
    one = {name: value[:1] for name, value in inputs.items()}
    for given in (inputs, one):
        assert_all_signatures(served.signatures, model, given)


def test_a_phone_s_file(trained, tmp_path):
    model, inputs, shapes = trained
    endpoints = export.sequence_endpoints(model, RULES, batch=1, source=shapes, target_length=4)
    one = {name: value[:1] for name, value in inputs.items()}
    report = export.tflite(model, tmp_path / "model.tflite", signatures=endpoints)
    assert report.flex_operators == ()
    interpreter = Interpreter(str(tmp_path / "model.tflite"))
    signatures = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}
    assert_all_signatures(signatures, model, one)


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="expected a model that RNNSearch built"):
        export.sequence_endpoints(tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(2)]))
