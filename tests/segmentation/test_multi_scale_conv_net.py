"""MultiScaleConvNet is as Farabet et al. describe it, and equals an independent network in PyTorch."""

from collections import Counter
from itertools import pairwise

import keras
import numpy as np
import pytest
import tensorflow as tf
from harness import images, randomise, without_weights
from keras import ops

from keras_segattn import MultiScaleConvNet, export, facts_of, graph, model_card
from keras_segattn.losses import PixelCrossEntropy
from keras_segattn.segmentation.multi_scale_conv_net import applied, shared_network

# Rounding of float32 sums of up to some hundred products in three layers, accumulated in another order.
FLOAT32_TOLERANCE = 1e-5
# Rounding of averages of one colour, relative to the least deviation of 0.01 by which it is divided.
ROUNDING_OF_ONE_COLOUR = 1e-4
NARROW = {"alpha": 0.125, "classes": 3, "hidden": 8}


def values(model, x):
    return ops.convert_to_numpy(model(x))


def counts(**arguments):
    with without_weights():
        model = MultiScaleConvNet(input_shape=(64, 64, 3), **arguments)
    return {layer.name: layer.count_params() for layer in model.layers if layer.weights}


def test_the_counts_are_the_published_ones():
    banks = counts()
    assert banks.pop("conv1_y") + banks.pop("conv1_uv") == 1_094
    assert banks == {"conv2": 25_152, "conv3": 401_664, "hidden": 787_456, "scores": 8_200}
    assert banks["hidden"] + banks["scores"] == 795_656
    dense = counts(sparse=False, hidden=None)
    assert dense == {"conv1": 2_368, "conv2": 50_240, "conv3": 803_072, "linear": 768 * 8 + 8}


def test_all_scales_share_one_set_of_variables():
    with without_weights():
        features = [MultiScaleConvNet(include_top=False, scales=scales) for scales in (1, 2, 3)]
    assert {model.count_params() for model in features} == {1_094 + 25_152 + 401_664}
    assert [model.output_shape[-1] for model in features] == [256, 512, 768]
    calls = Counter(node.operation.name for node in graph.calls(features[-1]))
    assert {calls[name] for name in ("conv1_y", "conv1_uv", "conv2", "conv3")} == {3}


