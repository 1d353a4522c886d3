"""RNNsearch: counts, the decoder against the paper's appendix in NumPy, searches, files."""

import keras
import numpy as np
import pytest
from harness import assert_kernels_begin_differently, double_precision, without_weights
from keras import ops
from scipy.special import expit, log_softmax, softmax

from keras_segattn.attention import RNNSearch, sampler, translator
from keras_segattn.decoding import BeamRules, SamplingRules
from keras_segattn.losses import SequenceCrossEntropy

# Tolerance for float32 through two recurrent loops, against float64.
TOLERANCE = 1e-4
TINY = {"units": 8, "embedding": 6, "maxout": 5, "alignment": 7}
SOURCE = np.array([[4, 5, 6, 7, 2], [8, 9, 2, 0, 0]], "int32")
TARGET = np.array([[1, 4, 5, 6], [1, 7, 8, 2]], "int32")


def tiny(seed=0, **changes):
    model = RNNSearch(11, 9, **TINY | changes)
    random = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(random.normal(0, 0.6, weight.shape))
    return model


def test_parameters_are_those_of_both_layouts():
    """The numbers are those of specification 3.4, from GroundHog's layer list."""
    sizes = {"units": 1000, "embedding": 620, "maxout": 500, "alignment": 1000}
    with without_weights():
        assert RNNSearch(30001, 30001, **sizes).count_params() == 84_349_101
        assert RNNSearch(30000, 30000, layout="paper", **sizes).count_params() == 80_442_000


@pytest.mark.parametrize("initialization", ["paper", "scaled"])
def test_no_two_kernels_begin_alike(initialization):
    assert_kernels_begin_differently(RNNSearch(11, 9, **TINY, initialization=initialization).trainable_weights)


def gru(x, h, context, kernel, recurrent, bias):
    n = len(h)
    joined = x @ kernel + context
    joined[-len(bias) :] += bias
    z, r = (expit(joined[i * n : (i + 1) * n] + h @ recurrent[:, i * n : (i + 1) * n]) for i in (0, 1))
    return (1 - z) * h + z * np.tanh(joined[2 * n :] + (r * h) @ recurrent[:, 2 * n :])


def appendix(model, source, target):
    """Compute logits and attention weights of one sentence pair word by word, as in the paper's appendix A."""
    get = lambda name: [w.astype("float64") for w in model.get_layer(name).get_weights()]  # noqa: E731
    groundhog = "readout_low_rank" in {layer.name for layer in model.layers}

    def embedded(side, ids):
        table = get(f"{side}_embedding")[0][ids]
        return table + get(f"{side}_embedding_bias")[0] if groundhog else table

    source = source[source != 0]
    x, states = embedded("source", source), {}
    for direction, order in (("forward", range(len(x))), ("backward", reversed(range(len(x))))):
        weights, h, found = get(direction), np.zeros(TINY["units"]), {}
        for j in order:
            h = found[j] = gru(x[j], h, 0, *weights)
        states[direction] = np.stack([found[j] for j in range(len(x))])
    annotations = np.concatenate([states["forward"], states["backward"]], axis=1)
    kernel, bias = get("initial_state")
    s = np.tanh(states["backward"][0] @ kernel + bias)
    named = {w.path.split("/", 1)[1]: w.numpy().astype("float64") for w in model.get_layer("decoder").weights}
    cell = {name.split("/")[-1]: value for name, value in named.items() if "alignment" not in name}
    align = {name.split("/")[-1]: value for name, value in named.items() if "alignment" in name}
    words = embedded("target", target)
    logits, attention = [], []
    for i in range(len(target)):
        hidden = np.tanh(s @ align["query_kernel"] + annotations @ align["key_kernel"])
        alpha = softmax(hidden @ align["score_kernel"][:, 0])
        context = alpha @ annotations
        (u, b), (v,), (c,) = get("readout_state"), get("readout_word"), get("readout_context")
        t = s @ u + b + (words[i] @ v if i else 0) + context @ c
        t = t.reshape(-1, 2).max(axis=1)
        t = t @ get("readout_low_rank")[0] if groundhog else t
        kernel, bias = get("logits")
        logits.append(t @ kernel + bias)
        attention.append(alpha)
        if i + 1 < len(target):  # update the state with the following word and the context it was predicted from
            seen = context @ cell["context_kernel"]
            s = gru(words[i + 1], s, seen, cell["kernel"], cell["recurrent_kernel"], cell["bias"])
    return np.array(logits), np.array(attention)


@pytest.mark.parametrize("layout", ["groundhog", "paper"])
def test_the_paper_s_appendix(layout):
    model = tiny(layout=layout)
    outputs = model({"source": SOURCE, "target": TARGET})
    for i in range(2):
        logits, attention = appendix(model, SOURCE[i], TARGET[i])
        np.testing.assert_allclose(outputs["logits"][i], logits, rtol=TOLERANCE, atol=TOLERANCE)
        words = attention.shape[1]
        np.testing.assert_allclose(outputs["attention"][i, :, :words], attention, atol=TOLERANCE)
        assert not np.asarray(outputs["attention"])[i, :, words:].any()


