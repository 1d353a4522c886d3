"""Runs scripts in forks of a process that has loaded TensorFlow, which takes most of the time of a small run.

    python forked_scripts.py tensorflow           # has imported the module
    python forked_scripts.py libtensorflow        # has loaded only the library, as `libtensorflow_run.py` does

From each line of its input it reads a JSON list: script, its argument, a file for its errors, working folder. Each
answer is a line with `status` and the exit status.
"""

import json
import os
import runpy
import sys
import traceback
from pathlib import Path


def run(script: str, argument: str, errors: str, folder: str) -> int:
    """Run a script in a fork and return its exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), sys.stderr.fileno())
        os.chdir(folder)
        sys.argv = [script, argument]
        runpy.run_path(script, run_name="__main__")
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):  # a message, as `sys.exit` takes it
            sys.stderr.write(end.code)
        else:
            status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


# All forks share what is loaded here.
if sys.argv[1] == "tensorflow":
    import tensorflow as tf  # noqa: F401
else:
    runtimes = Path(__file__).parent.parent / "keras_segattn" / "export" / "runtimes"
    library = runpy.run_path(str(runtimes / "libtensorflow_run.py"))["load_library"]()
for line in sys.stdin:
    sys.stdout.write(f"status {run(*json.loads(line))}\n")
    sys.stdout.flush()
