"""TextonBoost as a network: counts, an independent form in NumPy, sizes, one-colour pictures, and exports."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage
from skimage.color import rgb2lab

from keras_segattn import TextonBoost, export, preprocessing_of
from keras_segattn.layers.texton_filters import response_names
from keras_segattn.training.textons import cluster_centres, whitening

TEXTONS, STUMPS, CLASSES = 12, 30, 4
# The order of float32 sums of a few dozen scores.
SCORE_TOLERANCE = 1e-5
# Share of the pixels whose nearest texton float32 may decide otherwise than float64.
NEAR_TIES = 0.01


@pytest.fixture(scope="module")
def model():
    """A model with textons from random pictures, and stumps of random rectangles, textons and thresholds."""
    rng = np.random.default_rng(0)
    model = TextonBoost(classes=CLASSES, textons=TEXTONS, stumps=STUMPS)
    filters = keras.Model(model.input, model.get_layer("filters").output)
    images = np.stack([preprocessing_of(model).draw((1, 48, 48, 3), seed)[0] for seed in range(20, 24)])
    responses = ops.convert_to_numpy(filters(preprocessing_of(model)(images))).reshape(-1, 17)
    kernel, bias = whitening(responses.mean(0), np.cov(responses.T.astype("float64")))
    model.get_layer("whitening").set_weights([kernel, bias])
    model.get_layer("textons").set_weights([cluster_centres(responses @ kernel + bias, TEXTONS, seed=0)])
    corners = rng.integers(-12, 13, (STUMPS, 4))
    corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2] + 1)
    values = {
        "rectangles": corners,
        "textons": rng.integers(0, TEXTONS, STUMPS),
        "thresholds": rng.integers(0, 8, STUMPS) / 16,
        "sharing": rng.integers(0, 2, (STUMPS, CLASSES)),
        "a": rng.normal(size=STUMPS),
        "b": rng.normal(size=STUMPS),
        "k": rng.normal(size=(STUMPS, CLASSES)),
    }
    for weight in model.get_layer("score").weights:
        weight.assign(values[weight.name])
    return model


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype("uint8")


def textons_in_numpy(model, picture):
    """Compute the texton map of one picture in float64 with scipy's filters."""
    lab = rgb2lab(picture)
    responses = []
    for kind, sigma in response_names(3):
        half = 3 * sigma
        y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
        g = np.exp(-(x**2 + y**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
        factor = {"laplacian": (x**2 + y**2 - 2 * sigma**2) / sigma**4, "x": -x / sigma**2, "y": -y / sigma**2}
        channel = int(kind[1:]) if kind.startswith("G") else 0
        responses.append(ndimage.convolve(lab[..., channel], g * factor.get(kind, 1.0), mode="mirror"))
    kernel, bias = (w.astype("float64") for w in model.get_layer("whitening").get_weights())
    white = np.stack(responses, axis=-1) @ kernel + bias
    (centres,) = model.get_layer("textons").get_weights()
    return ((white[..., None, :] - centres) ** 2).sum(-1).argmin(-1)


def test_parameters_are_those_of_the_rounds():
    stumps, classes = 50, 7
    model = TextonBoost(classes=classes, textons=30, stumps=stumps)
    # Rectangle, texton, threshold, a, b, and the sharing set and constants of all classes.
    assert model.get_layer("score").count_params() == stumps * (4 + 1 + 1 + 1 + 1 + 2 * classes)
    assert model.count_params() == 17 * 17 + 17 + 30 * 17 + model.get_layer("score").count_params()
    assert {w.name for w in model.trainable_weights} == {"a", "b", "k"}


def test_textons_are_those_of_numpy(model):
    picture = preprocessing_of(model).draw((1, 33, 41, 3), seed=5)[0]
    bare = keras.Model(model.input, model.get_layer("textons").output)
    found = ops.convert_to_numpy(bare(preprocessing_of(model)(picture[None])))[0]
    expected = textons_in_numpy(model, picture)
    assert len(np.unique(expected)) > TEXTONS / 2
    assert (found != expected).mean() <= NEAR_TIES


def test_without_top_the_output_is_the_texton_map(model):
    bare = TextonBoost(include_top=False, textons=TEXTONS)
    for name in ("whitening", "textons"):
        bare.get_layer(name).set_weights(model.get_layer(name).get_weights())
    x = preprocessing_of(model)(pictures(2, 9, 11))
    assert bare(x).dtype.name == "int32"
    part = keras.Model(model.input, model.get_layer("textons").output)
    np.testing.assert_array_equal(bare(x), part(x))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2), (17, 30)])
def test_any_size_and_every_picture_of_a_batch_by_itself(model, size):
    x = preprocessing_of(model)(pictures(2, *size))
    scores = ops.convert_to_numpy(model(x))
    assert scores.shape == (2, *size, CLASSES)
    assert np.isfinite(scores).all()
    for one in range(2):
        np.testing.assert_allclose(model(x[one : one + 1])[0], scores[one], atol=SCORE_TOLERANCE)


def test_a_picture_of_one_colour_has_one_texton(model):
    x = np.full((1, 20, 30, 3), 0.4, "float32")
    part = keras.Model(model.input, model.get_layer("textons").output)
    assert len(np.unique(part(x))) == 1
    assert np.isfinite(ops.convert_to_numpy(model(x))).all()


def test_pictures_of_other_channels_are_filtered_without_lab():
    model = TextonBoost(input_shape=(6, 8, 4), classes=2, textons=5, stumps=3)
    assert "lab" not in {layer.name for layer in model.layers}
    assert model.get_layer("filters").output.shape[-1] == 20


@pytest.mark.thorough  # every run exports the miniature of the card
def test_tflite_decides_every_pixel_alike(model, tmp_path):
    report = export.tflite(model, tmp_path / "model.tflite", sizes={"image": (24, 32)})
    assert report.passed
    assert report.flex_operators == ()
    assert report.size_bytes < 150_000  # 245,000 with the zeros at which sums over maps would begin


@pytest.mark.thorough
@pytest.mark.parametrize(("quantize", "survives"), [("dynamic", True), ("float16", False), ("int8", False)])
def test_coarse_weights_do_not_decide_alike(model, tmp_path, quantize, survives):
    """Rounded filters and centres assign pixels to other textons; `dynamic` leaves small and changing weights alone."""
    samples = np.asarray(preprocessing_of(model)(pictures(8, 24, 32)))
    arguments = {"quantize": quantize, "calibration": samples, "sizes": {"image": (24, 32)}}
    if survives:
        assert export.tflite(model, tmp_path / "model.tflite", **arguments).passed
        return
    with pytest.raises(export.ExportError):
        export.tflite(model, tmp_path / "model.tflite", **arguments)
    assert not list(tmp_path.iterdir())
