"""`segattn train` and `segattn evaluate`."""

import shutil

import pytest

import keras_segattn as ks
from keras_segattn.cli.parsing import DATA
from keras_segattn.data.sources import SOURCES
from keras_segattn.training.workflows import segment


def test_train_evaluate_predict(segattn, objects, trained, segmenter_options, tmp_path, monkeypatch):
    for kind in ("images", "masks"):  # fewer pictures than others need
        (tmp_path / kind).mkdir()
        for name in ("0.png", "1.png"):
            shutil.copy(trained / kind / name, tmp_path / kind)
    data = f"folder:{tmp_path / 'images'},{tmp_path / 'masks'}"
    run = tmp_path / "run"
    options = ["--epochs", 1, "--batch-size", 2, "--size", "32x32", "--labels", "sea,land,lake"]
    segattn("train", "fcn8s", "--data", data, "--validation", data, "--run-dir", run, *segmenter_options, *options)
    assert ks.read_facts(run / "model.keras").labels == ("sea", "land", "lake")
    (scores,) = objects("evaluate", run / "model.keras", "--data", data)
    assert 0 <= scores["mean_iou"] <= 1
    assert "IoU of lake" in segattn("evaluate", run / "model.keras", "--data", data).out
    error = segattn("evaluate", run / "model.keras", "--data", data, "--labels", "sea,land", code=1).err
    assert "received ['sea', 'land']" in error
    again = ["train", "fcn8s", "--data", data, "--run-dir", run, *segmenter_options, *options]
    error = segattn(*again, "--seed", 1, code=1).err
    assert "seed was 0, now 1" in error
    given = {}
    monkeypatch.setattr(segment, "train_segmenter", lambda *_, **options: given.update(options))
    segattn(*again, "--seed", 1, "--restart")
    assert given["resume"] is False
    images = sorted((tmp_path / "images").iterdir())
    segattn("predict", run / "model.keras", *images, "-o", tmp_path / "overlays")
    assert len(list((tmp_path / "overlays").iterdir())) == len(images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fcn8", "--data", "folder:a,b"], "did you mean 'FCN8s'"),
        (["fcn8s", "--data", "foldr:a,b"], "did you mean 'folder'"),
        (["fcn8s", "--data", "folder:a,b", "--recipe", "fnc"], "did you mean 'fcn'"),
        (["fcn8s", "--data", "folder:a,b", "--size", "big"], "expected a size such as 256x320"),
    ],
)
def test_what_train_refuses_before_it_begins(segattn, tmp_path, arguments, message):
    done = segattn("train", *arguments, "--run-dir", tmp_path / "run", code=1)
    assert message in done.err
    assert not (tmp_path / "run").exists()


def test_the_help_names_every_kind_of_data():
    for forms in SOURCES.values():
        for form in forms:
            assert form.name in DATA
