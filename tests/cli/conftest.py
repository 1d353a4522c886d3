"""Models and pictures for the tests of several commands."""

import json

import numpy as np
import pytest
from harness import randomise, tiny_model
from PIL import Image

import keras_segattn as ks
from keras_segattn import weights
from keras_segattn.application import save

# Arguments of the small segmentation model's builder.
SEGMENTER = {"backbone": "squeezenet1_1", "classes": 3, "alpha": 0.125}


def pytest_collection_modifyitems(items):
    """Run all tests of the command in one worker, so that their files are made once.

    Tests that read the written models of `tests/export/test_saved_sequences.py` run in that file's worker instead.
    """
    for item in items:
        if "tests/cli/" in item.nodeid and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group("cli"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Make a folder with a small segmentation model of three named classes, its weight file, pictures and masks."""
    folder = tmp_path_factory.mktemp("trained")
    model = ks.FCN8s(**SEGMENTER)
    randomise(model)
    save(model, folder / "model.keras", facts=ks.facts_of(model, labels=["sea", "land", "lake"]))
    weights.save(model, folder / "model.safetensors")
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for i in range(8):
        Image.fromarray(rng.integers(0, 255, (40, 56, 3), dtype=np.uint8)).save(folder / "images" / f"{i}.png")
        Image.fromarray(rng.integers(0, 3, (40, 56), dtype=np.uint8)).save(folder / "masks" / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def photo(trained):
    return trained / "images" / "0.png"


@pytest.fixture(scope="session")
def classifier(tmp_path_factory):
    """Make a small classifier with seven classes without names."""
    path = tmp_path_factory.mktemp("classifier") / "model.keras"
    model = ks.SqueezeNet1_1(input_shape=(33, 33, 3), classes=7, alpha=0.125)
    randomise(model)
    model.save(path)
    return path


@pytest.fixture(scope="session")
def detector(tmp_path_factory):
    """Make a folder with a small Mask R-CNN, as a Keras model and as a weight file, and a picture."""
    folder = tmp_path_factory.mktemp("detector")
    model = tiny_model(ks.model_card("MaskRCNN"))
    save(model, folder / "model.keras", facts=ks.facts_of(model, labels=["cat", "dog", "bird"]))
    weights.save(model, folder / "model.safetensors")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 90, 3), dtype=np.uint8)).save(folder / "scene.png")
    return folder


@pytest.fixture(scope="session")
def segmenter_options():
    """Return the options of commands that build the small segmentation model."""
    return [f"--argument={name}={value!r}" for name, value in SEGMENTER.items()]


@pytest.fixture
def objects(segattn):
    """Return a function that runs `segattn … --json` and returns the objects that it prints, one per line."""

    def run(*arguments):
        return [json.loads(line) for line in segattn(*arguments, "--json").out.splitlines()]

    return run
