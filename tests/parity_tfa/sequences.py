"""A small decoder like that of TensorFlow Addons, built from our layers, and its comparison with Addons."""

import numpy as np
from keras import ops

from keras_segattn.decoding import BeamRules, beam_search
from keras_segattn.layers import AdditiveAttention, AttentionLSTMCell, GeneralAttention, InputFeedingCell

BATCH, LOCATIONS, WIDTH, UNITS, SCORED, ATTENTION, WORDS, VOCABULARY = 4, 7, 6, 8, 5, 9, 3, 11
LENGTH = 10
# (beams, largest number of steps, length penalty, coverage penalty)
SETTINGS = [(k, LENGTH, alpha, beta) for k in (1, 3, 5) for alpha in (0.0, 0.7) for beta in (0.0, 0.3)]
# A dozen float32 steps, each rounded differently on both sides.
TOLERANCE = 1e-4


def inputs():
    random = np.random.default_rng(0)
    shapes = {
        "memory": (BATCH, LOCATIONS, WIDTH),
        "state": (BATCH, UNITS),
        "cell": (BATCH, UNITS),
        "embedding": (VOCABULARY, WORDS),
        "kernel": (WORDS + ATTENTION, 4 * UNITS),
        "recurrent_kernel": (UNITS, 4 * UNITS),
        "bias": (4 * UNITS,),
        "query_kernel": (UNITS, SCORED),
        "memory_kernel": (WIDTH, SCORED),
        "score": (SCORED,),
        "attention_kernel": (UNITS + WIDTH, ATTENTION),
        "output_kernel": (ATTENTION, VOCABULARY),
    }
    arrays = {name: random.normal(0, 0.9, shape).astype("float32") for name, shape in shapes.items()}
    return arrays | {"lengths": np.array([7, 4, 1, 6], "int32")}


def mask(x):
    return np.arange(LOCATIONS) < x["lengths"][:, None]


def weights(x, general_kernel):
    """Return the weights of our additive and our general attention for the state."""
    additive, general = additive_attention(x), GeneralAttention()
    general(x["state"], x["memory"])
    general.kernel.assign(general_kernel)
    return [np.asarray(layer(x["state"], x["memory"], mask(x))["weights"]) for layer in (additive, general)]


def additive_attention(x):
    layer = AdditiveAttention(SCORED)
    layer(x["state"], x["memory"])
    layer.query_kernel.assign(x["query_kernel"])
    layer.key_kernel.assign(x["memory_kernel"])
    layer.score_kernel.assign(x["score"][:, None])
    return layer


def search(x, beams, length, length_penalty, coverage):
    """Search with our cell in Addons' order.

    The cell updates its state and attends; a layer on state and context is fed into the next step.
    """
    attention = additive_attention(x)
    cell = InputFeedingCell(AttentionLSTMCell(UNITS, attention), ATTENTION)
    cell.build((None, WORDS), x["memory"].shape)
    words, fed = np.split(x["kernel"], [WORDS])  # kernels for the words and for the fed-in layer
    cell.cell.kernel.assign(words)
    cell.cell.context_kernel.assign(fed)
    cell.cell.recurrent_kernel.assign(x["recurrent_kernel"])
    cell.cell.bias.assign(x["bias"])
    state, context = np.split(x["attention_kernel"], [UNITS])
    cell.kernel.assign(np.concatenate([context, state]))
    memory = attention.remember(x["memory"], mask(x)).repeated(beams)

    def step(tokens, states):
        words = ops.take(x["embedding"], tokens, axis=0)
        seen, states = cell.attend_and_advance(cell.project(words), states, memory)
        return ops.matmul(states[0], x["output_kernel"]), seen.weights, states

    states = cell.start([ops.repeat(x[name], beams, axis=0) for name in ("state", "cell")], memory)
    rules = BeamRules(beams, length, "keep", "gnmt", length_penalty, coverage)
    found = beam_search(step, states, LOCATIONS, rules, VOCABULARY, 1, 2)
    return np.asarray(found["tokens"]), np.asarray(found["log_probabilities"])


def assert_equal(x, outputs):
    """Check that our search finds the same hypotheses with the same log-probabilities.

    Both sides are sorted first, since Addons does not sort its hypotheses after the last step.
    """
    for number, setting in enumerate(SETTINGS):
        ours, theirs = search(x, *setting), (outputs[f"tokens{number}"], outputs[f"log_probabilities{number}"])
        for example in range(BATCH):
            found, expected = (
                sorted((tuple(map(int, t)), float(p)) for t, p in zip(tokens[example], sums[example], strict=True))
                for tokens, sums in (ours, theirs)
            )
            assert [t for t, _ in found] == [t for t, _ in expected], (setting, example)
            np.testing.assert_allclose([p for _, p in found], [p for _, p in expected], rtol=TOLERANCE)
