"""Show, Attend and Tell: counts, the released code's equations in NumPy, search, losses, files."""

import keras
import numpy as np
import pytest
from harness import assert_kernels_begin_differently, without_weights
from scipy.special import expit, log_softmax, softmax

from keras_segattn.attention import ShowAttendTell, captioner
from keras_segattn.decoding import BeamRules
from keras_segattn.losses import DoublyStochastic, SequenceCrossEntropy

# Tolerance for float32 through a recurrent loop, against float64.
TOLERANCE = 1e-4
SHAPE = (4, 6)
TARGET = np.array([[1, 4, 5, 6], [1, 7, 8, 2]], "int32")


def tiny(**changes):
    model = ShowAttendTell(9, **{"backbone": None, "input_shape": SHAPE, "units": 8, "embedding": 5} | changes)
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype == "float32":
            weight.assign(random.normal(0, 0.6, weight.shape))
    return model


@pytest.mark.parametrize("initialization", ["paper", "scaled"])
def test_no_two_kernels_begin_alike(initialization):
    sizes = {"units": 8, "embedding": 5, "initialization": initialization}
    assert_kernels_begin_differently(ShowAttendTell(9, backbone=None, input_shape=SHAPE, **sizes).trainable_weights)


def annotations():
    return np.random.default_rng(1).normal(size=(2, *SHAPE)).astype("float32")


def test_parameters_of_the_coco_configuration():
    """Specification 2.3 has the number, from the released script's settings; VGG-19 has 20,024,384 parameters more."""
    with without_weights():
        bare, whole = ShowAttendTell(backbone=None, input_shape=(196, 512)), ShowAttendTell()
        other = ShowAttendTell(units=100, embedding=20, backbone="squeezenet1_1", input_shape=(64, 64, 3), alpha=0.25)
    assert bare.count_params() == 35_333_450
    assert whole.count_params() == 35_333_450 + 20_024_384
    assert whole.get_layer("annotations").output.shape == (None, 196, 512)
    assert other.output["attention"].shape[-1] == other.get_layer("annotations").output.shape[1] == 9


def capgen(model, a, target):
    """Compute logits and attention weights of one caption as capgen.py does at test time."""
    get = lambda name: [w.astype("float64") for w in model.get_layer(name).get_weights()]  # noqa: E731
    named = {w.path.split("/", 1)[1]: w.numpy().astype("float64") for w in model.get_layer("decoder").weights}
    cell = {name.split("/")[-1]: value for name, value in named.items() if "alignment" not in name}
    align = {name.split("/")[-1]: value for name, value in named.items() if "alignment" in name}
    mean = a.mean(axis=0)
    kernel, bias = get("initial_layer1")
    mean = np.maximum(mean @ kernel + bias, 0)
    h, c = (np.tanh(mean @ get(name)[0] + get(name)[1]) for name in ("initial_state", "initial_memory"))
    keys = a @ align["key_kernel"] + align["key_bias"]
    keys = np.tanh(keys @ align["layer1_kernel"] + align["layer1_bias"])
    logits, attention = [], []
    for token in target:
        word = get("embedding")[0][token] * (token != 1)
        e = np.tanh(keys + h @ align["query_kernel"]) @ align["score_kernel"][:, 0] + align["score_bias"]
        alpha = softmax(e)
        z = alpha @ a * expit(h @ cell["selector_kernel"] + cell["selector_bias"])
        joined = word @ cell["kernel"] + h @ cell["recurrent_kernel"] + z @ cell["context_kernel"] + cell["bias"]
        i, f, g, o = np.split(joined, 4)
        c = expit(f) * c + expit(i) * np.tanh(g)
        h = expit(o) * np.tanh(c)
        (lh, b), (lz, d), (lo, p) = get("readout_state"), get("readout_context"), get("logits")
        logits.append(np.tanh(h @ lh + b + word + z @ lz + d) @ lo + p)
        attention.append(alpha)
    return np.array(logits), np.array(attention)


def test_the_released_code_s_equations():
    model, a = tiny(), annotations()
    outputs = model({"annotations": a, "target": TARGET})
    for i in range(2):
        logits, attention = capgen(model, a[i].astype("float64"), TARGET[i])
        np.testing.assert_allclose(outputs["logits"][i], logits, rtol=TOLERANCE, atol=TOLERANCE)
        np.testing.assert_allclose(outputs["attention"][i], attention, atol=TOLERANCE)