VARIANTS = [
    *({"attention": attention} for attention in ("additive", "general", "location", "local-m", None)),
    *({"attention": attention, "order": "luong"} for attention in ("general", "local-m", "local-p", None)),
]


# In every run, each attention is searched once, half of them by each search; the rest is thorough.
EVERY_RUN = [("keep", 0), ("keep", 2), ("keep", 7), ("shrink", 1), ("shrink", 4), ("shrink", 6)]
SEARCHES = [
    pytest.param(
        finished,
        variant,
        id="-".join(map(str, (finished, *variant.values()))),
        marks=() if (finished, number) in EVERY_RUN else pytest.mark.thorough,
    )
    for finished in ("keep", "shrink")
    for number, variant in enumerate(VARIANTS)
]


@pytest.mark.parametrize(("finished", "variant"), SEARCHES)
def test_the_search_s_scores_are_the_training_model_s(finished, variant):
    model = tiny(**variant)
    search = translator(model, BeamRules(3, 6, finished))
    found = {name: np.asarray(value) for name, value in search(SOURCE).items()}
    tokens, lengths = found["tokens"].reshape(6, 6), found["lengths"].reshape(6)
    given = {"source": SOURCE.repeat(3, axis=0), "target": np.concatenate([np.ones((6, 1)), tokens[:, :-1]], axis=1)}
    outputs = model(given)
    log = log_softmax(np.asarray(outputs["logits"], "float64"), axis=-1)
    weights = found["attention"].reshape(6, 6, -1)
    for i in range(6):
        score = sum(log[i, t, tokens[i, t]] for t in range(lengths[i]))
        assert found["log_probabilities"].reshape(6)[i] == pytest.approx(score, rel=TOLERANCE)
        np.testing.assert_allclose(weights[i, : lengths[i]], outputs["attention"][i, : lengths[i]], atol=TOLERANCE)
    assert not {0, 1} & set(tokens.ravel())


def test_padding_and_the_rest_of_the_batch_change_nothing():
    search = translator(tiny(), BeamRules(3, 6, normalize="gnmt"))
    found = search(np.pad(SOURCE, [(0, 0), (0, 3)]))
    for i, length in enumerate((5, 3)):
        alone = search(SOURCE[i : i + 1, :length])
        np.testing.assert_array_equal(alone["tokens"][0], found["tokens"][i])
        np.testing.assert_allclose(alone["scores"][0], found["scores"][i], rtol=TOLERANCE)


@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.thorough), 37])
def test_batches_of_any_size(batch):
    found = translator(tiny(), BeamRules(12, 4))(np.resize(SOURCE, (batch, 5)))
    assert found["tokens"].shape == (batch, 12, 4)
    np.testing.assert_array_equal(found["tokens"][0], found["tokens"][batch - 1 - (batch - 1) % 2])


@pytest.mark.parametrize("finished", [pytest.param("keep", marks=pytest.mark.thorough), "shrink"])
def test_a_known_batch_of_open_length(finished):
    """Batches of several lengths give `predict` such a graph."""
    import tensorflow as tf

    search = translator(tiny(), BeamRules(2, 4, finished))
    traced = tf.function(lambda source: search(source)["tokens"], [tf.TensorSpec((2, None), tf.int32)])
    np.testing.assert_array_equal(traced(SOURCE), search(SOURCE)["tokens"])


def test_no_sentences():
    search, draws = translator(tiny(), BeamRules(2, 4)), sampler(tiny(), SamplingRules(4))
    assert search(SOURCE[:0])["tokens"].shape == (0, 2, 4)
    assert draws({"source": SOURCE[:0], "noise": np.zeros((0, 4), "float32")})["tokens"].shape == (0, 4)
    with pytest.raises(ValueError, match="must have at least one step"):
        search(SOURCE[:, :0])


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (
            np.full((2, 4), np.nan, "float32"),
            r"noise in \[0, 1\), received other numbers in examples \[0, 1\]",
        ),
        (np.array([[0.1] * 4, [0.1, -0.1, 1, 0]], "float32"), r"other numbers in examples \[1\]"),
        (np.full((2, 4), 1.5, "float32"), "expected noise"),
        (np.zeros((2, 3), "float32"), r"noise must be \(batch, 4\), received the shape \(2, 3\)"),
        (np.zeros((1, 4), "float32"), r"expected tensors of equal batches, received .*'noise': 1"),
    ],
)
def test_noise_that_cannot_be_looked_up_is_refused(noise, message):
    draws = sampler(tiny(), SamplingRules(4))
    encoded = {"annotations": np.ones((2, 5, 16), "float32"), "state": np.ones((2, 8), "float32")}
    with pytest.raises(ValueError, match=message):
        draws.layers[-1](encoded, noise)


def test_states_of_another_batch_are_not_broadcast():
    layer = translator(tiny(), BeamRules(2, 4)).get_layer("search")
    encoded = {"annotations": np.ones((2, 5, 16), "float32"), "state": np.ones((1, 8), "float32")}
    with pytest.raises(ValueError, match=r"equal batches, received .*'annotations': 2, 'state': 1"):
        layer(encoded)


