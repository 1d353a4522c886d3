"""Classifiers from `.caffemodel` files under the layer names of the released networks."""

import numpy as np
import pytest
from harness import images, randomise

import keras_segattn as ks
from keras_segattn import weights

# Rounding by folding: a bias is subtracted from a mean, and one factor is multiplied by another.
FLOAT32_TOLERANCE = 1e-5
BRANCHES = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
GOOGLENET = {"conv1_conv": "conv1/7x7_s2", "conv2_reduce_conv": "conv2/3x3_reduce", "conv2_conv": "conv2/3x3"}
GOOGLENET |= {
    f"inception_{module}_{branch}_conv": f"inception_{module}/{branch}"
    for module in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
    for branch in BRANCHES
}
GOOGLENET["predictions"] = "loss3/classifier"
GOOGLENET_AUX = {
    f"aux{head}_{ours}": f"loss{head}/{theirs}"
    for head in (1, 2)
    for ours, theirs in (("conv", "conv"), ("fc", "fc"), ("logits", "classifier"))
}


def tensors_of(model, names, layout, skip=()):
    """`"their layer.blob"` → array in Caffe's layout."""
    tensors = {}
    for layer in model.layers:
        if layer.weights and layer.name not in skip:
            for blob, value in enumerate(layer.get_weights()[:2]):
                size = layer_map(layer) if value.ndim == 2 else (1, 1)
                tensors[f"{names[layer.name]}.blob{blob}"] = layout(value, size)
    return tensors


def layer_map(layer):
    """Height and width of the map that a dense layer sees flattened."""
    before = layer.input._keras_history.operation
    return before.input.shape[1:3] if type(before).__name__ == "Flatten" else (1, 1)


def assert_equal_weights(ours, theirs):
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        if a.name != "seed_generator_state":
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("aux_logits", "version"),
    [
        (False, 1),
        (True, 2),
        pytest.param(False, 2, marks=pytest.mark.thorough),
        pytest.param(True, 1, marks=pytest.mark.thorough),
    ],
)
def test_googlenet(aux_logits, version, writers, tmp_path):
    options = {"alpha": 0.125, "classes": 5, "input_shape": (224, 224, 3)}
    source = ks.GoogLeNet(aux_logits=True, **options)
    randomise(source)
    path = tmp_path / "bvlc_googlenet.caffemodel"
    tensors = tensors_of(source, GOOGLENET | GOOGLENET_AUX, writers.foreign_layout)
    writers.write_caffemodel(path, tensors, version)
    model = ks.GoogLeNet(aux_logits=aux_logits, **options)
    report = weights.load(model, path)
    assert report.complete
    x = images((224, 224, 3), batch=1)
    ours, theirs = model(x), source(x)
    assert np.ptp(np.asarray(theirs["logits"])) > 0
    if aux_logits:
        assert_equal_weights(model, source)
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    else:
        assert np.array_equal(ours, theirs["logits"])
        assert sorted({name.split(".")[0] for name in report.ignored}) == sorted(GOOGLENET_AUX.values())


@pytest.mark.parametrize(("builder", "file"), [(ks.AlexNet, "bvlc_alexnet"), (ks.CaffeNet, "bvlc_reference_caffenet")])
def test_alexnets(builder, file, writers, tmp_path):
    source = builder(alpha=0.0625, classes=5, input_shape=(227, 227, 3))
    randomise(source)
    names = {name: name for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")}
    names |= {"predictions": "fc8", "fc8": "fc8"}
    path = tmp_path / f"{file}.caffemodel"
    writers.write_caffemodel(path, tensors_of(source, names, writers.foreign_layout))
    model = builder(alpha=0.0625, classes=5, input_shape=(227, 227, 3), weights=str(path))
    assert_equal_weights(model, source)


def msra_names(depth):
    """Our names of blocks → names `2a`, `2b`, … in the released prototxts."""
    blocks = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}[depth]
    names = {}
    for stage, count in enumerate(blocks, 2):
        for block in range(1, count + 1):
            numbered = depth > 50 and stage in (3, 4)
            names[f"conv{stage}_block{block}"] = f"{stage}" + (
                "a" if block == 1 else f"b{block - 1}" if numbered else "abcdef"[block - 1]
            )
    return names


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_msra_s_names_of_blocks_are_known(depth):
    known = ks.model_card(f"ResNet{depth}").weight_names
    for ours, theirs in msra_names(depth).items():
        for number in (1, 2, 3):
            branch = f"branch2{'abc'[number - 1]}"
            assert f"res{theirs}_{branch}" in known[f"{ours}_{number}_conv"]
            assert f"bn{theirs}_{branch}" in known[f"{ours}_{number}_bn"]


@pytest.mark.parametrize("depth", [50, *(pytest.param(depth, marks=pytest.mark.thorough) for depth in (101, 152))])
def test_resnets_of_msra(depth, writers, tmp_path):
    """Statistics and scales are in separate layers, and the first convolution of ResNet-50 has a bias."""
    builder = getattr(ks, f"ResNet{depth}")
    options = {"alpha": 0.0625, "classes": 5, "padding": "valid", "stride_in_1x1": True, "input_shape": (64, 64, 3)}
    source = builder(**options)
    randomise(source)
    tensors, kinds = {}, {}
    blocks = msra_names(depth)
    for layer in source.layers:
        if not layer.weights:
            continue
        block, _, part = layer.name.rpartition("_")
        if block in blocks or block.rpartition("_")[0] in blocks:
            block, number, part = layer.name.rsplit("_", 2)
            branch = "branch1" if number == "0" else f"branch2{'abc'[int(number) - 1]}"
            name = f"{blocks[block]}_{branch}"
            convolution, statistics, scale = f"res{name}", f"bn{name}", f"scale{name}"
        else:
            convolution, statistics, scale = layer.name.removesuffix("_conv"), "bn_conv1", "scale_conv1"
            convolution = "fc1000" if layer.name == "predictions" else convolution
        if part == "bn":
            tensors[f"{statistics}.0"] = 4 * layer.moving_mean.numpy()  # sums over a number of batches
            tensors[f"{statistics}.1"] = 4 * layer.moving_variance.numpy()
            tensors[f"{statistics}.2"] = np.array([4], "float32")
            tensors[f"{scale}.0"], tensors[f"{scale}.1"] = layer.gamma.numpy(), layer.beta.numpy()
            kinds |= {statistics: "BatchNorm", scale: "Scale"}
        else:
            for blob, value in enumerate(layer.get_weights()):
                tensors[f"{convolution}.{blob}"] = writers.foreign_layout(value)
    if depth == 50:
        bias = np.random.default_rng(0).normal(size=source.get_layer("conv1_bn").moving_mean.shape).astype("float32")
        tensors["conv1.1"] = bias
        tensors["bn_conv1.0"] = tensors["bn_conv1.0"] + 4 * bias
    path = tmp_path / f"ResNet-{depth}-model.caffemodel"
    writers.write_caffemodel(path, tensors, kinds=kinds)
    model = builder(**options)
    assert weights.load(model, path).complete
    x = images((64, 64, 3))
    expected = np.asarray(source(x))
    assert np.ptp(expected) > 0
    assert np.abs(model(x) - expected).max() <= FLOAT32_TOLERANCE * np.abs(expected).max()
    if depth > 50:
        assert_equal_weights(model, source)
