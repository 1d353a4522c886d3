"""What the tests of export share."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from keras_segattn.export.mobile import tflite
from keras_segattn.export.runtimes import scripts


class ForkedScripts:
    """Like `runtimes.scripts.run_script`, without importing TensorFlow each time; started when first called."""

    def __init__(self):
        self.server = None

    def __call__(self, name, request, work):
        file, errors = work / f"{name}.json", work / f"{name}.stderr"
        file.write_text(json.dumps(request, default=str), encoding="utf-8")
        if self.server is None:
            self.server = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("forked_scripts.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        script = Path(scripts.__file__).with_name(f"{name}.py")
        print(json.dumps([str(script), str(file), str(errors)]), file=self.server.stdin, flush=True)
        answers = iter(self.server.stdout.readline, "")  # of what is printed there, only the status is ours
        status = next(int(line.split()[1]) for line in answers if line.startswith("status "))
        return subprocess.CompletedProcess(name, status, "", errors.read_text(encoding="utf-8", errors="replace"))

    def close(self):
        if self.server is not None:
            with self.server:
                self.server.stdin.close()


@pytest.fixture(scope="session", autouse=True)
def quick_conversion():
    """`export.tflite` converts in forks of one process that has TensorFlow already; all else runs as users have it."""
    forked = ForkedScripts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tflite, "run_script", forked)
        yield
    forked.close()
