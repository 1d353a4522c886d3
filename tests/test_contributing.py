"""CONTRIBUTING.md is true: its map shows the package, and its toy architecture works without another line."""

import ast
import importlib
import json
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_segattn as ks
from keras_segattn import export, registry
from keras_segattn.application import save

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MODULE, USE = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
WORDS = ["<pad>", "<bos>", "<eos>", "<unk>", "what", "colour", "is", "the", "cat", *map(str, range(11))]
LABELS = ["red", "blue", "grey", "none"]
# Rounding of float32 sums in another order, through a softmax.
TOLERANCE = 1e-5

pytestmark = pytest.mark.xdist_group("contributing")


def house_map():
    """Return a table with a row for every module and folder of the package and the first paragraph of its docstring."""
    rows = []
    for path in sorted((ROOT / "keras_segattn").iterdir()):
        file = path / "__init__.py" if path.is_dir() else path
        if path.name.startswith("__") or file.suffix != ".py" or not file.is_file():
            continue
        first = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))).split("\n\n")[0].replace("\n", " ")
        rows.append(f"| `{path.name}{'/' if path.is_dir() else ''}` | {first} |")
    return "\n".join(rows)


def test_the_map_is_the_house():
    assert GUIDE.split("<!-- map -->")[1].split("<!-- /map -->")[0].strip() == house_map()


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Write the guide's module as a package of its own, outside of ours, and import it; unload it afterwards."""
    folder = tmp_path_factory.mktemp("toy")
    package = folder / "toy_package"
    package.mkdir()
    (package / "toy_answers.py").write_text(MODULE, encoding="utf-8")
    (package / "__init__.py").write_text("from toy_package.toy_answers import ToyAnswers\n", encoding="utf-8")
    sys.path.insert(0, str(folder))
    importlib.import_module("toy_package")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / "photo.png")
    yield folder
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.startswith("toy_package")]:
        del sys.modules[name]
    del registry._CARDS["ToyAnswers"]


@pytest.fixture(scope="module")
def stored(toy):
    """Store the toy in all three forms; return them with the answers of the model itself."""
    keras.utils.set_random_seed(0)
    model = ks.ToyAnswers()
    facts = ks.facts_of(model, labels=LABELS, vocabularies={"question": WORDS})
    save(model, toy / "toy.keras", facts=facts)
    sizes = {"question": (6,)}
    reports = [
        export.saved_model(model, toy / "models", facts=facts),
        export.tflite(model, toy / "toy.tflite", facts=facts, sizes=sizes),
    ]
    return {"model": model, "facts": facts, "reports": reports, "folder": toy}


def probabilities(result):
    return [guess.probability for guess in sorted(result.places[0], key=lambda guess: guess.index)]


def test_the_toy_is_short_and_its_card_is_true(toy):
    assert len(MODULE.splitlines()) < 60
    card = ks.model_card("toy-answers")
    assert card.name in ks.list_models()
    assert card.name in ks.__all__
    assert ks.ToyAnswers is card.builder
    assert (
        f"| `{card.name}` | toy_package | classify | image (picture), question (tokens) |" in registry.markdown_table()
    )
    assert card.builder(**card.published).count_params() == card.parameters


def test_both_profiles_are_verified_on_plausible_questions(stored):
    served, phone = stored["reports"]
    assert served.passed
    assert phone.passed
    assert phone.flex_operators == ()
    assert served.signatures["serving_default"]["inputs"] == {
        "image": "uint8[?, 32, 32, 3]",
        "question": "int32[?, ?]",
    }


@pytest.mark.parametrize("form", ["toy.keras", "models/toy_answers", "models/toy_answers/1", "toy.tflite"])
def test_every_form_opens_and_agrees_with_the_model(stored, form):
    photo, question = stored["folder"] / "photo.png", "what colour is the cat"
    application = ks.load(stored["folder"] / form)
    assert application.facts.card == "ToyAnswers"
    assert application.facts.labels == tuple(LABELS)
    found = application.predict(photo, question, top=4)
    expected = ks.load(stored["model"], labels=LABELS, vocabularies={"question": WORDS}).predict(photo, question, top=4)
    assert [row[0] for row in found.rows()] == [row[0] for row in expected.rows()]
    other = application.predict(photo, "the the the", top=4)
    np.testing.assert_allclose(probabilities(found), probabilities(expected), atol=TOLERANCE)
    assert not np.allclose(probabilities(other), probabilities(found))


def test_int8_is_what_the_card_claims(stored):
    prepared = export.preparation.prepared(stored["model"], stored["facts"], None, {"question": (6,)}, batch=1)
    drawn = [export.preparation.drawn(prepared, 1, seed, pixels=False)["serving_default"] for seed in range(8)]
    calibration = {"serving_default": {name: np.concatenate([one[name] for one in drawn]) for name in drawn[0]}}
    report = export.tflite(
        stored["model"],
        stored["folder"] / "int8.tflite",
        facts=stored["facts"],
        quantize="int8",
        calibration=calibration,
        sizes={"question": (6,)},
    )
    assert report.passed


def test_the_command_line_takes_it_too(stored, segattn):
    folder = stored["folder"]
    assert "ToyAnswers" in segattn("list", "--family", "toy_package").out
    assert "question" in segattn("info", "toy_answers").out
    options = ("--input", "question=what colour is the cat", "--json")
    lines = [
        json.loads(segattn("predict", folder / form, folder / "photo.png", *options).out)
        for form in ("toy.keras", "models/toy_answers", "toy.tflite")
    ]
    assert lines[0]["classes"][0]["name"] in LABELS
    assert len({line["classes"][0]["name"] for line in lines}) == 1
    assert "question" in segattn("predict", folder / "toy.keras", folder / "photo.png", code=1).err


def test_a_process_that_never_saw_the_toy_opens_what_was_exported(stored, forked_scripts, monkeypatch):
    folder = stored["folder"]
    (folder / "open_all.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "import keras_segattn as ks\n"
        "assert 'ToyAnswers' not in ks.list_models()\n"
        "with open('answers.txt', 'w') as file:\n"
        "    for form in ('toy.keras', 'models/toy_answers', 'toy.tflite'):\n"
        "        print(ks.load(form).predict('photo.png', 'what colour is the cat').rows()[1][0], file=file)\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(folder)
    done = forked_scripts.run(folder / "open_all.py", {}, folder)
    assert done.returncode == 0, done.stderr
    answers = (folder / "answers.txt").read_text(encoding="utf-8").split()
    assert len(answers) == 3
    assert len(set(answers)) == 1


def test_the_guide_s_example_runs(toy, monkeypatch, capsys):
    monkeypatch.chdir(toy)
    (toy / "toy.tflite").unlink(missing_ok=True)
    exec(compile(USE, "CONTRIBUTING.md", "exec"), {})  # noqa: S102 - our own text
    assert "probability" in capsys.readouterr().out
