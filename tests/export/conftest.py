"""What the tests of export share."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from keras_segattn.export import scripts


@pytest.fixture(scope="session")
def forked_scripts():
    """Like `export.scripts.run_script`, without importing TensorFlow each time."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("forked_scripts.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:

        def run_script(name, request, work):
            file = work / f"{name}.json"
            file.write_text(json.dumps(request, default=str), encoding="utf-8")
            script = Path(scripts.__file__).with_name(f"{name}.py")
            print(json.dumps([str(script), str(file)]), file=server.stdin, flush=True)
            answers = iter(server.stdout.readline, "")  # of what is printed there, only the status is ours
            status = next(int(line.split()[1]) for line in answers if line.startswith("status "))
            return subprocess.CompletedProcess(name, status, "", "")

        yield run_script


@pytest.fixture
def quick_conversion(forked_scripts, monkeypatch):
    """`export.tflite` converts in a process that has TensorFlow already."""
    # By its module, whose name in the package is the function's.
    monkeypatch.setattr(importlib.import_module("keras_segattn.export.tflite"), "run_script", forked_scripts)
