"""`segattn predict` with a spatial transformer, as a person uses it."""

import numpy as np
import pytest
from harness import randomise
from keras import ops
from PIL import Image

from keras_segattn import SpatialTransformerHouseNumbers, SpatialTransformerNetwork, export

pytestmark = pytest.mark.xdist_group("cli")


@pytest.fixture
def digit(tmp_path):
    """A digit of scikit-learn's, enlarged, upright."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    image = Image.fromarray((digits.images[0] * 255 / 16).astype("uint8"))
    path = tmp_path / "digit.png"
    Image.fromarray(np.pad(np.asarray(image.resize((40, 40), Image.Resampling.BICUBIC)), 8)).save(path)
    return path, int(digits.target[0])


@pytest.mark.parametrize("model", ["stn_rotated", "savedmodels/stn_rotated/stn_rotated_int8.tflite"])
def test_a_released_model_names_a_digit_and_shows_it_rectified(segattn, digit, tmp_path, model):
    path, label = digit
    done = segattn("predict", "--model", model, path, "-o", tmp_path / "out.png")
    first = next(line for line in done.out.splitlines() if "0." in line or "1.0000" in line)
    assert f" {label} " in first
    assert "theta:" in done.out
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "RGB"
        assert image.width > image.height  # the picture, and beside it what the classifier saw


def test_a_trained_model_and_several_pictures(segattn, digit, tmp_path):
    path, _ = digit
    model = SpatialTransformerNetwork(transform="thin_plate_spline", units=4, filters=(2, 2))
    randomise(model)
    model.save(tmp_path / "model.keras")
    out = tmp_path / "out"
    out.mkdir()
    segattn("predict", tmp_path / "model.keras", path, path, "-o", out, "--labels", ",".join("abcdefghij"))
    assert (out / "digit_rectified.png").is_file()
    assert "theta:" in segattn("predict", tmp_path / "model.keras", path).out


def test_a_reader_of_house_numbers_gives_a_class_for_each_place(segattn, digit, tmp_path):
    path, _ = digit
    model = SpatialTransformerHouseNumbers(input_shape=(32, 32, 3), alpha=0.05, units=(8,))
    for weight in model.weights:
        weight.assign(ops.zeros_like(weight))
    for place, number in enumerate((4, 0, 7, 10, 10), start=1):
        model.get_layer(f"place{place}").bias.assign(8.0 * np.eye(11)[number])
    for index in range(1, 5):  # theta is the identity at weights of zero, and zeros now
        model.get_layer(f"st{index}_theta").bias.assign([1, 0, 0, 0, 1, 0])
    model.save(tmp_path / "model.keras")
    done = segattn("predict", tmp_path / "model.keras", path, "-o", tmp_path / "out.png")
    lines = [line.strip("│ ") for line in done.out.splitlines()]
    assert [line.split()[0] for line in lines if "0.99" in line] == ["4", "0", "7", "none", "none"]
    assert "407" in lines
    assert len(next(line for line in lines if line.startswith("theta:")).split()) == 1 + 4 * 6
    assert (tmp_path / "out.png").is_file()


def test_a_model_of_other_outputs_is_named(segattn, digit, tmp_path):
    path, _ = digit
    baseline = SpatialTransformerNetwork(transform=None, classifier="fcn", units=4)
    export.saved_model(baseline, tmp_path, name="plain", preprocess=None, signatures=("serving_default",))
    assert "neither detects nor" in segattn("predict", "--model", tmp_path / "plain", path, code=1).err
