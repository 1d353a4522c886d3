"""Tests for every trainer: resumption after a kill, computation in 16 bits, and the lock of its run directory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import toy_trainings

from keras_segattn.files import FolderInUseError, locked
from keras_segattn.training import CheckpointError

# Every run tries one trainer for each kind of data, since all go through one engine; `make thorough` tries the others.
QUICK = {"segment", "generate", "write"}
EVERY = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.thorough]) for name in toy_trainings.TRAINERS]
# Every run kills a training with compiled steps, and one whose steps run eagerly.
KILLED_IN_EVERY_RUN = {("segment", False), ("write", True)}
KILLED = [
    pytest.param(
        name,
        eagerly,
        id=f"{name}-{'eager' if eagerly else 'compiled'}",
        marks=[] if (name, eagerly) in KILLED_IN_EVERY_RUN else [pytest.mark.thorough],
    )
    for name in toy_trainings.TRAINERS
    for eagerly in (True, False)
]

# Two trainings of a detector from the same seed may differ by rounding, from the first epoch on (2e-9 in a loss): sums
# depend on the threads there. All random states are equal.
ROUNDED = {"regions", "cascade"}
ROUNDING = 1e-5


def arrays(file):
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name != "header"}


@pytest.mark.parametrize(("trainer", "eagerly"), KILLED)
def test_a_killed_training_ends_as_an_uninterrupted_one(trainer, eagerly, forked_scripts, tmp_path):
    request = {"trainer": trainer, "folder": str(tmp_path), "eagerly": eagerly}
    done = forked_scripts.run(Path(toy_trainings.__file__), request, tmp_path)
    assert done.returncode == 0, done.stderr
    resumed, whole = (arrays(tmp_path / run / "checkpoint.npz") for run in ("resumed", "whole"))
    assert len(whole) > 3
    assert resumed.keys() == whole.keys()
    for name, array in whole.items():
        if trainer in ROUNDED:
            np.testing.assert_allclose(resumed[name], array, rtol=ROUNDING, atol=ROUNDING)
        else:
            np.testing.assert_array_equal(resumed[name], array)
    histories = [(tmp_path / run / "history.csv").read_text().splitlines() for run in ("resumed", "whole")]
    assert len(histories[1]) == 1 + toy_trainings.EPOCHS
    # In the second epoch, the resumed run may log only the remaining steps.
    for epoch in () if trainer in ROUNDED else (1, 3):
        assert histories[0][epoch] == histories[1][epoch]
    names = ({path.name for path in (tmp_path / run).iterdir()} for run in ("resumed", "whole"))
    assert next(names) == next(names)


@pytest.mark.parametrize("trainer", EVERY)
def test_16_bits_are_for_the_computation_only(trainer, tmp_path):
    seen = set()

    class Policies(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
            seen.update(layer.compute_dtype for layer in self.model._flatten_layers())

    model = toy_trainings.TRAINERS[trainer](
        epochs=1, run_dir=tmp_path, mixed_precision="mixed_bfloat16", callbacks=[Policies()], progress=False
    )
    assert "bfloat16" in seen
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    saved = keras.saving.load_model(tmp_path / "model.keras")
    assert {layer.compute_dtype for layer in saved.layers} == {"float32"}
    for have, want in zip(saved.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(have, want)


@pytest.mark.thorough
def test_two_replicas_train_alike_or_are_refused():
    # oneDNN's kernels corrupt memory when two logical devices of one processor run them at once.
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0"}
    program = [sys.executable, toy_trainings.__file__, "replicas"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    refused = {name for name, result in found.items() if "refused" in result}
    # Their losses compare all examples of a batch, or a running mean of all.
    assert refused == {"write_hard", "generate", "co_localise"}
    assert all("on one device, received MirroredStrategy" in found[name]["refused"] for name in refused)
    for name in set(found) - refused:
        assert found[name] == {"finite": True, "apart": 0.0}, name


def test_a_run_directory_is_for_one_process(tmp_path):
    with locked(tmp_path), pytest.raises(FolderInUseError, match=r"is in use by process \d+"):
        toy_trainings.segment(epochs=1, run_dir=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())
    toy_trainings.segment(epochs=1, run_dir=tmp_path, progress=False)
    assert not (tmp_path / ".lock").exists()


def test_more_epochs_of_a_schedule_are_refused_in_the_user_s_words(tmp_path):
    settings = {"run_dir": tmp_path, "recipe": "adamw-cosine", "progress": False}
    toy_trainings.segment(epochs=1, **settings)
    with pytest.raises(CheckpointError, match=r"epochs: 1 in .*checkpoint.npz, 2 now, and its learning rate falls"):
        toy_trainings.segment(epochs=2, **settings)
    toy_trainings.segment(epochs=2, resume=False, **settings)
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 3
