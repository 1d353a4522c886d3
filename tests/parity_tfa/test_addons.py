"""Our counterparts of TensorFlow Addons against Addons itself, which needs a process of its own.

`RECORD_FIXTURES=1` also writes what Addons said, for the tests that run where it is not installed.
"""

import os

import pytest
from parity_tfa import sigmoid_focal
from parity_tfa.oracle import record, recorded, run_tfa


@pytest.mark.parity
def test_sigmoid_focal_cross_entropy(tmp_path):
    inputs = sigmoid_focal.inputs()
    outputs = run_tfa("losses.SigmoidFocalCrossEntropy", inputs)
    sigmoid_focal.assert_equal(inputs, outputs)
    file = sigmoid_focal.FIXTURE if os.environ.get("RECORD_FIXTURES") else tmp_path / "recorded.npz"
    record(file, inputs, outputs, sigmoid_focal.SEED)
    sigmoid_focal.assert_equal(*recorded(file))


@pytest.mark.parity
def test_a_failing_oracle_says_why():
    with pytest.raises(RuntimeError, match=r"(?s)failed in TensorFlow Addons.*KeyError: 'losses.Unknown'"):
        run_tfa("losses.Unknown", {})
