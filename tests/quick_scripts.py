"""Runs the scripts of `keras_segattn.export.runtimes` without a new import of TensorFlow for each run."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from keras_segattn.export.mobile import verification as mobile
from keras_segattn.export.runtimes import scripts
from keras_segattn.export.runtimes.openvino import run_openvino
from keras_segattn.export.serving import verification as serving

TIMED_CALLS = scripts.TIMED_CALLS


@contextlib.contextmanager
def verified_by(openvino=run_openvino, timed_calls=TIMED_CALLS):
    """Verify exports with this runner of OpenVINO and so many timed calls; the defaults are what users have."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (mobile, serving):
            patch.setattr(module, "run_openvino", openvino)
        patch.setattr(scripts, "TIMED_CALLS", timed_calls)
        yield


class ForkedScripts:
    """A replacement of `runtimes.scripts.run_script` that uses forks of one process, started by the first call.

    Args:
        environment: environment of the process; `None` takes that of this process.
        loaded: what the process has loaded, see `forked_scripts.py`.
    """

    def __init__(self, environment=None, loaded="tensorflow"):
        self.server, self.environment, self.loaded = None, environment, loaded

    def __call__(self, name, request, work):
        timed = {"timed_calls": scripts.TIMED_CALLS}
        return self.run(Path(scripts.__file__).with_name(f"{name}.py"), {**request, **timed}, work)

    def run(self, script, request, work):
        """Run a script that takes the path of a JSON file, as a process would."""
        file, errors = work / f"{script.stem}.json", work / f"{script.stem}.stderr"
        file.write_text(json.dumps(request, default=str), encoding="utf-8")
        if self.server is None:
            self.server = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("forked_scripts.py")), self.loaded],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        # The process keeps the working folder in which it was started, and paths may be relative to the current one.
        print(json.dumps([str(script), str(file), str(errors), str(Path.cwd())]), file=self.server.stdin, flush=True)
        answers = iter(self.server.stdout.readline, "")  # other lines were printed by scripts
        status = next(int(line.split()[1]) for line in answers if line.startswith("status "))
        return subprocess.CompletedProcess(
            script.stem, status, "", errors.read_text(encoding="utf-8", errors="replace")
        )

    def close(self):
        if self.server is not None:
            with self.server:
                self.server.stdin.close()
