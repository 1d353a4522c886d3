"""Both export profiles, for every registered model and through every runtime."""

import importlib
import shutil

import pytest
from harness import inputs, tiny_model

from keras_segattn import export, list_models, model_card
from keras_segattn.export.archive import write_archive

QUANTIZATIONS = [None, "float16", "dynamic", "int8"]
# Of builders from one module, which are the same layers in other numbers, the first is tried in every form; the others
# in the two between which the rest lie. A detector takes ten times as long as a classifier.
EVERY_FORM = {"AlexNet", "EfficientNetLite0", "GoogLeNet", "InceptionV4", "InceptionResNetV2", "ResNet18"}
EVERY_FORM |= {"SqueezeNet1_1", "VGG16", "FCN32s", "FCN8s", "FCNAlexNet", "SpatialTransformerNetwork"}
EVERY_FORM |= {"DCGANGenerator", "DCGANDiscriminator", "GRANGenerator"}
# One and a half: a miniature's graph is larger than its weights, so the house limit of 1.1 is on the weights' part.
MODELS = list_models()
# By its module, whose name in the package is the function's.
EXPORTER = importlib.import_module("keras_segattn.export.tflite")


# All tests of a model in one worker.
@pytest.fixture(scope="module", params=[pytest.param(n, marks=pytest.mark.xdist_group(n)) for n in MODELS])
def card_and_model(request):
    card = model_card(request.param)
    return card, tiny_model(card)


@pytest.fixture(scope="module")
def write_once(card_and_model, tmp_path_factory):
    """Like `write_archive`, but the four files of a model come from one trace."""
    traced = tmp_path_factory.mktemp("archive") / "saved_model"

    def write(endpoints, directory):
        if not traced.exists():
            write_archive(endpoints, traced)
        shutil.copytree(traced, directory)

    return write


def test_saved_model(card_and_model, tmp_path):
    card, model = card_and_model
    if card.name not in EVERY_FORM and card.family != "instances":
        pytest.skip("tried with another builder of the module")
    if "input_shape" not in card.tiny:  # noise has no preprocessing
        report = export.saved_model(model, tmp_path, preprocess=None, signatures=["serving_default"])
        assert report.passed
        assert [*report.signatures["serving_default"]["outputs"]] == ["image"]
        return
    named = card.tiny.get("classes", 1) - (card.family == "instances")  # a detector's background has no name
    report = export.saved_model(model, tmp_path, labels=[f"class {i}" for i in range(named)])
    assert report.passed
    assert report.path.is_dir()
    assert {"serving_default", "encoded"} <= set(report.signatures)


@pytest.mark.parametrize("quantize", QUANTIZATIONS, ids=str)
@pytest.mark.usefixtures("quick_conversion")
def test_tflite(card_and_model, tmp_path, quantize, write_once, monkeypatch):
    card, model = card_and_model
    if quantize in ("float16", "dynamic") and card.name not in EVERY_FORM:
        pytest.skip("tried with another builder of the module, or with the float32 and int8 of this one")
    monkeypatch.setattr(EXPORTER, "write_archive", write_once)
    assert "litert_builtin" in card.capabilities
    if quantize == "int8" and "int8" not in card.capabilities:
        calibration = inputs(card, batch=8, seed=1)
        with pytest.raises(export.ExportError, match="difference to Keras"):
            export.tflite(model, tmp_path / "model.tflite", quantize="int8", calibration=calibration)
        return
    report = export.tflite(
        model,
        tmp_path / "model.tflite",
        quantize=quantize,
        calibration=inputs(card, batch=8, seed=1) if quantize == "int8" else None,
        input_shape=card.tiny.get("input_shape"),
    )
    assert report.passed
    assert report.flex_operators == ()
    assert (tmp_path / "model.tflite").is_file()