def test_a_sentence_of_nothing_but_padding_is_finite():
    found = translator(tiny(), BeamRules(2, 4))(np.zeros((1, 5), "int32"))
    assert np.isfinite(found["scores"]).all()
    assert not np.asarray(found["attention"]).any()


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(VARIANTS[2], id="location", marks=pytest.mark.thorough),
        pytest.param(VARIANTS[4], id="None", marks=pytest.mark.thorough),
        pytest.param(VARIANTS[6], id="local-m-luong"),
    ],
)
def test_files(variant, tmp_path):
    model = tiny(**variant, dropout=0.1)
    for whole, inputs in (
        (model, {"source": SOURCE, "target": TARGET}),
        (translator(model, BeamRules(3, 6, forbidden=(3,))), SOURCE),
        (sampler(model, SamplingRules(6)), {"source": SOURCE, "noise": np.full((2, 6), 0.4, "float32")}),
    ):
        whole.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        found = again(inputs)
        for name, value in whole(inputs).items():
            np.testing.assert_array_equal(found[name], value)


def test_metrics_and_losses_of_keras_leave_padding_out():
    model = tiny()
    target = np.array([[1, 4, 5, 6], [1, 7, 0, 0]], "int32")
    following = np.array([[4, 5, 6, 2], [7, 2, 0, 0]], "int32")
    logits = np.asarray(model({"source": SOURCE, "target": target})["logits"], "float64")
    following[0, :3] = logits.argmax(-1)[0, :3]
    counts = target > 0
    assert following[counts].all()
    model.compile(
        "sgd",
        {"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
        metrics={"logits": "sparse_categorical_accuracy"},
        jit_compile=False,
    )
    given = {"logits": following, "attention": following}
    found = model.test_on_batch({"source": SOURCE, "target": target}, given, return_dict=True)
    hits = (logits.argmax(-1) == following)[counts]
    assert 0 < hits.mean() < 1
    assert found["logits_sparse_categorical_accuracy"] == pytest.approx(hits.mean())
    each = -np.take_along_axis(log_softmax(logits, axis=-1), following[..., None], -1)[..., 0]
    assert found["loss"] == pytest.approx(each[counts].mean(), rel=TOLERANCE)


def test_gradients_by_differences():
    with double_precision():
        model = tiny()
        loss = SequenceCrossEntropy(label_smoothing=0.1)
        following = np.array([[4, 5, 6, 2], [7, 8, 2, 0]])

        import tensorflow as tf

        @tf.function
        def value():
            return ops.mean(loss.call(following, model({"source": SOURCE, "target": TARGET})["logits"]))

        with tf.GradientTape() as tape:
            result = value()
        gradients = tape.gradient(result, [w.value for w in model.trainable_weights])
        random = np.random.default_rng(0)
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
            direction = random.normal(size=weight.shape)
            start = weight.numpy()
            ends = []
            for step in (1e-5, -1e-5):
                weight.assign(start + step * direction)
                ends.append(float(value()))
            weight.assign(start)
            difference = (ends[0] - ends[1]) / 2e-5
            found = float(np.sum(tf.convert_to_tensor(gradient).numpy() * direction))
            assert found == pytest.approx(difference, rel=1e-5, abs=1e-7), weight.path


@pytest.mark.thorough
def test_it_learns_to_copy_and_attends_along_the_diagonal():
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    model = RNNSearch(12, 12, units=32, embedding=16, maxout=16, alignment=32, initialization="scaled")
    words = random.integers(4, 12, (512, 5))
    ends, begins = np.full((512, 1), 2), np.full((512, 1), 1)
    inputs = {"source": np.concatenate([words, ends], 1), "target": np.concatenate([begins, words], 1)}
    loss = {"logits": SequenceCrossEntropy()}
    model.compile(keras.optimizers.Adam(1e-2, global_clipnorm=1.0), loss, jit_compile=False)
    history = model.fit(inputs, {"logits": inputs["source"]}, batch_size=64, epochs=12, verbose=0).history["loss"]
    assert history[-1] < 0.1 * history[0]
    attention = np.asarray(model({key: x[:64] for key, x in inputs.items()})["attention"])
    # The location from which the end of the sentence is read does not matter.
    assert (attention[:, :5].argmax(axis=2) == np.arange(5)).mean() > 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": 0}, "units must be a positive integer, received 0"),
        ({"attention": "dot"}, "attention must be one of None, 'additive', 'general', 'location', .* received 'dot'"),
        ({"order": "vaswani"}, "order must be one of 'bahdanau', 'luong', received 'vaswani'"),
        ({"layout": "blocks"}, "layout must be one of 'groundhog', 'paper', received 'blocks'"),
        ({"target_vocabulary": 2}, "target_vocabulary must hold padding, begin and end of sentence, received 2"),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        RNNSearch(**{"source_vocabulary": 11, "target_vocabulary": 9} | TINY | changes)
    with pytest.raises(ValueError, match="expected a model that RNNSearch built, received functional"):
        translator(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="functional"))
