"""Settings shared by all tests."""

import inspect
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import pytest
import tensorflow as tf


def pytest_collection_modifyitems(config, items):
    """Leave out the cases of `of_cards(condition)` whose card and other parameters do not satisfy it.

    Cards of one module for one task differ only in sizes. Tests that are not marked `every_sibling` are therefore
    marked `thorough` for all of them but the last, and for the cards that `GUARDED` gives a guard.
    On JAX, so are tests that are marked `slow_on_jax`.
    """
    chosen, others = [], []
    for item in items:
        slow = keras.backend.backend() == "jax" and item.get_closest_marker("slow_on_jax") is not None
        if slow or (_is_sibling(item) and item.get_closest_marker("every_sibling") is None):
            item.add_marker(pytest.mark.thorough)
        (chosen if all(_satisfies(item, *mark.args) for mark in item.iter_markers("of_cards")) else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = chosen


def _is_sibling(item):
    """Whether a test is for a card that another card of its module, or its guard, represents."""
    from harness import GUARDED, REPRESENTATIVES

    from keras_segattn.registry import Card, list_models

    card = getattr(item, "callspec", None) and item.callspec.params.get("card")
    name = card.name if isinstance(card, Card) else card
    return name in list_models() and name not in REPRESENTATIVES - set(GUARDED)


def _satisfies(item, condition):
    from keras_segattn import model_card

    parameters = {**item.callspec.params, "card": model_card(item.callspec.params["card"])}
    return condition(**{name: parameters[name] for name in inspect.signature(condition).parameters})


def pytest_sessionfinish(session):
    """Fail if fewer tests passed than the environment's `MINIMUM_TESTS`."""
    least = int(os.environ.get("MINIMUM_TESTS", "0"))
    if least and not hasattr(session.config, "workerinput"):  # each worker of xdist counts only its part
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        passed = len(reporter.stats.get("passed", ()))
        if passed < least:
            reporter.write_line(f"\n{passed} tests passed, fewer than MINIMUM_TESTS={least}", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def _fresh_keras():
    """Start every test with the same seed, names of layers and precision.

    Keras would also make TensorFlow forget its kernels, twice. Making them again takes milliseconds for each operator.
    They hold no state here, because no test draws from TensorFlow's own random numbers.
    """
    keras.config.set_dtype_policy("float32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf, "executing_eagerly", lambda: False)  # else Keras clears the kernels
        keras.utils.clear_session(free_memory=False)
        patch.setattr(tf.random, "set_seed", lambda _: None)
        keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def forked_scripts():
    """Runs scripts in forks of one process that has TensorFlow already."""
    from quick_scripts import ForkedScripts

    forked = ForkedScripts()
    yield forked
    forked.close()


@pytest.fixture(scope="session", autouse=True)
def quick_runs(forked_scripts):
    """Let exports convert, and run SavedModels, in forked scripts; all else runs as users have it."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    from quick_scripts import ForkedScripts

    from keras_segattn.export.mobile import tflite
    from keras_segattn.export.runtimes import libtensorflow

    forked = ForkedScripts(loaded="libtensorflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tflite, "run_script", forked_scripts)
        patch.setattr(libtensorflow, "run_script", forked)
        yield
    forked.close()


@pytest.fixture(scope="session", autouse=True)
def quick_verification():
    """Let exports be verified without OpenVINO, and with one timed call, except within `all_runtimes`."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    from quick_scripts import verified_by

    with verified_by(openvino=lambda *_: None, timed_calls=1):
        yield


@pytest.fixture(scope="session")
def all_runtimes(quick_verification):
    """Return a context in which exports are verified as users have it: in OpenVINO too, with many timed calls."""
    from quick_scripts import verified_by

    return verified_by


@pytest.fixture(scope="session")
def written_models(tmp_path_factory):
    """Return tiny sequence models, exported for servers, see `sequence_exports.WrittenModels`."""
    from sequence_exports import WrittenModels

    return WrittenModels(tmp_path_factory.mktemp("written"))


@pytest.fixture
def segattn(monkeypatch, capsys):
    """Run the command in this process: importing TensorFlow for each call would take most of the time."""

    from keras_segattn import cli

    def run(*arguments, code=0):
        monkeypatch.setattr("sys.argv", ["segattn", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        done = capsys.readouterr()
        assert (exit_.value.code or 0) == code, done.out + done.err
        return done

    return run
