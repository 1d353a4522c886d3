import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import training_toys

import keras_segattn

ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(Path(keras_segattn.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
LIMIT = 120  # seconds


def test_killed_training_resumes_to_the_same_weights_bit_for_bit(tmp_path):
    program = [sys.executable, training_toys.__file__]
    with subprocess.Popen([*program, "killed", str(tmp_path)], env=ENVIRONMENT) as process:
        end = time.monotonic() + LIMIT
        while not (tmp_path / "marker").exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        process.kill()  # SIGKILL in the middle of the second of three epochs
    assert (tmp_path / "marker").exists()
    assert not (tmp_path / "resumed" / "model.keras").exists()

    subprocess.run([*program, "resumed", str(tmp_path)], env=ENVIRONMENT, check=True, timeout=LIMIT)
    with (
        np.load(tmp_path / "resumed" / "checkpoint.npz", allow_pickle=False) as resumed,
        np.load(tmp_path / "uninterrupted" / "checkpoint.npz", allow_pickle=False) as uninterrupted,
    ):
        names = [name for name in uninterrupted.files if name != "header"]
        assert len(names) == 17  # weights, moving statistics, dropout's seed, momenta, rate, iteration
        assert sorted(resumed.files) == sorted(uninterrupted.files)
        for name in names:  # equal bit for bit, on a CPU with deterministic operators
            np.testing.assert_array_equal(resumed[name], uninterrupted[name])
    histories = [(tmp_path / run / "history.csv").read_text().splitlines() for run in ("resumed", "uninterrupted")]
    assert histories[0][1] == histories[1][1]  # epoch 1
    assert histories[0][3] == histories[1][3]  # epoch 3; in epoch 2 the resumed run scores only the remaining steps