def test_the_receptive_field_is_46_pixels_and_the_stride_4():
    image = keras.Input((80, 80, 1))
    model = keras.Model(image, shared_network(1, alpha=0.0625, sparse=True, seed=0)(image))
    randomise(model)
    x = tf.constant(images((80, 80, 1), batch=1))
    assert model.output_shape[1:3] == (20, 20)
    for row, column in ((10, 10), (9, 11), (0, 19)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = tf.reduce_sum(model(x)[0, row, column])
        seen = np.abs(tape.gradient(score, x)[0, ..., 0])
        for axis, place in ((1, row), (0, column)):
            touched = np.flatnonzero(seen.max(axis=axis))
            # Max-pooling passes the gradient of one of two pixels on, so the outermost ones may have none.
            assert max(0, 4 * place - 21) <= touched[0] <= max(0, 4 * place - 21) + 3
            assert min(79, 4 * place + 24) - 3 <= touched[-1] <= min(79, 4 * place + 24)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_every_size_from_one_pixel_up_fits(interpolation):
    for height in (*range(1, 9), 17, 46, 47, 240):
        with without_weights():
            model = MultiScaleConvNet(input_shape=(height, height + 3, 3), interpolation=interpolation, **NARROW)
        assert model.output_shape == (None, height, height + 3, 3)
        assert model.get_layer("features").output.shape[1:3] == (-(-height // 4), -(-(height + 3) // 4))


@pytest.fixture(scope="module")
def narrow():
    model = MultiScaleConvNet(**NARROW)
    randomise(model)
    return model


def test_pictures_smaller_than_the_receptive_field(narrow):
    for size in ((1, 1), (2, 9), (45, 3)):
        y = values(narrow, images((*size, 3), batch=1))
        assert y.shape == (1, *size, 3)
        assert np.isfinite(y).all()


def test_all_pictures_of_one_colour_are_alike(narrow):
    black, grey, red = (np.broadcast_to(np.float32(colour), (1, 40, 52, 3)) for colour in (-1, 0.2, (1, -1, -1)))
    scores = values(narrow, black)
    assert np.ptp(scores, axis=(1, 2)).max() < ROUNDING_OF_ONE_COLOUR
    for picture in (grey, red):
        np.testing.assert_allclose(values(narrow, picture), scores, atol=ROUNDING_OF_ONE_COLOUR)


@pytest.mark.parametrize(("scales", "shift", "size"), [(1, 4, 104), (2, 8, 184)])
def test_a_shift_of_the_picture_shifts_the_features(scales, shift, size):
    model = MultiScaleConvNet(include_top=False, scales=scales, alpha=0.0625)
    randomise(model)
    x = images((size + shift, size, 3), batch=1)
    before, after = values(model, x[:, shift:]), values(model, x[:, :-shift])
    # Positions that do not see the border: the receptive field, two neighbourhoods of 15 and the pyramid's kernels.
    margin = -(-((24 + 14) * 2 ** (scales - 1) + 2) // 4)
    inner = slice(margin, size // 4 - margin)
    assert size // 4 - 2 * margin >= 4
    moved = slice(margin + shift // 4, size // 4 - margin + shift // 4)
    np.testing.assert_allclose(
        after[:, moved, margin:-margin], before[:, inner, margin:-margin], atol=FLOAT32_TOLERANCE * np.abs(before).max()
    )


def test_tables_are_of_the_seed_and_survive_the_file(tmp_path):
    models = [MultiScaleConvNet(seed=seed, hidden=None, alpha=0.125) for seed in (0, 0, 1)]
    tables = [model.get_layer("conv2").table for model in models]
    assert tables[0] == tables[1] != tables[2]
    models[2].save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.get_layer("conv2").table == tables[2]
    x = images((20, 20, 3))
    np.testing.assert_array_equal(values(again, x), values(models[2], x))


@pytest.mark.thorough
def test_exported_kernels_are_constants(tmp_path):
    """At the published size, where a converter may refuse to compute constants, because they are large."""
    report = export.tflite(MultiScaleConvNet(input_shape=(32, 32, 3)), tmp_path / "model.tflite")
    assert "GATHER" not in report.operators
    assert report.operators["CONV_2D"] == 3 * 4 + 2


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", pytest.param("resnet18", marks=pytest.mark.thorough)])
def test_any_backbone_can_read_the_pyramid(backbone):
    model = MultiScaleConvNet(backbone=backbone, alpha=0.0625, classes=3, hidden=None)
    randomise(model)
    assert facts_of(model).inputs["image"].mean == model_card(backbone).inputs["image"].mean
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    for size in ((1, 1), (33, 50)):
        y = values(model, images((*size, 3), batch=1))
        assert y.shape == (1, *size, 3)
        assert np.isfinite(y).all()
    with without_weights():
        one, three = (MultiScaleConvNet(backbone=backbone, alpha=0.0625, scales=n, include_top=False) for n in (1, 3))
    assert one.count_params() == three.count_params()
    assert 3 * one.output_shape[-1] == three.output_shape[-1]


def test_layers_called_once_more_are_the_same_function():
    image, other = keras.Input((12, 12, 3)), keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(image)
    y = keras.layers.Add()([x, keras.layers.BatchNormalization()(x)])
    network = keras.Model(image, keras.layers.Concatenate()([y, x]))
    again = keras.Model(other, applied(network, other))
    assert again.count_params() == network.count_params()
    given = images((12, 12, 3))
    np.testing.assert_array_equal(values(again, given), values(network, given))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scales": 0}, "scales must be a positive integer, received 0"),
        ({"pyramid": "steerable"}, "pyramid must be one of None, 'laplacian', 'gaussian', received 'steerable'"),
        ({"interpolation": "cubic"}, "interpolation must be one of 'nearest', 'bilinear', received 'cubic'"),
        ({"sparse": 8}, "sparse must be one of True, False, received 8"),
        ({"hidden": 0}, "hidden must be a positive integer, received 0"),
        ({"backbone": "fcn8s"}, "needs a backbone with a tap at stride 8, FCN8s declares"),
        ({"backbone": "resnet9000"}, "unknown model 'resnet9000'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message), without_weights():
        MultiScaleConvNet(**arguments)


def test_it_learns_the_side_of_an_edge_and_ignored_pixels_give_no_gradient():
    keras.utils.set_random_seed(0)
    model = MultiScaleConvNet(alpha=0.25, classes=2, scales=2, hidden=None, input_shape=(24, 24, 3))
    noise = np.random.default_rng(0).uniform(-0.2, 0.2, (4, 24, 24, 3)).astype("float32")
    noise[:, :, 12:] += 0.8
    mask = np.broadcast_to((np.arange(24) >= 12).astype("int32"), (4, 24, 24))
    model.compile(keras.optimizers.Adam(3e-3), PixelCrossEntropy())
    for _ in range(20):
        model.train_on_batch(noise, mask)
    assert (values(model, noise).argmax(-1) == mask).mean() > 0.95
    with tf.GradientTape() as tape:
        loss = PixelCrossEntropy()(np.full_like(mask, 255), model(noise))
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    assert float(loss) == 0
    assert all(not np.asarray(gradient).any() for gradient in gradients)


def matrices(size):
    """Return REDUCE and EXPAND in one dimension, by Burt and Adelson's equations 1 and 2, with rows that sum to 1."""
    distance = np.arange(size)[:, None] - 2 * np.arange((size + 1) // 2)[None] + 2
    weights = np.where((distance >= 0) & (distance < 5), np.array([1, 4, 6, 4, 1])[distance.clip(0, 4)], 0.0)
    return weights.T / weights.T.sum(1, keepdims=True), weights / weights.sum(1, keepdims=True)


def theirs(model, x, scales, laplacian, interpolation):
    """Compute logits in PyTorch from the formulas, with masked kernels; return them and the variables by name."""
    import torch
    from torch.nn import functional as f

    weights = {}

    def convolve(x, name):
        layer = model.get_layer(name)
        kernel, bias = (torch.tensor(array, requires_grad=True) for array in layer.get_weights())
        kernel, bias = weights.setdefault(name, (kernel, bias))
        if hasattr(layer, "table"):
            dense = [torch.zeros(x.shape[1], *kernel.shape[:2]) for _ in layer.table]
            for number, row in enumerate(layer.table):
                index = torch.tensor(row)
                dense[number] = dense[number].index_add(0, index, kernel[..., number].permute(2, 0, 1))
            kernel = torch.stack(dense)
        else:
            kernel = kernel.permute(3, 2, 0, 1)
        return f.conv2d(x, kernel, bias)

    def resample(x, axis):
        rows, columns = (torch.tensor(matrices(n)[axis], dtype=torch.float32) for n in (x.shape[2], x.shape[3]))
        return torch.einsum("ph,bchw,qw->bcpq", rows, x, columns)

    def enlarge(x, size):
        rows, columns = (torch.tensor(matrices(n)[1], dtype=torch.float32) for n in size)
        return torch.einsum("hp,bcpq,wq->bchw", rows, x, columns)

    def normalise(x):
        def mean(x):
            return f.avg_pool2d(x, 15, stride=1, padding=7, count_include_pad=False)

        centred = x - mean(x)
        return centred / mean(centred**2).sqrt().clamp(min=0.01)

    def network(x):
        (height, width), edge = x.shape[2:], 21
        x = f.pad(x, (edge, edge + -width % 4, edge, edge + -height % 4))
        if any(layer.name == "conv1_y" for layer in model.layers):
            x = torch.cat([convolve(x[:, :1], "conv1_y"), convolve(x, "conv1_uv")], dim=1)
        else:
            x = convolve(x, "conv1")
        for bank in ("conv2", "conv3"):
            x = convolve(f.max_pool2d(torch.tanh(x), 2), bank)
        return x

    def upsample(x, factor, size):
        align = {} if interpolation == "nearest" else {"align_corners": False}
        return f.interpolate(x, scale_factor=factor, mode=interpolation, **align)[..., : size[0], : size[1]]

    rgb = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    red, green, blue = rgb.unbind(1)
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    levels = [torch.stack([luminance, 0.492 * (blue - luminance), 0.877 * (red - luminance)], dim=1)]
    for _ in range(scales - 1):
        levels.append(resample(levels[-1], 0))
    if laplacian:
        levels = [a - enlarge(b, a.shape[2:]) for a, b in pairwise(levels)] + levels[-1:]
    maps = [network(normalise(level)) for level in levels]
    features = torch.cat([upsample(m, 2**i, maps[0].shape[2:]) for i, m in enumerate(maps)], dim=1)
    hidden = torch.tanh(convolve(features, "hidden"))
    return upsample(convolve(hidden, "scores"), 4, rgb.shape[2:]), weights


@pytest.mark.parity
@pytest.mark.parametrize(
    ("pyramid", "interpolation", "sparse", "size"),
    [
        ("laplacian", "nearest", True, (48, 64)),
        ("laplacian", "nearest", True, (37, 50)),
        ("gaussian", "bilinear", False, (30, 33)),
        ("laplacian", "bilinear", True, (1, 5)),
    ],
)
def test_values_and_gradients_are_those_of_pytorch(pyramid, interpolation, sparse, size):
    model = MultiScaleConvNet(pyramid=pyramid, interpolation=interpolation, sparse=sparse, alpha=0.25, hidden=32)
    randomise(model)
    x = images((*size, 3))
    target = np.random.default_rng(1).normal(size=(2, *size, 8)).astype("float32")
    expected, variables = theirs(model, x, 3, pyramid == "laplacian", interpolation)
    (expected * expected.new_tensor(target.transpose(0, 3, 1, 2))).mean().backward()
    with tf.GradientTape() as tape:
        y = model(x)
        loss = tf.reduce_mean(y * target)
    expected = expected.detach().numpy().transpose(0, 2, 3, 1)
    assert np.abs(y - expected).max() / np.abs(expected).max() < FLOAT32_TOLERANCE
    layers = [model.get_layer(name) for name in variables]
    gradients = tape.gradient(loss, [weight.value for layer in layers for weight in layer.trainable_weights])
    wanted = [tensor.grad.numpy() for tensors in variables.values() for tensor in tensors]
    for found, want in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(found, want, atol=FLOAT32_TOLERANCE * np.abs(want).max())
