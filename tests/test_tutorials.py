"""The tutorials run as they stand."""

import inspect
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import keras_segattn

TUTORIALS = sorted((Path(__file__).parent.parent / "tutorials").glob("*.py"))
# Last words of a tutorial if its files agree with the model.
SAID = {
    "migrate_from_tensorflow_addons": "the same sentence from every file",
    "segment_your_own_pictures": "same class as Keras",
}
ADDONS = next(path for path in TUTORIALS if "addons" in path.stem).read_text(encoding="utf-8")


@pytest.mark.parity
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial(tutorial, tmp_path):
    done = subprocess.run(
        [sys.executable, tutorial],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert SAID[tutorial.stem] in done.stdout


def test_every_new_name_for_addons_exists_with_its_arguments():
    rows = re.findall(r"^# \| (`.+) \| (.+) \|$", ADDONS, flags=re.MULTILINE)
    assert len(rows) > 15
    used = [
        call for _, new in rows for call in re.findall(r"\b((?:layers|decoding|losses|data)\.\w+)(?:\(([^`]*)\))?", new)
    ]
    assert len(used) > 15
    for name, arguments in used:
        package, _, attribute = name.partition(".")
        found = getattr(import_module(f"keras_segattn.{package}"), attribute)
        names = re.findall(r"(\w+)=", arguments)
        inspect.signature(found).bind_partial(**dict.fromkeys(names))


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_tutorials_use_public_names(tutorial):
    code = tutorial.read_text(encoding="utf-8")
    compile(code, str(tutorial), "exec")
    for package, name in re.findall(
        r"(?<![.\w])(ks|data|decoding|export|layers|losses|training|visualize)\.([A-Za-z_]\w*)", code
    ):
        module = keras_segattn if package == "ks" else import_module(f"keras_segattn.{package}")
        assert hasattr(module, name), f"{package}.{name}"
