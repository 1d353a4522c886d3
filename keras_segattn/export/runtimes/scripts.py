"""Starts the scripts of this folder, each in its own process."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Most calls from which a latency is measured.
TIMED_CALLS = 30


def run_script(name: str, request: Mapping[str, Any], work: Path) -> subprocess.CompletedProcess[str]:
    """Run a script of this folder in its own process, in which only the imports of the script are loaded.

    Args:
        name: name of the script, without `.py`.
        request: content of the JSON file that is the script's only argument, to which `timed_calls` is added; paths
            become strings.
        work: folder for the JSON file.
    """
    file = work / f"{name}.json"
    file.write_text(json.dumps({**request, "timed_calls": TIMED_CALLS}, default=str), encoding="utf-8")
    # `-P` keeps this folder off the script's import path: its modules have the names of packages, such as openvino.
    command = [sys.executable, "-P", str(Path(__file__).with_name(f"{name}.py")), str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def failure(process: subprocess.CompletedProcess[str]) -> str:
    """Return why a script failed: the last line that it wrote, or else its exit status (negative for a signal)."""
    lines = process.stderr.strip().splitlines()
    if process.returncode < 0 or not lines:
        return f"the process ended with status {process.returncode}"
    return lines[-1]
