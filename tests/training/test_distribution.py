import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import training_toys

import keras_segattn
from keras_segattn.training.distribution import KERAS_INTERNALS, is_chief, is_multi_worker, replicated_model

# float32 sums over two replicas are taken in another order; in a few steps of a small network, differences stay below.
TOLERANCE = 1e-6
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(Path(keras_segattn.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
LIMIT = 120  # seconds


def check_equal_to_one_device(facts):
    np.testing.assert_allclose(facts["distributed"]["weights"], facts["single"]["weights"], atol=TOLERANCE)
    assert facts["distributed"]["history"].keys() == facts["single"]["history"].keys()
    for name, values in facts["single"]["history"].items():
        assert facts["distributed"]["history"][name] == pytest.approx(values, rel=1e-4), name
    for replica in facts["replicas"]:
        assert np.isfinite(replica).all()
        assert replica == facts["replicas"][0]  # moving statistics included


@pytest.mark.thorough
def test_two_replicas_equal_one_device(tmp_path):
    subprocess.run(
        [sys.executable, training_toys.__file__, "mirrored", str(tmp_path)],
        env=ENVIRONMENT,
        check=True,
        timeout=LIMIT,
    )
    check_equal_to_one_device(json.loads((tmp_path / "mirrored.json").read_text()))


@pytest.mark.thorough
def test_two_workers_equal_one_device_and_only_the_chief_writes(tmp_path):
    with socket.socket() as one, socket.socket() as two:
        for port in (one, two):
            port.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{port.getsockname()[1]}" for port in (one, two)]
    processes = [
        subprocess.Popen(
            [sys.executable, training_toys.__file__, "worker", str(tmp_path)],
            env=ENVIRONMENT
            | {"TF_CONFIG": json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": i}})},
        )
        for i in range(2)
    ]
    try:
        assert [process.wait(LIMIT) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    facts = [json.loads((tmp_path / f"worker{i}.json").read_text()) for i in range(2)]
    check_equal_to_one_device(facts[0])
    for part in ("distributed", "replicas"):
        assert facts[0][part] == facts[1][part]  # both workers have identical weights and histories
    assert (tmp_path / "worker0" / "distributed" / "model.keras").exists()
    assert not (tmp_path / "worker1" / "distributed").exists()


def test_single_process_is_its_own_chief():
    for strategy in (None, tf.distribute.get_strategy(), keras.Sequential().distribute_strategy):
        assert is_chief(strategy)
        assert not is_multi_worker(strategy)


@pytest.mark.parametrize("name", KERAS_INTERNALS)
def test_a_keras_without_the_internals_is_named(name, monkeypatch):
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs))
    batch = np.zeros((2, 4, 4, 3), "float32"), np.zeros((2, 4, 4), "int32")
    assert [part.shape for part in replicated_model(model, batch).symbolic_batch] == [(2, 4, 4, 3), (2, 4, 4)]
    owner = next(kind for kind in keras.Model.__mro__ if name in vars(kind))
    monkeypatch.delattr(owner, name)
    with pytest.raises(RuntimeError, match=rf"needs keras\.Model\.{name} of .* Keras {keras.__version__} lacks"):
        replicated_model(model, batch)
