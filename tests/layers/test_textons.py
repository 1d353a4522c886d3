"""The layers of TextonBoost against skimage, scipy and direct sums in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage
from skimage.color import rgb2lab

from keras_segattn.layers import CIELab, NearestTexton, TextonFilters, TextureLayout

# Powers of float32 numbers of up to 100 in other implementations.
COLOUR_TOLERANCE = 1e-4
# Sums of some thousand float32 products, against float64.
FILTER_TOLERANCE = 1e-5
# The order of float32 sums of a few scores.
SCORE_TOLERANCE = 1e-5


def pictures(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).random((2, height, width, channels)).astype("float32")


def test_lab_is_skimage_s():
    levels = np.linspace(0, 1, 18)
    rgb = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 1, 3).astype("float32")
    found = ops.convert_to_numpy(CIELab()(rgb))
    np.testing.assert_allclose(found, rgb2lab(rgb.astype("float64")), atol=COLOUR_TOLERANCE)


def test_lab_needs_three_channels():
    with pytest.raises(ValueError, match=r"converts RGB pictures \(..., 3\), received"):
        CIELab()(pictures(2, 2, 4))


def kernels(kappa):
    """Return the two-dimensional kernels from their formulas: (channel, kernel), in the order of the responses."""

    def grid(sigma):
        half = int(np.ceil(3 * sigma))
        y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
        return x, y, np.exp(-(x**2 + y**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)

    found = [(channel, grid(kappa * s)[2]) for s in (1, 2, 4) for channel in range(3)]
    for s in (1, 2, 4, 8):
        (x, y, g), sigma = grid(kappa * s), kappa * s
        found.append((0, (x**2 + y**2 - 2 * sigma**2) / sigma**4 * g))
    for s in (2, 4):
        x, y, g = grid(kappa * s)
        found += [(0, -x / (kappa * s) ** 2 * g), (0, -y / (kappa * s) ** 2 * g)]
    return found


@pytest.mark.parametrize(("size", "kappa"), [((29, 34), 1.0), ((1, 1), 1.0), ((3, 40), 0.7), ((5, 2), 0.3)])
def test_filters_are_convolutions_with_the_formulas(size, kappa):
    x = pictures(*size) * 100
    found = ops.convert_to_numpy(TextonFilters(kappa)(x))
    assert found.shape == (2, *size, 17)
    for place, (channel, kernel) in enumerate(kernels(kappa)):
        for one in range(2):
            expected = ndimage.convolve(x[one, ..., channel].astype("float64"), kernel, mode="mirror")
            scale = 100 * np.abs(kernel).sum()
            np.testing.assert_allclose(found[one, ..., place], expected, atol=FILTER_TOLERANCE * scale)


def test_other_numbers_of_channels_are_filtered_too():
    assert TextonFilters(0.5)(pictures(4, 5, 1)).shape == (2, 4, 5, 11)
    with pytest.raises(ValueError, match="kappa must be at least"):
        TextonFilters(0)


@pytest.mark.parametrize("textons", [1, 3, 120])
def test_the_nearest_texton_is_that_of_numpy(textons):
    layer, x = NearestTexton(textons), np.random.default_rng(0).normal(size=(2, 5, 7, 17)).astype("float32")
    found = ops.convert_to_numpy(layer(x))
    centres = ops.convert_to_numpy(layer.centres).astype("float64")
    expected = ((x[..., None, :].astype("float64") - centres) ** 2).sum(-1).argmin(-1)
    np.testing.assert_array_equal(found, expected)


def test_of_equally_near_textons_the_first_is_chosen():
    layer = NearestTexton(70)
    layer.build((None, None, None, 2))
    layer.set_weights([np.ones((70, 2))])
    np.testing.assert_array_equal(layer(np.zeros((1, 2, 2, 2), "float32")), np.zeros((1, 2, 2)))


def random_layout(area, stumps=19, classes=4, textons=6, seed=0):
    """Return a layer of random stumps, some of whose rectangles are empty or larger than the picture."""
    rng = np.random.default_rng(seed)
    layer = TextureLayout(classes, stumps, textons, area)
    layer.build((None, None, None))
    corners = rng.integers(-9, 10, (stumps, 4))
    values = {
        "rectangles": corners,
        "textons": rng.integers(0, textons, stumps),
        "thresholds": rng.integers(0, 4, stumps) / 10,
        "sharing": rng.integers(0, 2, (stumps, classes)),
        "a": rng.normal(size=stumps),
        "b": rng.normal(size=stumps),
        "k": rng.normal(size=(stumps, classes)),
    }
    for weight in layer.weights:
        weight.assign(values[weight.name])
    return layer, values


@pytest.mark.parametrize("area", ["clipped", "whole"])
@pytest.mark.parametrize("size", [(6, 9), (1, 1), (2, 13)])
def test_scores_are_sums_of_stumps_pixel_by_pixel(area, size):
    layer, of = random_layout(area)
    texton_map = np.random.default_rng(1).integers(0, 6, (2, *size)).astype("int32")
    expected = np.zeros((2, *size, 4))
    for m, (top, left, bottom, right) in enumerate(of["rectangles"]):
        for one, y, x in np.ndindex(expected.shape[:3]):
            part = texton_map[one, max(0, y + top) : max(0, y + bottom), max(0, x + left) : max(0, x + right)]
            whole = max(0, bottom - top) * max(0, right - left)
            number = part.size if area == "clipped" else whole
            exceeds = number > 0 and (part == of["textons"][m]).sum() > of["thresholds"][m] * number
            shared = of["a"][m] * exceeds + of["b"][m]
            expected[one, y, x] += np.where(of["sharing"][m] > 0, shared, of["k"][m])
    np.testing.assert_allclose(ops.convert_to_numpy(layer(texton_map)), expected, atol=SCORE_TOLERANCE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 5, 6), "classes must be a positive integer, received 0"),
        ((2, 5.5, 6), "stumps must be a positive integer, received 5.5"),
        ((2, 5, 6, "half"), "area must be one of 'clipped', 'whole', received 'half'"),
    ],
)
def test_wrong_arguments_of_stumps(arguments, message):
    with pytest.raises(ValueError, match=message):
        TextureLayout(*arguments)


def test_first_stumps_ask_for_the_pixel_s_own_texton():
    layer = TextureLayout(2, 3, 3)
    texton_map = np.array([[[0, 1, 2]]], "int32")
    scores = ops.convert_to_numpy(layer(texton_map))
    a, b = (ops.convert_to_numpy(weight) for weight in (layer.a, layer.b))
    np.testing.assert_allclose(scores[0, 0], np.repeat((a + b.sum())[:, None], 2, 1), atol=SCORE_TOLERANCE)
    assert keras.layers.deserialize(keras.layers.serialize(layer)).get_config() == layer.get_config()