@pytest.mark.parametrize("attention", ["additive", "uniform"])
def test_the_search_s_scores_are_the_training_model_s(attention):
    model, a = tiny(attention=attention), annotations()
    found = {k: np.asarray(v) for k, v in captioner(model, BeamRules(3, 6, "shrink"))(a).items()}
    tokens, lengths = found["tokens"].reshape(6, 6), found["lengths"].reshape(6)
    target = np.concatenate([np.ones((6, 1)), tokens[:, :-1]], axis=1)
    outputs = model({"annotations": a.repeat(3, axis=0), "target": target})
    log = log_softmax(np.asarray(outputs["logits"], "float64"), axis=-1)
    for i in range(6):
        score = sum(log[i, t, tokens[i, t]] for t in range(lengths[i]))
        assert found["log_probabilities"].reshape(6)[i] == pytest.approx(score, rel=TOLERANCE)
        weights = found["attention"].reshape(6, 6, -1)[i, : lengths[i]]
        np.testing.assert_allclose(weights, outputs["attention"][i, : lengths[i]], atol=TOLERANCE)
    if attention == "uniform":
        np.testing.assert_allclose(outputs["attention"], 0.25, atol=TOLERANCE)


def test_moving_the_annotations_moves_the_attention():
    model, a, order = tiny(), annotations(), [2, 0, 3, 1]
    first = model({"annotations": a, "target": TARGET})
    moved = model({"annotations": a[:, order], "target": TARGET})
    np.testing.assert_allclose(moved["logits"], first["logits"], rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose(moved["attention"], np.asarray(first["attention"])[..., order], atol=TOLERANCE)


def test_losses_are_the_paper_s():
    random = np.random.default_rng(0)
    logits, alpha = random.normal(size=(2, 3, 5)), softmax(random.normal(size=(2, 3, 4)), axis=-1)
    ids = np.array([[4, 2, 0], [3, 4, 2]])
    log = log_softmax(logits, axis=-1)
    sums = [log[0, 0, 4] + log[0, 1, 2], log[1, 0, 3] + log[1, 1, 4] + log[1, 2, 2]]
    assert float(SequenceCrossEntropy()(ids, logits)) == pytest.approx(-np.mean(sums), rel=TOLERANCE)
    penalties = [((1 - alpha[0, :2].sum(axis=0)) ** 2).sum(), ((1 - alpha[1].sum(axis=0)) ** 2).sum()]
    assert float(DoublyStochastic()(ids, alpha)) == pytest.approx(np.mean(penalties), rel=TOLERANCE)
    with pytest.raises(ValueError, match="label_smoothing must be at least 0 and below 1, received 1"):
        SequenceCrossEntropy(1)


@pytest.mark.parametrize("finished", [pytest.param("keep", marks=pytest.mark.thorough), "shrink"])
def test_annotations_that_are_not_finite(finished):
    """Outside of graphs they are an error; in a graph they spoil the score of their own example only."""
    search = captioner(tiny(), BeamRules(3, 5, finished))
    good = np.resize(annotations(), (3, *annotations().shape[1:]))
    bad = good.copy()
    bad[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match=r"expected finite annotations, received NaN or infinity in examples \[1\]"):
        search(bad)
    expected, found = search(good), search.predict_on_batch(bad)
    kept = {
        name: [np.asarray(each[name])[[0, 2]] for each in (found, expected)] for name in ("tokens", "lengths", "scores")
    }
    np.testing.assert_array_equal(*kept["tokens"])
    np.testing.assert_array_equal(*kept["lengths"])
    np.testing.assert_allclose(*kept["scores"], rtol=1e-6)  # some processors sum the rows of a batch in other orders
    assert not (found["scores"][1] > -1e9).any()


def test_files(tmp_path):
    model = tiny(backbone="squeezenet1_1", input_shape=(64, 64, 3), alpha=0.125)
    image = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    for whole, inputs in ((model, {"image": image, "target": TARGET}), (captioner(model, BeamRules(3, 6)), image)):
        whole.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        found = again(inputs)
        for name, value in whole(inputs).items():
            np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": None}, "attention must be one of 'additive', 'hard', 'uniform', received None"),
        ({"vocabulary": 2}, "vocabulary must hold padding, begin and end of sentence, received 2"),
        ({"input_shape": (4,)}, r"without a backbone input_shape must be \(locations, size\), received \(4,\)"),
        ({"units": 0}, "units must be a positive integer, received 0"),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        ShowAttendTell(**{"vocabulary": 9, "backbone": None, "input_shape": SHAPE} | changes)
    with pytest.raises(ValueError, match="expected a model that ShowAttendTell built"):
        captioner(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
