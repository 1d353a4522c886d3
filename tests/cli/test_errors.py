"""The end of a command: errors print one line, signals leave no files behind, TensorFlow's log is discarded."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_segattn import cli

COMMAND = Path(sys.executable).with_name("segattn")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["info", "fcn4s"], 1, "unknown model 'fcn4s'"),
        (["predict", "nothing.keras", "x.png", "-o", "y.png"], 1, "nothing.keras"),
        (["sing"], 2, "No such command"),
        (["verify", "nothing.tflite"], 1, "nothing.tflite"),
        (["export", "nothing.keras", "-o", "x.tflite"], 1, "nothing.keras"),
    ],
)
def test_errors_are_a_line_and_an_exit_code(segattn, arguments, code, message):
    done = segattn(*arguments, code=code)
    assert message in done.err
    assert "Traceback" not in done.err
    if code == 1:
        assert done.err.startswith("error: ")
        assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--debug", "info", "fcn4s"], ["info", "fcn4s", "--debug"]])
def test_debug_shows_the_traceback(monkeypatch, arguments):
    monkeypatch.setattr("sys.argv", ["segattn", *arguments])
    with pytest.raises(ValueError, match="unknown model 'fcn4s'"):
        cli.main()


@pytest.mark.thorough
def test_an_error_of_the_installed_command_is_one_line():
    failed = subprocess.run([COMMAND, "info", "fcn4s"], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: unknown model 'fcn4s'")
    assert len(failed.stderr.splitlines()) == 1


@pytest.mark.thorough
def test_the_installed_command_prints_its_own_lines_only(classifier, photo):
    done = subprocess.run([COMMAND, "predict", classifier, photo], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "probability" in done.stdout
    assert done.stderr == ""


@pytest.mark.thorough
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_nothing_half_written(trained, tmp_path, number, code):
    out = tmp_path / "phone.tflite"
    command = [COMMAND, "export", trained / "model.keras", "-o", out, "--size", "64x64"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.iterdir()) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert list(tmp_path.iterdir()), process.communicate()  # the export has begun to write
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []
