"""The README promises only what exists."""

import re
from pathlib import Path

import pytest

import keras_segattn
from keras_segattn.registry import markdown_table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_model_table_is_generated():
    table = README.split("<!-- models -->")[1].split("<!-- /models -->")[0].strip()
    assert table == markdown_table()


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake (demo|test|parity|[a-z]+)\b(?= |`)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_pictures_exist():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)


EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("code", EXAMPLES, ids=[f"example {number}" for number in range(len(EXAMPLES))])
def test_examples_use_public_names(code):
    compile(code, "README.md", "exec")
    for package, name in re.findall(r"\b(ks|data|training|export)\.([A-Za-z_0-9]+)", code):
        module = keras_segattn if package == "ks" else getattr(keras_segattn, package)
        assert hasattr(module, name), f"{package}.{name}"
