from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training_toys import toy_model

from keras_segattn.training import CaffeSGD, CheckpointError
from keras_segattn.training.checkpoint import Progress, load_checkpoint, save_checkpoint

PROGRESS = Progress(2, 3, ({"loss": 1.5}, {"loss": 1.25}), 0.5, {"ignore_label": 255})


def trained(seed, **arguments):
    keras.utils.set_random_seed(seed)
    model = toy_model(**arguments)
    optimizer = CaffeSGD(0.1)
    optimizer.build(model.trainable_variables)
    for variable in optimizer.variables[2:]:
        variable.assign(np.random.default_rng(seed).normal(size=variable.shape))
    return model, optimizer


def state(model, optimizer):
    return [keras.ops.convert_to_numpy(v.value) for v in [*model.variables, *optimizer.variables]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.npz"
    model, optimizer = trained(0)
    save_checkpoint(path, model, optimizer, PROGRESS)
    return path, state(model, optimizer)


def test_round_trip_restores_everything(saved):
    path, expected = saved
    model, optimizer = trained(1)
    assert any(not np.array_equal(a, b) for a, b in zip(state(model, optimizer), expected, strict=True))
    assert load_checkpoint(path, model, optimizer, PROGRESS.settings) == PROGRESS
    for a, b in zip(state(model, optimizer), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [p.name for p in path.parent.iterdir()] == ["checkpoint.npz"]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.999), flip=st.booleans())
def test_damage_is_noticed_and_nothing_is_loaded(saved, tmp_path, share, flip):
    content = bytearray(saved[0].read_bytes())
    damaged = tmp_path / "checkpoint.npz"
    if flip:  # within the numbers of the second array
        content[content.index(b"00001.npy") + 200] ^= 0xFF
    damaged.write_bytes(content if flip else content[: int(share * len(content))])
    model, optimizer = trained(1)
    before = state(model, optimizer)
    with pytest.raises(CheckpointError, match=r"checkpoint\.npz is truncated, corrupt or no checkpoint"):
        load_checkpoint(damaged, model, optimizer, PROGRESS.settings)
    for a, b in zip(state(model, optimizer), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_model_or_optimizer(saved):
    with pytest.raises(
        CheckpointError, match=r"checkpoint\.npz belongs to another model .*score/kernel \(1, 1, 4, 3\)"
    ):
        load_checkpoint(saved[0], *trained(0, classes=5), PROGRESS.settings)
    model, _ = trained(0)
    adam = keras.optimizers.Adam()
    adam.build(model.trainable_variables)
    with pytest.raises(CheckpointError, match="another model or optimizer"):
        load_checkpoint(saved[0], model, adam, PROGRESS.settings)


def test_other_settings(saved):
    with pytest.raises(CheckpointError, match="ignore_label: 255 in the file, 0 now"):
        load_checkpoint(saved[0], *trained(0), {"ignore_label": 0})


def test_only_the_settings_that_changed_are_named_and_before_any_variable(saved, tmp_path):
    rates = [{"optimizer": {"config": {"learning_rate": rate, "momentum": 0.9}}} for rate in (0.1, 0.2)]
    save_checkpoint(tmp_path / "checkpoint.npz", *trained(0), replace(PROGRESS, settings=rates[0]))
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(tmp_path / "checkpoint.npz", *trained(0, classes=5), rates[1])
    assert "(optimizer.config.learning_rate: 0.1 in the file, 0.2 now)" in str(error.value)


def test_of_many_settings_that_changed_the_first_three_are_named(saved):
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(saved[0], *trained(0), {"ignore_label": 255} | {f"setting{i}": i for i in range(100)})
    text = str(error.value)
    assert "(setting0: None in the file, 0 now; setting1: " in text
    assert text.count(" in the file") == 3
    assert "; 97 more)" in text
