"""The scripts of this folder, each run in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def run_script(name: str, request: Mapping[str, Any], work: Path) -> subprocess.CompletedProcess[str]:
    """Run a script of this folder, by its path, in a process that sees only what it imports itself.

    Args:
        name: of the script, without `.py`.
        request: what it reads from the JSON file that is its one argument; paths become strings.
        work: folder for that file.
    """
    file = work / f"{name}.json"
    file.write_text(json.dumps(request, default=str), encoding="utf-8")
    # -P keeps this folder, whose modules are named after other packages, off the script's import path.
    command = [sys.executable, "-P", str(Path(__file__).with_name(f"{name}.py")), str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def failure(process: subprocess.CompletedProcess[str]) -> str:
    """Why a script ended: the last line it wrote, or the signal that ended it."""
    lines = process.stderr.strip().splitlines()
    if process.returncode < 0 or not lines:
        return f"the process ended with status {process.returncode}"
    return lines[-1]
