"""Comparison of our counterparts of TensorFlow Addons with Addons itself, and with recorded outputs of Addons.

`RECORD_FIXTURES=1 pytest -m parity tests/parity_tfa` records the outputs again, for the test that needs no Addons.
"""

import functools
import os

import numpy as np
import pytest
from parity_tfa import monotonic, sequences, sigmoid_focal, warps
from parity_tfa.oracle import addons_process, record, recorded, run_tfa

# One worker runs these tests, and imports TensorFlow for Addons once.
pytestmark = pytest.mark.xdist_group("addons")


@pytest.fixture(scope="module")
def addons():
    """Return `run_tfa` with a process that all tests share."""
    process = addons_process()
    yield functools.partial(run_tfa, process)
    process.close()


@pytest.mark.parity
def test_sigmoid_focal_cross_entropy(addons, tmp_path):
    inputs = sigmoid_focal.inputs()
    outputs = addons("losses.SigmoidFocalCrossEntropy", inputs, settings=sigmoid_focal.SETTINGS)
    sigmoid_focal.assert_equal(inputs, outputs, sigmoid_focal.SETTINGS)
    file = sigmoid_focal.FIXTURE if os.environ.get("RECORD_FIXTURES") else tmp_path / "recorded.npz"
    record(file, inputs, outputs, settings=sigmoid_focal.SETTINGS, seed=sigmoid_focal.SEED)
    again, _, provenance = recorded(file)
    assert again.keys() == inputs.keys()
    assert provenance["tensorflow-addons"] == "0.23.0"


def test_sigmoid_focal_cross_entropy_as_recorded():
    inputs, outputs, provenance = recorded(sigmoid_focal.FIXTURE)
    assert len(outputs["losses"]) == len(provenance["settings"]) >= 10
    sigmoid_focal.assert_equal(inputs, outputs, provenance["settings"])


@pytest.mark.parity
def test_beam_search(addons):
    x = sequences.inputs()
    sequences.assert_equal(x, addons("seq2seq.BeamSearchDecoder", x, settings=sequences.SETTINGS))


@pytest.mark.parity
def test_attention(addons):
    x = sequences.inputs()
    names = ("memory", "lengths", "query_kernel", "memory_kernel", "score")
    general = np.random.default_rng(1).normal(size=(sequences.WIDTH, sequences.UNITS)).astype("float32")
    given = {name: x[name] for name in names} | {"query": x["state"], "general_kernel": general}
    outputs = addons("seq2seq.attention", given)
    for ours, theirs in zip(sequences.weights(x, general), (outputs["bahdanau"], outputs["luong"]), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parity
def test_monotonic_attention(addons):
    random = np.random.default_rng(0)
    scores = random.normal(0, 2, (5, 9)).astype("float32")
    previous = random.dirichlet(np.ones(9), 5).astype("float32")
    outputs = addons("seq2seq.monotonic_attention", {"probabilities": 1 / (1 + np.exp(-scores)), "previous": previous})
    for mode in ("recursive", "parallel"):
        np.testing.assert_allclose(monotonic.stopping(scores, previous), outputs[mode], atol=1e-6)
    first = np.eye(9, dtype="float32")[previous.argmax(1)]
    np.testing.assert_allclose(monotonic.stopping(scores, first, hard=True), outputs["hard"], atol=1e-6)


@pytest.mark.parity
def test_warps(addons):
    x = warps.inputs()
    warps.assert_equal(x, addons("image.warps", x))


@pytest.mark.parity
def test_a_failing_oracle_says_why(addons):
    with pytest.raises(RuntimeError, match=r"(?s)failed in TensorFlow Addons.*KeyError: 'losses.Unknown'"):
        addons("losses.Unknown", {})
