"""Settings shared by all tests."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import pytest


@pytest.fixture(autouse=True)
def _fresh_keras():
    """Every test starts from the same seed, names and precision."""
    keras.config.set_dtype_policy("float32")
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def written_models(tmp_path_factory):
    """A folder of tiny sequence models for servers, `speller` and `describer`, and the Keras models with reports."""
    import sequence_exports

    return sequence_exports.write(tmp_path_factory.mktemp("written"))


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
