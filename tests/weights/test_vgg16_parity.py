"""VGG16 of keras.applications and of torchvision's making → ours, through files, gives the same outputs."""

import keras
import numpy as np
import pytest

import keras_segattn
from keras_segattn import weights

# float32 sums over up to 25,088 products, accumulated in another order.
RELATIVE_DIFFERENCE = 1e-4
CONVOLUTIONS_BEFORE_POOL = (2, 2, 3, 3, 3)


def relative_difference(found, expected):
    return np.abs(np.asarray(found) - np.asarray(expected)).max() / np.abs(np.asarray(expected)).max()


def images(size, count=2):
    return np.random.default_rng(3).standard_normal((count, *size, 3), dtype="float32")


@pytest.mark.parity
@pytest.mark.parametrize("name", ["vgg16.h5", "vgg16.weights.h5"])
def test_outputs_equal_keras_applications(tmp_path, name):
    size = (64, 96)  # any size has the same trunk; this one has fewer weights in fc1, and no square map before it
    theirs = keras.applications.VGG16(weights=None, input_shape=(*size, 3), classifier_activation=None)
    generator = np.random.default_rng(0)
    for variable in theirs.weights:
        fan_in = max(int(np.prod(variable.shape[:-1])), 1)
        variable.assign(generator.standard_normal(variable.shape, dtype="float32") * np.sqrt(2 / fan_in))
    (theirs.save if name == "vgg16.h5" else theirs.save_weights)(tmp_path / name)

    ours = keras_segattn.VGG16(input_shape=(*size, 3), classifier_activation=None)
    report = weights.load(ours, tmp_path / name)
    assert report.complete
    assert len(report.matched) == len(theirs.weights) == 32
    assert relative_difference(ours(images(size)), theirs(images(size))) <= RELATIVE_DIFFERENCE

    fcn = keras_segattn.FCN32s(alpha=1 / 16, classes=2)  # other widths: nothing of it may change
    before = fcn.get_weights()
    with pytest.raises(weights.WeightsError, match="shape mismatch"):
        weights.load(fcn, tmp_path / name, partial=True)
    for old, new in zip(before, fcn.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parity
def test_outputs_equal_a_torch_network_with_torchvision_names(tmp_path):
    import torch
    from torch import nn

    torch.manual_seed(0)
    width, classes, size = 1 / 32, 5, (224, 224)
    ours = keras_segattn.VGG16(input_shape=(*size, 3), alpha=width, classes=classes, classifier_activation=None)
    features, channels = [], 3
    for block, count in enumerate(CONVOLUTIONS_BEFORE_POOL, 1):
        for conv in range(1, count + 1):
            filters = ours.get_layer(f"block{block}_conv{conv}").filters
            features += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
            channels = filters
        features.append(nn.MaxPool2d(2))
    hidden = ours.get_layer("fc1").units
    classifier = [nn.Linear(channels * 49, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU()]
    classifier += [nn.Dropout(), nn.Linear(hidden, classes)]
    theirs = nn.Module()
    theirs.features, theirs.classifier = nn.Sequential(*features), nn.Sequential(*classifier)
    for tensor in theirs.parameters():
        nn.init.kaiming_normal_(tensor) if tensor.ndim > 1 else nn.init.normal_(tensor)
    torch.save(theirs.eval().state_dict(), tmp_path / "vgg16.pth")

    assert weights.load(ours, tmp_path / "vgg16.pth").complete
    with torch.no_grad():
        maps = theirs.features(torch.from_numpy(images(size).transpose(0, 3, 1, 2)))
        expected = theirs.classifier(maps.flatten(1)).numpy()
    assert relative_difference(ours(images(size)), expected) <= RELATIVE_DIFFERENCE
