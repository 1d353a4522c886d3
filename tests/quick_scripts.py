"""The scripts of `keras_segattn.export.runtimes` without a new import of TensorFlow for each run."""

import json
import subprocess
import sys
from pathlib import Path

from keras_segattn.export.runtimes import scripts


class ForkedScripts:
    """Like `runtimes.scripts.run_script`, in forks of one process, which starts when first called."""

    def __init__(self):
        self.server = None

    def __call__(self, name, request, work):
        return self.run(Path(scripts.__file__).with_name(f"{name}.py"), request, work)

    def run(self, script, request, work):
        """Run a script that takes the path of a JSON file, as a process would."""
        file, errors = work / f"{script.stem}.json", work / f"{script.stem}.stderr"
        file.write_text(json.dumps(request, default=str), encoding="utf-8")
        if self.server is None:
            self.server = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("forked_scripts.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        # Its working folder is the one that it was started in, and paths may be relative to ours.
        print(json.dumps([str(script), str(file), str(errors), str(Path.cwd())]), file=self.server.stdin, flush=True)
        answers = iter(self.server.stdout.readline, "")  # of what is printed there, only the status is ours
        status = next(int(line.split()[1]) for line in answers if line.startswith("status "))
        return subprocess.CompletedProcess(
            script.stem, status, "", errors.read_text(encoding="utf-8", errors="replace")
        )

    def close(self):
        if self.server is not None:
            with self.server:
                self.server.stdin.close()
